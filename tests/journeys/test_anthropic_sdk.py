"""The official `anthropic` SDK, unchanged, with a gateway's URL and key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anthropic
import pytest

from tests.journeys.scene import CREDENTIAL, MODEL, cost_usd, gateway_before
from tests.support.gateway_process import GatewayProcess
from tests.support.upstream import (
    Received,
    Reply,
    ScriptedUpstream,
    error_reply,
    json_message,
    json_reply,
    sse_message,
    usage,
)

pytestmark = pytest.mark.journey

USED = {
    "input_tokens": 11,
    "output_tokens": 29,
    "cache_read_tokens": 3001,
    "cache_write_5m_tokens": 41,
    "cache_write_1h_tokens": 13,
}
TOO_LONG = "prompt is too long: 1000001 tokens > 1000000 maximum"
ABOVE_THE_LIMIT_BYTES = 33 * 1024 * 1024


@dataclass(frozen=True)
class Laptop:
    """A running gateway and the upstream behind it."""

    gateway: GatewayProcess
    upstream: ScriptedUpstream

    def client(self, key: str | None = None, **options: Any) -> anthropic.Anthropic:
        """Give an SDK client; no retries, so that every request is seen."""
        return anthropic.Anthropic(
            base_url=self.gateway.base_url,
            auth_token=key or self.gateway.gateway_key,
            max_retries=0,
            timeout=60,
            **options,
        )

    def key(self, name: str, *arguments: str) -> str:
        """Make a gateway key."""
        return str(self.gateway.json("keys", "create", "--name", name, *arguments)["key"])


def answer(received: Received) -> Reply:
    """Answer by what the system prompt asks for."""
    body = json.loads(received.body)
    if received.target.endswith(b"/count_tokens"):
        return json_reply({"input_tokens": 42})
    match body.get("system"):
        case "too long":
            return error_reply(400, "invalid_request_error", TOO_LONG)
        case "overloaded":
            return error_reply(529, "overloaded_error", "Overloaded")
    return (
        sse_message("Streamed.", usage=usage(**USED)).rechunked(11)
        if body.get("stream")
        else json_message("In one piece.", usage=usage(**USED), compress=True)
    )


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    budget = {"name": "nothing", "scope": {"key": "poor"}, "usd": 0, "period": "month"}
    folder = tmp_path_factory.mktemp("sdk")
    with ScriptedUpstream(answer) as upstream, gateway_before(folder, upstream, budgets=[budget]) as gateway:
        yield Laptop(gateway, upstream)


@pytest.fixture(scope="module")
def client(laptop: Laptop) -> Iterator[anthropic.Anthropic]:
    with laptop.client() as made:
        yield made


def ask(client: anthropic.Anthropic, **options: Any) -> anthropic.types.Message:
    message: anthropic.types.Message = client.messages.create(
        **{
            "model": MODEL,
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "Hello."}],
            **options,
        }
    )
    return message


def newest_row(laptop: Laptop) -> dict[str, Any]:
    return laptop.gateway.rows("requests", "--limit", "1")[0]


def test_a_stream_arrives_whole_and_is_metered(laptop: Laptop, client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello."}]
    ) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
        headers = stream.response.headers
    assert text == "Streamed. "
    assert message.usage.output_tokens == USED["output_tokens"]
    row = newest_row(laptop)
    assert headers["request-id"] == row["upstream_request_id"] == "req_011CScripted"
    assert headers["x-farebox-request-id"] == row["id"]
    assert {name: row[name] for name in USED} == USED
    assert Decimal(row["cost_usd"]) == cost_usd(USED)
    assert laptop.upstream.requests[-1].header("x-api-key") == CREDENTIAL.encode()


def test_a_message_in_one_piece_is_metered_alike(laptop: Laptop, client: anthropic.Anthropic) -> None:
    message = ask(client)
    assert [block.model_dump()["text"] for block in message.content] == ["In one piece."]
    assert message._request_id == "req_011CScripted"
    row = newest_row(laptop)
    assert {name: row[name] for name in USED} == USED
    assert Decimal(row["cost_usd"]) == cost_usd(USED)


def test_counting_tokens_asks_the_upstream_and_makes_no_row(
    laptop: Laptop, client: anthropic.Anthropic
) -> None:
    before = laptop.gateway.rows("requests")
    counted = client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Hello."}])
    assert counted.input_tokens == 42
    assert laptop.gateway.rows("requests") == before


def test_models_are_listed_page_by_page(client: anthropic.Anthropic) -> None:
    ids = [model.id for model in client.models.list(limit=3)]
    assert MODEL in ids
    assert len(ids) == len(set(ids)) > 3
    assert ids == [model.id for model in client.models.list(limit=1000).data]


def test_an_unknown_key_is_an_authentication_error(laptop: Laptop) -> None:
    with (
        laptop.client("fb-nobody") as stranger,
        pytest.raises(anthropic.AuthenticationError, match="gateway key is not valid"),
    ):
        ask(stranger)


def test_a_spent_budget_is_payment_required(laptop: Laptop) -> None:
    seen = len(laptop.upstream.requests)
    with (
        laptop.client(laptop.key("poor")) as poor,
        pytest.raises(anthropic.PaymentRequiredError, match="Budget 'nothing'") as refused,
    ):
        ask(poor)
    assert refused.value.body["error"]["type"] == "billing_error"  # type: ignore[index]
    assert len(laptop.upstream.requests) == seen


def test_a_model_that_the_key_may_not_use_is_a_bad_request(laptop: Laptop) -> None:
    with (
        laptop.client(laptop.key("narrow", "--models", "claude-haiku-*")) as narrow,
        pytest.raises(anthropic.BadRequestError, match=MODEL) as refused,
    ):
        ask(narrow)
    assert refused.value.body["error"]["type"] == "policy_blocked"  # type: ignore[index]


@pytest.mark.parametrize(
    ("system", "error", "message"),
    [
        ("too long", anthropic.BadRequestError, TOO_LONG),
        ("overloaded", anthropic.OverloadedError, "Overloaded"),
    ],
)
def test_an_upstream_error_arrives_as_it_was_said(
    laptop: Laptop,
    client: anthropic.Anthropic,
    system: str,
    error: type[anthropic.APIStatusError],
    message: str,
) -> None:
    with pytest.raises(error) as raised:
        ask(client, system=system)
    assert raised.value.body["error"]["message"] == message  # type: ignore[index]
    assert raised.value.request_id == "req_011CScripted"
    assert newest_row(laptop)["outcome"] == "upstream_error"


def test_a_body_above_the_limit_is_too_large(laptop: Laptop, client: anthropic.Anthropic) -> None:
    seen = len(laptop.upstream.requests)
    with pytest.raises(anthropic.RequestTooLargeError):
        ask(client, system="x" * ABOVE_THE_LIMIT_BYTES)
    assert len(laptop.upstream.requests) == seen


# Nobody waits until an answer is kept: whoever asks at once may be a little too early.
ASKED_AT_MOST = 20


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_of_the_cache_reads_like_a_new_one(
    laptop: Laptop, client: anthropic.Anthropic, is_stream: bool
) -> None:
    seen = len(laptop.upstream.requests)
    asked: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "The same again."}],
        "extra_headers": {"x-portkey-cache": "simple"},
    }
    told: list[tuple[anthropic.types.Message, Mapping[str, str]]] = []
    while len(told) < ASKED_AT_MOST and (not told or told[-1][1]["x-portkey-cache-status"] == "MISS"):
        if is_stream:
            with client.messages.stream(**asked) as stream:
                told.append((stream.get_final_message(), stream.response.headers))
        else:
            raw = client.messages.with_raw_response.create(**asked)
            told.append((raw.parse(), raw.headers))
    (first, _), (again, again_headers) = told[0], told[-1]
    assert again_headers["x-portkey-cache-status"] == "HIT"
    assert again == first
    assert again.usage.output_tokens == USED["output_tokens"]
    assert len(laptop.upstream.requests) == seen + len(told) - 1
    row = newest_row(laptop)
    assert (row["outcome"], row["cost_usd"], row["attempts"]) == ("cached", "0", 0)
    assert Decimal(row["saved_usd"]) == cost_usd(USED)


def test_an_unknown_route_is_not_found(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="no route"):
        client.post("/v2/nothing", cast_to=object, body={})
