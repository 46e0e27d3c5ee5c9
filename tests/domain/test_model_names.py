"""What Anthropic's own API calls a model that a client named as its cloud does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.price.model_id import normalise
from farebox.domain.price.model_names import anthropic_id

PIECES = st.sampled_from(
    [
        *(
            "claude-haiku-4-5",
            "claude-opus-4-6",
            "anthropic.",
            "us.",
            "haiku.",
            "/",
            "@",
            "@default",
            "-v1:0",
        ),
        *(
            "@20250929",
            "-20250929",
            "arn:aws:bedrock:us-east-1:1:",
            "foundation-model/",
            "inference-profile/",
        ),
        *("application-inference-profile/", "bedrock/", "[1m]"),
    ]
)
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


@given(st.lists(PIECES, min_size=1, max_size=6).map("".join))
def test_no_name_becomes_that_of_a_model_by_which_it_was_not_admitted(named: str) -> None:
    assert normalise(anthropic_id(named)).id == normalise(named).id
