"""Foundry and Claude Platform on AWS when they fail: what the client sees, and what the ledger books."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus
from tests.support.laptop import QUICK, Laptop, RawAnswer, asking
from tests.support.upstream import (
    Ending,
    Received,
    Reply,
    ScriptedUpstream,
    error_reply,
    json_reply,
    sse,
    sse_message,
    sse_reply,
    usage,
)

MODEL = "claude-sonnet-4-5"
ANSWER = sse_message("A few words.", usage=usage(input_tokens=30, output_tokens=20), model=MODEL)
KEY = "cloud-key-canary"
COUNT = "/v1/messages/count_tokens"
LATER = "Wed, 25 Nov 2026 12:00:00 GMT"
OVERLOADED = sse("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
TOO_LONG = "prompt is too long: 210000 tokens > 200000 maximum"
SIGNATURE = "messages.1.content.0: Invalid `signature` in `thinking` block"
EXTRA = "context_management: Extra inputs are not permitted"
ROLE = "arn:aws:sts::123456789012:assumed-role/farebox-prod-proxy/farebox-prod-proxy"
PRINCIPAL = "66666666-7777-8888-9999-000000000000"
KINDS: dict[str, dict[str, str]] = {
    "foundry": {"type": "foundry", "resource": "ours"},
    "anthropic-aws": {"type": "anthropic-aws", "region": "us-east-1", "workspace_id": "wrkspc_1"},
}


def azure(status: int, code: str, message: str, *headers: tuple[str, str]) -> Reply:
    """Write an error of what stands before Claude in Azure."""
    return json_reply({"error": {"code": code, "message": message}}, status=status, headers=headers)


def aws(status: int, code: str, message: str, *headers: tuple[str, str]) -> Reply:
    """Write an error of what stands before Claude in AWS."""
    told = (("x-amzn-ErrorType", f"{code}:http://internal.amazon.com/x"), *headers)
    return json_reply({"message": message}, status=status, headers=told)


def page(status: int) -> Reply:
    html = f"<!DOCTYPE html><html><title>{status}</title></html>"
    return Reply(status, (("Content-Type", "text/html"),), (html.encode(),))


@dataclass(frozen=True)
class Refusal:
    """A reply, and what the client is told. `waits` are the headers that say when to try again."""

    reply: Reply
    status: int
    kind: str
    words: str
    waits: tuple[bytes | None, bytes | None] = (None, None)


REFUSALS: dict[str, Refusal] = {
    "429 of Azure with seconds": Refusal(
        azure(429, "429", "Rate limit is exceeded.", ("retry-after", "7"), ("retry-after-ms", "6500")),
        429,
        "rate_limit_error",
        "Rate limit is exceeded.",
        (b"7", b"6500"),
    ),
    "429 of AWS with a date": Refusal(
        aws(429, "ThrottlingException", "Too many requests.", ("retry-after", LATER)),
        429,
        "rate_limit_error",
        "Too many requests.",
        (LATER.encode(), None),
    ),
    "503 of a cloud": Refusal(azure(503, "ServiceUnavailable", "busy"), 529, "overloaded_error", "busy"),
    "504 of a cloud": Refusal(azure(504, "Timeout", "late"), 504, "timeout_error", "late"),
    "500 of AWS": Refusal(aws(500, "InternalServerException", "broken"), 500, "api_error", "broken"),
    "too long a prompt": Refusal(azure(400, "BadRequest", TOO_LONG), 400, "invalid_request_error", TOO_LONG),
    "a thinking signature": Refusal(
        azure(400, "BadRequest", SIGNATURE), 400, "invalid_request_error", SIGNATURE
    ),
    "a field that is not known": Refusal(
        aws(400, "ValidationException", EXTRA), 400, "invalid_request_error", EXTRA
    ),
    "no such deployment": Refusal(
        azure(404, "DeploymentNotFound", "The API deployment for this resource does not exist."),
        404,
        "not_found_error",
        "does not exist",
    ),
    "a key that Azure refuses": Refusal(
        json_reply({"statusCode": 401, "message": "Access denied due to invalid key."}, status=401),
        403,
        "permission_error",
        "Access denied",
    ),
    "a right that Azure refuses": Refusal(
        azure(403, "PermissionDenied", f"The principal `{PRINCIPAL}` lacks the required data action `x`."),
        403,
        "permission_error",
        "The principal (farebox) lacks the required data action `x`.",
    ),
    "a right that AWS refuses": Refusal(
        aws(403, "AccessDeniedException", f"User: {ROLE} is not authorized to perform: x:CreateInference"),
        403,
        "permission_error",
        "User: (farebox's role) is not authorized to perform: x:CreateInference",
    ),
    "a right that AWS refuses as Claude would": Refusal(
        error_reply(403, "permission_error", f"User: {ROLE} is not authorized"),
        403,
        "permission_error",
        "User: (farebox's role) is not authorized",
    ),
    "a key that Claude refuses": Refusal(
        error_reply(401, "authentication_error", "invalid x-api-key"),
        403,
        "permission_error",
        "invalid x-api-key",
    ),
    "a page of a front end": Refusal(page(502), 500, "api_error", "<!DOCTYPE html>"),
    "an error with a good status": Refusal(
        replace(azure(429, "429", "Rate limit"), status=200), 500, "api_error", "Rate limit"
    ),
}
OF_CLAUDE = {
    "too long a prompt": error_reply(400, "invalid_request_error", TOO_LONG),
    "a thinking signature": error_reply(400, "invalid_request_error", SIGNATURE),
    "a field that is not known": error_reply(400, "invalid_request_error", EXTRA),
    "429 with seconds": error_reply(429, "rate_limit_error", "slow down", ("retry-after", "7")),
    "429 with a date": error_reply(429, "rate_limit_error", "slow down", ("retry-after", LATER)),
    "529": error_reply(529, "overloaded_error", "Overloaded", ("x-should-retry", "true")),
    "413": error_reply(413, "request_too_large", "Request exceeds the maximum size"),
}
FAILED_BEGINNINGS = {
    "429": error_reply(429, "rate_limit_error", "slow down", ("retry-after", "0")),
    "529": error_reply(529, "overloaded_error", "Overloaded", ("retry-after", "0")),
    "503 of a cloud": azure(503, "ServiceUnavailable", "busy", ("retry-after", "0")),
    "error event first": sse_reply([OVERLOADED]),
    "empty 200": sse_reply([]),
    "wrong content type": page(200),
    "error with a good status": replace(azure(500, "InternalError", "x"), status=200),
}
COUNTS = {
    "0": b'{"input_tokens":0}',
    "none": b"{}",
    "text": b'{"input_tokens":"9"}',
    "empty": b"",
    "no": b"x",
}
BREAKS = {f"break {ending.value}": ANSWER.with_piece(4, ending) for ending in (Ending.CLOSE, Ending.STALL)}
PLAYS: dict[str, Reply] = {
    **{f"refusal {name}": refusal.reply for name, refusal in REFUSALS.items()},
    **{f"claude {name}": reply for name, reply in OF_CLAUDE.items()},
    **{f"begin {name}": reply for name, reply in FAILED_BEGINNINGS.items()},
    **{f"count {name}": Reply(200, (("Content-Type", "application/json"),), (body,))
       for name, body in COUNTS.items()},
    **BREAKS,
    "reset": ANSWER.with_piece(4, Ending.CUT),
    "error within": replace(ANSWER, pieces=(*ANSWER.pieces[:3], OVERLOADED)),
    "good": ANSWER,
}  # fmt: skip


class Scene:
    """One gateway for all tests of a kind. Its upstream plays what `x-play` names, then answers well."""

    def __init__(self, gateway: Laptop, upstream: ScriptedUpstream) -> None:
        self.gateway, self.upstream = gateway, upstream

    def ask(self, play: str, *, again: int = 0, **fields: Any) -> tuple[RawAnswer, RequestRecord]:
        """Ask for a stream; give what the client saw and the row. `again` is how often to try again."""
        headers = [("x-play", play)]
        if again:
            config = {"provider": "@cloud", "retry": {"attempts": again}}
            headers.append(("x-portkey-config", json.dumps(config)))
        count = len(self.gateway.log) + 1
        self.upstream.requests.clear()
        with self.gateway.open(asking(stream=True, **fields), headers=headers) as client:
            answer = client.read_answer()
        return answer, self.gateway.settled(count)[-1]


@pytest.fixture(scope="module", params=KINDS)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    asked: list[str] = []

    def answer(received: Received) -> Reply:
        play = (received.header("x-play") or b"good").decode()
        is_again = bool(asked) and play.startswith("begin ") and asked[-1] == play
        asked.append("" if is_again else play)
        return ANSWER if is_again else PLAYS[play]

    with ScriptedUpstream(answer) as upstream:
        provider = {"slug": "cloud", "credential": "env:CLOUD_KEY", "base_url": upstream.base_url}
        policy = {
            "providers": [{**provider, **KINDS[request.param]}],
            "keys": [{"name": "alice", "user": "alice@example.com"}],
            "budgets": [{"name": "everyone-day", "scope": {}, "usd": 1000, "period": "day"}],
        }
        folder, quick = tmp_path_factory.mktemp(request.param), replace(QUICK, idle_timeout_ms=400)
        with Laptop(folder, policy, settings=quick, environment={"CLOUD_KEY": KEY}) as gateway:
            yield Scene(gateway, upstream)
            assert KEY not in "".join(gateway.log)


@pytest.mark.parametrize("name", REFUSALS)
def test_an_error_of_a_cloud_has_anthropics_shape_and_costs_nothing(scene: Scene, name: str) -> None:
    refusal = REFUSALS[name]
    answer, row = scene.ask(f"refusal {name}")
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["type"]) == (refusal.status, refusal.kind)
    assert refusal.words in error["message"]
    assert (answer.header("retry-after"), answer.header("retry-after-ms")) == refusal.waits
    # The caller's own key is good, so there is nothing that logging in or trying again would mend.
    assert answer.header("x-should-retry") == (b"false" if refusal.status == 403 else None)
    for hidden in ("farebox-prod-proxy", PRINCIPAL, KEY):
        assert hidden not in answer.body.decode()
    assert (row.outcome, row.charged_picodollars) == (Outcome.UPSTREAM_ERROR, 0)


@pytest.mark.parametrize("name", OF_CLAUDE)
def test_an_error_of_claudes_own_is_relayed_byte_for_byte(scene: Scene, name: str) -> None:
    reply = OF_CLAUDE[name]
    answer, row = scene.ask(f"claude {name}")
    assert (answer.status, answer.body) == (reply.status, reply.body)
    sent = {told.lower(): value.encode() for told, value in reply.headers}
    for header in ("retry-after", "x-should-retry", "request-id"):
        assert answer.header(header) == sent.get(header)
    assert (row.outcome, row.charged_picodollars) == (Outcome.UPSTREAM_ERROR, 0)


def test_a_storm_of_529_is_given_up_and_told_verbatim(scene: Scene) -> None:
    answer, row = scene.ask("claude 529", again=2)
    assert (answer.status, answer.body) == (529, OF_CLAUDE["529"].body)
    assert answer.header("x-portkey-retry-attempt-count") == b"-1"
    assert [attempt.status for attempt in row.attempts] == [529, 529, 529]
    assert row.charged_picodollars == 0


@pytest.mark.parametrize("name", FAILED_BEGINNINGS)
def test_a_beginning_that_fails_is_tried_again_and_only_what_was_billed_costs(
    scene: Scene, name: str
) -> None:
    answer, row = scene.ask(f"begin {name}", again=1)
    assert (answer.status, answer.body) == (200, ANSWER.body)
    assert (row.outcome, len(row.attempts)) == (Outcome.FINISHED, 2)
    is_free = FAILED_BEGINNINGS[name].status != 200 or name.startswith("error")
    assert (row.attempts[0].cost_picodollars == 0) == is_free


ENDS = {
    "error event first": (Outcome.UPSTREAM_ERROR, CostStatus.PRICED),
    "empty 200": (Outcome.UPSTREAM_CUT, CostStatus.ESTIMATED),
    "wrong content type": (Outcome.FINISHED, CostStatus.ESTIMATED),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_beginning_that_fails_passes_as_it_is_where_nobody_asks_for_another_try(
    scene: Scene, name: str
) -> None:
    answer, row = scene.ask(f"begin {name}")
    assert (answer.status, answer.body) == (200, FAILED_BEGINNINGS[name].body)
    assert (row.outcome, row.cost_status) == ENDS[name]


@pytest.mark.parametrize("name", BREAKS)
def test_a_stream_that_breaks_off_is_a_cut_and_what_was_told_is_charged(scene: Scene, name: str) -> None:
    answer, row = scene.ask(name)
    assert (answer.status, answer.is_whole) == (200, False)
    assert answer.body == b"".join(piece for piece in ANSWER.pieces[:4] if isinstance(piece, bytes))
    assert (row.outcome, row.usage.input_tokens) == (Outcome.UPSTREAM_CUT, 30)
    assert row.charged_picodollars > 0


def test_a_connection_that_is_reset_is_a_cut_that_costs_what_is_likely(scene: Scene) -> None:
    answer, row = scene.ask("reset")
    assert (answer.is_whole, row.outcome, row.charged_picodollars > 0) == (False, Outcome.UPSTREAM_CUT, True)


def test_an_error_event_within_a_stream_passes_and_what_was_told_is_booked(scene: Scene) -> None:
    answer, row = scene.ask("error within")
    assert answer.body == PLAYS["error within"].body
    assert (row.outcome, row.usage.input_tokens) == (Outcome.UPSTREAM_ERROR, 30)


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_never_nothing(scene: Scene, name: str) -> None:
    answer = scene.gateway.ask(asking(), target=COUNT, headers=[("x-play", f"count {name}")])
    assert (answer.status, json.loads(answer.body)["type"]) == (500, "error")


def test_betas_and_fields_that_a_cloud_refuses_are_left_out_and_all_others_pass(scene: Scene) -> None:
    betas = "fast-mode-2026-02-01,interleaved-thinking-2025-05-14,of-tomorrow-2027-01-01"
    headers = [("anthropic-beta", betas)]
    scene.upstream.requests.clear()
    body = asking(stream=True, speed="fast", context_management={"edits": []}, of_tomorrow=[1.50])
    count = len(scene.gateway.log) + 1
    assert scene.gateway.ask(body, headers=headers).status == 200
    scene.gateway.settled(count)
    [asked] = scene.upstream.requests
    assert asked.header("anthropic-beta") == betas.partition(",")[2].encode()
    assert b'"speed"' not in asked.body
    assert b'"of_tomorrow":[1.5]' in asked.body.replace(b"1.50", b"1.5")
    assert json.loads(asked.body)["context_management"] == {"edits": []}
