"""The same budgets with real sockets on both sides."""

from __future__ import annotations

from pathlib import Path

from farebox.domain.record import Outcome
from tests.support.laptop import Laptop, a_policy, asking
from tests.support.upstream import Gate, ScriptedUpstream, sse_message, usage

MODEL = "claude-opus-5-5"
STREAM = asking(model=MODEL, stream=True)
PARALLEL = 40


def test_a_blocked_request_never_reaches_the_provider(tmp_path: Path) -> None:
    nothing = {"name": "nothing", "scope": {"user": "alice@example.com"}, "usd": 0, "period": "month"}
    with (
        ScriptedUpstream() as upstream,
        Laptop(tmp_path, a_policy(upstream, budgets=[nothing], contact="ops@example.com")) as laptop,
    ):
        answer = laptop.ask(STREAM)
        assert answer.status == 402
        assert answer.header("x-should-retry") == b"false"
        error = answer.json()["error"]
        assert error["type"] == "billing_error"
        assert error["message"].startswith(
            "Budget 'nothing' is exhausted: $0.00 of $0.00 spent. It resets at 2"
        )
        assert error["message"].endswith("T00:00:00Z; ask ops@example.com to raise it.")
        assert [row.outcome for row in laptop.settled(1)] == [Outcome.REFUSED]
        assert (upstream.requests, upstream.open_connections) == ([], 0)


def test_parallel_streams_of_a_new_key_stay_within_its_limit(tmp_path: Path) -> None:
    budget = {"name": "key-day", "scope": {"key": "*"}, "usd": "0.1", "period": "day"}
    gate = Gate()
    reply = sse_message(usage=usage(input_tokens=20, output_tokens=1000)).with_piece(2, gate)
    with (
        ScriptedUpstream([reply] * PARALLEL) as upstream,
        Laptop(tmp_path, a_policy(upstream, budgets=[budget])) as laptop,
    ):
        clients = [laptop.open(STREAM) for _ in range(PARALLEL)]
        # Each holds some 0.0204 USD, so four are let through and the others wait for them.
        upstream.wait_until(lambda server: len(server.messages) == 4)
        gate.open()
        answers = [client.read_answer() for client in clients]
        for client in clients:
            client.leave()
        rows = laptop.settled(PARALLEL)
        [standing] = laptop.standings()
        assert standing.standing.settled == sum(row.charged_picodollars for row in rows)
        assert standing.standing.settled <= 10**11 + sum(row.overrun_picodollars for row in rows)
        assert sorted({answer.status for answer in answers}) == [200, 402]
        assert [answer.status for answer in answers].count(200) == len(upstream.messages) == 4
        assert all(answer.is_whole for answer in answers)
