"""Through the real wrapper: every way in which an answer, or a start, can fail to be whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.http.servers.conftest import Function
from tests.support.cloud.app.streaming_app import SECRET
from tests.support.cloud.client import asking
from tests.support.cloud.environment import Environment, ProcessSandbox
from tests.support.cloud.function_url import FunctionUrl
from tests.support.cloud.gates import Gates
from tests.support.cloud.invocation import Invocation


@pytest.mark.parametrize(
    ("path", "kind"), [("/raise", "Farebox.RuntimeError"), ("/nothing", "Farebox.Unanswered")]
)
async def test_a_failure_before_the_first_byte_is_an_error_and_the_next_request_is_served(
    function: Function, path: str, kind: str
) -> None:
    async with FunctionUrl(function()) as url:
        async with asking(url.port, path) as reply:
            assert reply.status == 502
        await url.all_frozen()
        async with asking(url.port, "/echo") as reply:
            assert reply.status == 201
        await url.all_frozen()
        failed, served = url.invocations
        assert (failed.ending, failed.error["errorType"]) == ("error", kind)
        assert SECRET not in str(failed.error)
        assert (served.ending, served.is_cold) == ("whole", False)


@pytest.mark.parametrize(
    ("path", "kind"), [("/half-then-raise", "Farebox.RuntimeError"), ("/half", "Farebox.Cut")]
)
async def test_a_failure_behind_the_first_byte_cuts_the_answer_and_says_why_in_trailers(
    function: Function, path: str, kind: str
) -> None:
    async with FunctionUrl(function()) as url:
        async with asking(url.port, path) as reply:
            assert (reply.status, await reply.read()) == (200, b"half of ")
            assert not reply.is_whole
        await url.all_frozen()
        async with asking(url.port, "/echo") as reply:
            assert reply.status == 201
        await url.all_frozen()
        cut, served = url.invocations
        assert (cut.ending, cut.error["errorType"]) == ("cut", kind)
        assert SECRET not in str(cut.error)
        assert (served.ending, served.is_cold) == ("whole", False)


async def test_an_answer_is_stopped_and_booked_before_the_timeout(function: Function, gates: Gates) -> None:
    async with FunctionUrl(function(timeout_s=3.0, grace_s=60.0)) as url:
        async with asking(url.port, "/stuck/midway") as reply:
            assert await anext(reply.pieces) == b"half of "
            await gates.reached("booked")
            assert url.invocations[0].ending is None
            gates.open("booked")
            assert await reply.read() == b""
            assert not reply.is_whole
        await url.all_frozen()
        (stopped,) = url.invocations
        assert (stopped.ending, stopped.error["errorType"]) == ("cut", "Farebox.Stopped")


async def test_an_answer_that_has_not_begun_by_the_deadline_is_a_504_in_anthropics_shape(
    function: Function, gates: Gates
) -> None:
    gates.open("booked")
    async with FunctionUrl(function(timeout_s=0.5, grace_s=60.0)) as url:
        async with asking(url.port, "/stuck/silent") as reply:
            assert reply.status == 504
            assert b'"type":"timeout_error"' in await reply.read()
            assert reply.is_whole
        await url.all_frozen()
        assert url.invocations[0].ending == "whole"


async def test_a_stopped_process_books_cuts_and_leaves_in_peace(function: Function, gates: Gates) -> None:
    async with FunctionUrl(function()) as url:
        async with asking(url.port, "/stuck/midway") as reply:
            assert await anext(reply.pieces) == b"half of "
            sandbox = url.environments[0].sandbox
            assert isinstance(sandbox, ProcessSandbox)
            sandbox.terminate()
            await gates.reached("booked")
            gates.open("booked")
            assert await reply.read() == b""
            assert not reply.is_whole
        await url.all_frozen()
        assert url.invocations[0].error["errorType"] == "Farebox.Stopped"
        assert sandbox.process is not None
        assert sandbox.process.returncode == 0, url.log


@pytest.mark.parametrize(
    ("handler", "kind", "words"),
    [
        ("handler_misconfigured", "Farebox.ConfigInvalid", "FAREBOX_STAGE"),
        ("handler_broken", "Farebox.RuntimeError", "log"),
        ("handler_unknown", "Farebox.ConfigInvalid", "handler_unknown"),
    ],
)
async def test_a_start_that_fails_is_told_to_lambda(
    function: Function, handler: str, kind: str, words: str
) -> None:
    async with FunctionUrl(function(f"streaming_app.{handler}")) as url:
        async with asking(url.port, "/echo") as reply:
            assert reply.status == 502
        await url.all_frozen()
        (invocation,) = url.invocations
        assert invocation.ending == "init"
        told = invocation.error.decode()
        assert kind in told
        assert words in told
        assert SECRET not in told


async def test_an_event_that_is_no_request_is_an_error(function: Function, tmp_path: Path) -> None:
    environment = Environment(function().sandbox(tmp_path), timeout_s=60.0)
    invocation = Invocation(b'{"source": "aws.events"}')
    await environment.run(invocation)
    await environment.kill()
    assert (invocation.ending, environment.api.violations) == ("error", [])
    assert invocation.error["errorType"] == "Farebox.EventUnknown"


async def test_a_snapshot_is_taken_before_the_app_opens(
    function: Function, gates: Gates, tmp_path: Path
) -> None:
    environment = Environment(
        function("streaming_app.handler_at_gate", initialization="snap-start").sandbox(tmp_path), 60.0
    )
    api = environment.api
    await api.open()
    await environment.sandbox.start(api.address)
    await api.snapshot_due.wait()
    assert not gates.is_reached("opened")
    api.restored.set()
    await gates.reached("opened")
    gates.open("opened")
    await api.asked.wait()
    await environment.kill()
    assert api.calls == ["GET /restore/next", "GET /invocation/next"]
