"""What Anthropic's own API calls a model that a client named as its cloud does."""

from __future__ import annotations

import pytest

from farebox.domain.price.model_names import anthropic_id

PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"


@pytest.mark.parametrize(
    ("named", "own"),
    [
        ("us.anthropic.claude-opus-5-5", "claude-opus-5-5"),
        ("us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4-20250514"),
        ("anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        (
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "claude-haiku-4-5-20251001",
        ),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-5-5", "claude-opus-5-5"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4-20250514"),
        ("claude-opus-5-5@default", "claude-opus-5-5"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-20250514"),
        ("gpt-5@2", "gpt-5@2"),
        (PROFILE, PROFILE),
    ],
)
def test_a_clouds_name_becomes_anthropics_with_its_snapshot(named: str, own: str) -> None:
    assert anthropic_id(named) == own
    assert anthropic_id(own) == own
