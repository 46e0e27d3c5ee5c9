"""`farebox serve` from outside: stopping, crashing, starting again."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from tests.journeys.scene import MODEL, cost_usd, gateway_before
from tests.support.gateway_process import HOST, GatewayProcess
from tests.support.upstream import Ending, Gate, ScriptedUpstream, sse_message, usage

pytestmark = pytest.mark.journey

USED = {"input_tokens": 3, "output_tokens": 4}
BUDGET = {"name": "all", "scope": {"workspace": "default"}, "usd": 5, "period": "total"}


def asked(gateway: GatewayProcess, key: str = "") -> http.client.HTTPResponse:
    """Ask for a stream and come back with its head; the connection closes with the answer."""
    body = {
        "model": MODEL,
        "max_tokens": 100,
        "stream": True,
        "messages": [{"role": "user", "content": "Hi."}],
    }
    client = http.client.HTTPConnection(HOST, gateway.port, timeout=20)
    headers = {"x-api-key": key or gateway.gateway_key, "connection": "close"}
    client.request("POST", "/v1/messages", json.dumps(body), headers)
    return client.getresponse()


def status_for(gateway: GatewayProcess, key: str) -> int:
    answer = asked(gateway, key)
    answer.read()
    return answer.status


def wait_until_refused(port: int) -> None:
    """Wait until nobody listens any more: the process is on its way out."""
    for _ in range(500):
        try:
            socket.create_connection((HOST, port), timeout=5).close()
        except ConnectionRefusedError:
            return
        threading.Event().wait(0.02)
    raise TimeoutError(f"port {port} still takes connections")


def test_sigterm_lets_an_open_stream_finish_and_books_it(tmp_path: Path) -> None:
    gate = Gate()
    reply = sse_message(usage=usage(**USED)).with_piece(3, gate)
    with ScriptedUpstream([reply]) as upstream:
        with gateway_before(tmp_path, upstream) as gateway:
            answer = asked(gateway)
            received = answer.read(20)
            stopping = threading.Thread(target=gateway.stop)
            gateway.process.terminate()
            stopping.start()
            wait_until_refused(gateway.port)
            gate.open()
            received += answer.read()
            stopping.join()
            assert gateway.process.returncode == 0
            assert received == reply.body
            gateway.start()
            rows = gateway.rows("requests")
        assert [(row["outcome"], Decimal(row["cost_usd"])) for row in rows] == [("finished", cost_usd(USED))]


def test_a_stream_that_outlives_the_drain_is_cut_and_told_in_one_line(tmp_path: Path) -> None:
    reply = sse_message(usage=usage(**USED)).with_piece(3, Ending.STALL)
    with (
        ScriptedUpstream([reply]) as upstream,
        gateway_before(tmp_path, upstream, environment={"FAREBOX_DRAIN_S": "1"}) as gateway,
    ):
        answer = asked(gateway)
        assert answer.read(20) == reply.body[:20]
        assert gateway.stop() == 0
        answer.close()
        assert [line.split(" ", 2)[2] for line in gateway.errors] == [
            "WARNING uvicorn.error cut 1 open request: FAREBOX_DRAIN_S is over\n"
        ]
        gateway.start()
        assert [row["outcome"] for row in gateway.rows("requests")] == ["stopped"]


def test_clients_that_leave_leave_no_stream_open_upstream(tmp_path: Path) -> None:
    reply = sse_message(usage=usage(**USED)).with_piece(3, Ending.STALL)
    with ScriptedUpstream([reply] * 10) as upstream, gateway_before(tmp_path, upstream) as gateway:
        answers = [asked(gateway) for _ in range(10)]
        assert [answer.read(20) for answer in answers] == [reply.body[:20]] * 10
        assert upstream.open_connections == 10
        for answer in answers:
            answer.close()
        upstream.wait_until(lambda it: it.open_connections == 0 and all(each.hung_up for each in it.requests))
        assert [request.hung_up for request in upstream.requests] == [True] * 10
        gateway.stop()
        gateway.start()
        rows = gateway.rows("requests")
        assert [(row["outcome"], row["cost_status"]) for row in rows] == [("client_gone", "estimated")] * 10


def test_a_crash_leaves_a_hold_that_the_next_start_books(tmp_path: Path) -> None:
    reply = sse_message(usage=usage(**USED)).with_piece(3, Ending.STALL)
    with (
        ScriptedUpstream([reply]) as upstream,
        gateway_before(tmp_path, upstream, budgets=[BUDGET]) as gateway,
    ):
        answer = asked(gateway)
        assert answer.read(20) == reply.body[:20]
        gateway.kill()
        answer.close()
        gateway.start()
        (row,) = gateway.rows("requests")
        assert (row["outcome"], row["cost_status"]) == ("expired", "estimated")
        assert Decimal(row["charged_usd"]) >= cost_usd(USED)
        (budget,) = gateway.rows("budgets")
        assert Decimal(budget["held_usd"]) == Decimal(0)
        assert Decimal(budget["settled_usd"]) == Decimal(row["charged_usd"])
        assert gateway.run("ledger", "verify").returncode == 0


def test_a_revoked_key_stays_revoked_when_the_same_file_is_read_again(tmp_path: Path) -> None:
    replies = [sse_message(usage=usage(**USED))] * 2
    with (
        ScriptedUpstream(replies) as upstream,
        gateway_before(tmp_path, upstream, keys=[{"name": "alice", "user": "alice@example.com"}]) as gateway,
    ):
        line = next(line for line in gateway.output if line.startswith("created key default/alice"))
        key = line.split()[-1]
        assert status_for(gateway, key) == 200
        assert gateway.run("keys", "revoke", "alice").returncode == 0
        assert status_for(gateway, key) == 401
        gateway.stop()
        gateway.start()
        assert not [line for line in gateway.output if "created key" in line]
        assert status_for(gateway, key) == 401
        assert status_for(gateway, gateway.gateway_key) == 200


def test_the_credentials_file_belongs_to_its_owner_alone_and_stays_the_same(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        first = (gateway.gateway_key, gateway.admin_key)
        assert (gateway.data / "credentials.json").stat().st_mode & 0o777 == 0o600
        assert gateway.stop() == 0
        gateway.start()
        assert (gateway.gateway_key, gateway.admin_key) == first
        assert first[0] not in "".join(gateway.output)
