"""Bedrock when it fails to begin, or stops: what the client sees of it, and what the ledger books."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus
from tests.support.bedrock import (
    bedrock_error,
    bedrock_json,
    bedrock_stream,
    data_lines,
    exception_frame,
    framed,
)
from tests.support.laptop import QUICK, Laptop, RawAnswer, asking
from tests.support.upstream import Ending, Received, Reply, ScriptedUpstream, json_message, sse_message, usage

MODEL = "claude-sonnet-4-5"
USED = usage(input_tokens=30, output_tokens=20)
ANSWER = sse_message("A few words.", usage=USED, model=MODEL)
FRAMES = bedrock_stream(ANSWER)
LATER = "Wed, 25 Nov 2026 12:00:00 GMT"
NOW = ("retry-after", "0")
BUSY = "Bedrock is unable to process your request."

PAGE = Reply(200, (("Content-Type", "text/html"),), (b"<html>a proxy</html>",))
FAILED_BEGINNINGS = {
    "429": bedrock_error(429, "ThrottlingException", "Too many requests.").with_headers(NOW),
    "503": bedrock_error(503, "ServiceUnavailableException", BUSY).with_headers(NOW),
    "500": bedrock_error(500, "InternalServerException", "broken").with_headers(NOW),
    "exception first": framed([exception_frame("throttlingException", "Too many tokens.")]),
    "empty 200": framed([]),
    "wrong content type": PAGE,
    "half a frame": FRAMES.rechunked(40).with_piece(1, Ending.CLOSE),
}
BREAKS = {ending.value: FRAMES.with_piece(4, ending) for ending in (Ending.CLOSE, Ending.STALL)}
PLAYS = {
    **{f"begin {name}": reply for name, reply in FAILED_BEGINNINGS.items()},
    **{f"break {name}": reply for name, reply in BREAKS.items()},
    "seconds": bedrock_error(429, "ThrottlingException", "later").with_headers(("retry-after", "7")),
    "date": bedrock_error(429, "ThrottlingException", "later").with_headers(("retry-after", LATER)),
    "storm": FAILED_BEGINNINGS["503"],
    "whole": bedrock_json(json_message(usage=USED, model=MODEL).body),
    "half a message": bedrock_json(json_message(usage=USED, model=MODEL).body[:-20]),
    "good": FRAMES,
}


class Scene:
    """One gateway for all tests. Its Bedrock plays what `user-agent` names, then answers well."""

    def __init__(self, gateway: Laptop) -> None:
        self.gateway = gateway

    def ask(self, play: str, *, again: int = 0, **fields: Any) -> tuple[RawAnswer, RequestRecord]:
        """Ask for a stream; give what the client saw and the row. `again` is how often to try again."""
        headers = [("user-agent", play)]
        if again:
            config = {"provider": "@bedrock", "retry": {"attempts": again}}
            headers.append(("x-portkey-config", json.dumps(config)))
        count = len(self.gateway.log) + 1
        with self.gateway.open(asking(**{"stream": True, **fields}), headers=headers) as client:
            answer = client.read_answer()
        return answer, self.gateway.settled(count)[-1]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    asked: list[str] = []

    def answer(received: Received) -> Reply:
        play = (received.header("user-agent") or b"good").decode()
        is_again = bool(asked) and play.startswith("begin ") and asked[-1] == play
        asked.append("" if is_again else play)
        return FRAMES if is_again else PLAYS[play]

    with ScriptedUpstream(answer) as upstream:
        bedrock = {"slug": "bedrock", "type": "bedrock", "region": "eu-central-1", "credential": "env:KEY"}
        policy = {
            "providers": [{**bedrock, "base_url": upstream.base_url}],
            "keys": [{"name": "alice", "user": "alice@example.com"}],
            "budgets": [{"name": "everyone-day", "scope": {}, "usd": 1000, "period": "day"}],
        }
        folder, quick = tmp_path_factory.mktemp("bedrock"), replace(QUICK, idle_timeout_ms=400)
        with Laptop(folder, policy, settings=quick, environment={"KEY": "bedrock-key"}) as gateway:
            yield Scene(gateway)


@pytest.mark.parametrize(("play", "wait"), [("seconds", b"7"), ("date", LATER.encode())])
def test_bedrocks_word_on_when_to_try_again_reaches_the_client(scene: Scene, play: str, wait: bytes) -> None:
    answer, row = scene.ask(play)
    assert (answer.status, answer.header("retry-after")) == (429, wait)
    assert (row.outcome, row.charged_picodollars) == (Outcome.UPSTREAM_ERROR, 0)


def test_a_storm_of_503_is_given_up_and_told_as_overload(scene: Scene) -> None:
    answer, row = scene.ask("storm", again=2)
    assert (answer.status, json.loads(answer.body)["error"]["message"]) == (529, BUSY)
    assert answer.header("x-portkey-retry-attempt-count") == b"-1"
    assert [attempt.status for attempt in row.attempts] == [529, 529, 529]
    assert row.charged_picodollars == 0


@pytest.mark.parametrize("name", FAILED_BEGINNINGS)
def test_a_beginning_that_fails_is_tried_again_and_only_what_was_billed_costs(
    scene: Scene, name: str
) -> None:
    answer, row = scene.ask(f"begin {name}", again=1)
    assert (answer.status, data_lines(answer.body)) == (200, data_lines(ANSWER.body))
    assert (row.outcome, len(row.attempts)) == (Outcome.FINISHED, 2)
    is_free = FAILED_BEGINNINGS[name].status != 200 or name == "exception first"
    assert (row.attempts[0].cost_picodollars == 0) == is_free


def test_a_stream_that_is_empty_is_a_cut_that_costs_what_is_likely(scene: Scene) -> None:
    answer, row = scene.ask("begin empty 200")
    assert (answer.status, answer.is_whole, answer.body) == (200, False, b"")
    assert (row.outcome, row.cost_status) == (Outcome.UPSTREAM_CUT, CostStatus.ESTIMATED)


@pytest.mark.parametrize("name", BREAKS)
def test_a_stream_that_stops_between_frames_is_a_cut_and_what_was_told_is_charged(
    scene: Scene, name: str
) -> None:
    answer, row = scene.ask(f"break {name}")
    assert (answer.status, answer.is_whole) == (200, False)
    assert data_lines(answer.body) == data_lines(ANSWER.body)[:4]
    assert (row.outcome, row.usage.input_tokens) == (Outcome.UPSTREAM_CUT, 30)
    assert row.charged_picodollars > 0


def test_half_a_message_is_no_answer_and_costs_what_is_likely(scene: Scene) -> None:
    answer, row = scene.ask("half a message", stream=False)
    assert answer.status == 502
    assert (row.outcome, row.charged_picodollars > 0) == (Outcome.UPSTREAM_CUT, True)
    whole, row = scene.ask("whole", stream=False)
    assert (whole.status, row.outcome) == (200, Outcome.FINISHED)
