"""Which paths are Bedrock's and Vertex's, however a model is written in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.gateway.incoming import BEDROCK, MESSAGES_API, VERTEX
from farebox.http.clients.paths import Route, post_route

ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
PLACE = "projects/proj-1/locations/global/publishers/anthropic/models"
IDS = st.sampled_from(
    (
        "anthropic.claude-sonnet-4-20250514-v1:0",
        "us.anthropic.claude-opus-5-5",
        "claude-sonnet-4@20250514",
        "@bedrock/us.anthropic.claude-opus-5-5",
        ARN,
    )
)
PREFIXES = st.sampled_from(("", "/bedrock", "/team/a", "/v1", "/models"))


@given(prefix=PREFIXES, model=IDS)
def test_bedrock_is_found_under_any_prefix(prefix: str, model: str) -> None:
    at = f"{prefix}/model/{model}"
    assert post_route(f"{at}/invoke") == Route(BEDROCK, "messages", model)
    assert post_route(f"{at}/invoke-with-response-stream") == Route(BEDROCK, "messages", model, True)
    assert post_route(f"{at}/count-tokens") == Route(BEDROCK, "count_tokens", model)


@given(prefix=PREFIXES, model=IDS)
def test_vertex_is_found_under_any_prefix(prefix: str, model: str) -> None:
    at = f"{prefix}/v1/{PLACE}"
    assert post_route(f"{at}/{model}:rawPredict") == Route(VERTEX, "messages", model)
    assert post_route(f"{at}/{model}:streamRawPredict") == Route(VERTEX, "messages", model, True)
    assert post_route(f"{at}/count-tokens:rawPredict") == Route(VERTEX, "count_tokens")


@pytest.mark.parametrize("path", ["/v1/messages", "/any/v1/messages"])
def test_the_messages_api_stays_itself(path: str) -> None:
    assert post_route(path) == Route(MESSAGES_API, "messages")
    assert post_route(f"{path}/count_tokens") == Route(MESSAGES_API, "count_tokens")


@pytest.mark.parametrize(
    "path",
    [
        "/model/x/converse",
        "/model//invoke",
        "/model/invoke",
        "/model/x/invoke/more",
        f"/v1/{PLACE}/x:predict",
        f"/v1/{PLACE}/:rawPredict",
        "/v1/projects/p/locations/l/publishers/google/models/gemini:rawPredict",
        "/inference-profiles",
    ],
)
def test_any_other_path_is_nobodys(path: str) -> None:
    assert post_route(path) is None
