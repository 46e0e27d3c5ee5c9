"""The many spellings of a Claude model id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.price.model_id import Endpoint, ModelRef, endpoint_of, normalise
from farebox.domain.price.vendor_id import candidates
from tests.domain.price_cases import BOOK

REGIONAL, GLOBAL, GOVERNMENT = Endpoint.REGIONAL, Endpoint.GLOBAL, Endpoint.GOVERNMENT


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("claude-opus-5-5", ModelRef("claude-opus-5-5")),
        (" Claude-Opus-5-5 ", ModelRef("claude-opus-5-5")),
        ("claude-opus-5-5[1m]", ModelRef("claude-opus-5-5")),
        ("claude-opus-4.6", ModelRef("claude-opus-4-6")),
        ("claude-sonnet-4-5-20250929", ModelRef("claude-sonnet-4-5")),
        ("claude-sonnet-4-5@20250929", ModelRef("claude-sonnet-4-5")),
        ("claude-opus-5-5@default", ModelRef("claude-opus-5-5")),
        ("anthropic/claude-opus-5-5", ModelRef("claude-opus-5-5")),
        ("vertex_ai/claude-opus-5-5@default", ModelRef("claude-opus-5-5")),
        ("publishers/anthropic/models/claude-opus-5-5", ModelRef("claude-opus-5-5")),
        (
            "projects/p/locations/us-east5/publishers/anthropic/models/claude-opus-5-5",
            ModelRef("claude-opus-5-5", REGIONAL),
        ),
        (
            "projects/p/locations/global/publishers/anthropic/models/claude-opus-5-5@20260915",
            ModelRef("claude-opus-5-5", GLOBAL),
        ),
        ("anthropic.claude-opus-4-6-v1", ModelRef("claude-opus-4-6")),
        ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", ModelRef("claude-sonnet-4-5", REGIONAL)),
        ("global.anthropic.claude-opus-5-5-v1:0[1m]", ModelRef("claude-opus-5-5", GLOBAL)),
        ("us-gov.anthropic.claude-sonnet-5-5", ModelRef("claude-sonnet-5-5", GOVERNMENT)),
        ("apac.anthropic.claude-haiku-4-5-20251001-v1:0", ModelRef("claude-haiku-4-5", REGIONAL)),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-6-v1",
            ModelRef("claude-opus-4-6"),
        ),
        (
            "arn:aws:bedrock:us-east-1:1:inference-profile/global.anthropic.claude-opus-5-5",
            ModelRef("claude-opus-5-5", GLOBAL),
        ),
        (
            "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-opus-5-5",
            ModelRef("claude-opus-5-5", GOVERNMENT),
        ),
        (
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/A1",
            ModelRef("arn:aws:bedrock:us-east-1:1:application-inference-profile/a1", is_profile=True),
        ),
    ],
)
def test_a_spelling_is_reduced_to_the_table_id_and_its_endpoint(spelling: str, expected: ModelRef) -> None:
    assert normalise(spelling) == expected


@pytest.mark.parametrize(
    "spelling",
    [
        "arn:aws:bedrock:us-east-1:1:prompt-router/claude-opus-5-5",
        "xx.anthropic.claude-opus-5-5",
        "claude-opus-5-5-turbo",
        "my-claude-opus-5-5",
        "claude-opus",
        "us.claude-opus-5-5",
    ],
)
def test_a_spelling_that_is_not_exactly_a_model_finds_no_row(spelling: str) -> None:
    assert normalise(spelling).id not in BOOK.claude.models


@pytest.mark.parametrize(
    ("provider", "spelling", "region", "expected"),
    [
        ("bedrock", "anthropic.claude-opus-5-5", "us-east-1", REGIONAL),
        ("bedrock", "anthropic.claude-opus-5-5", "us-gov-west-1", GOVERNMENT),
        ("bedrock", "global.anthropic.claude-opus-5-5", "us-gov-west-1", GLOBAL),
        ("vertex", "projects/p/locations/eu/publishers/anthropic/models/claude-opus-5-5", "global", REGIONAL),
        ("vertex", "claude-opus-5-5", "us-east5", REGIONAL),
        ("vertex", "claude-opus-5-5", "Global", GLOBAL),
        ("vertex", "claude-opus-5-5", None, GLOBAL),
        ("anthropic", "us.anthropic.claude-opus-5-5", "us-east-1", GLOBAL),
        ("foundry", "claude-opus-5-5", "eastus2", GLOBAL),
    ],
)
def test_the_endpoint_class_is_the_requests(
    provider: str, spelling: str, region: str | None, expected: Endpoint
) -> None:
    assert endpoint_of(provider, normalise(spelling), region) is expected


@given(st.text(max_size=80))
def test_any_text_is_reduced_without_failing(text: str) -> None:
    assert isinstance(normalise(text).id, str)
    assert next(candidates(text)) == text.strip().lower()


def test_vendor_spellings_lose_a_resource_name_and_a_date_and_nothing_else() -> None:
    assert list(candidates("models/Gemini-3-Pro")) == ["models/gemini-3-pro", "gemini-3-pro"]
    assert list(candidates("gpt-5.6-terra-2026-06-01")) == ["gpt-5.6-terra-2026-06-01", "gpt-5.6-terra"]
    assert list(candidates("gpt-5.6-terra")) == ["gpt-5.6-terra"]
