"""The laptop's gateway on Lambda's runtime: the same bytes, and books that are exact when it is frozen."""

from __future__ import annotations

from pathlib import Path

from farebox.domain.record import Outcome
from tests.http.servers.conftest import Function
from tests.support.cloud.client import asking
from tests.support.cloud.environment import ZipFunction
from tests.support.cloud.function_url import FunctionUrl
from tests.support.laptop import CREDENTIAL_NAME, PROVIDER_SECRET, Laptop, a_policy
from tests.support.laptop import asking as message
from tests.support.upstream import Ending, ScriptedUpstream, json_message, sse_message, usage
from tests.support.upstream import Reply as Scripted

ANSWER = sse_message("An answer of a few words.", usage=usage(input_tokens=3, output_tokens=2))


class Deployed:
    """A data folder with a policy and its first key, which a function serves and then a laptop reads."""

    def __init__(self, folder: Path, upstream: ScriptedUpstream) -> None:
        self._folder, self._policy = folder, a_policy(upstream)
        with Laptop(folder, self._policy) as laptop:
            self.headers = [("content-type", "application/json"), ("x-farebox-key", laptop.key)]

    def function(self, function: Function, timeout_s: float = 60.0) -> ZipFunction:
        variables = {"DATA": str(self._folder), CREDENTIAL_NAME: PROVIDER_SECRET}
        return function("laptop_app.handler", variables, timeout_s=timeout_s, grace_s=60.0)

    def outcomes(self) -> list[Outcome]:
        """Open the books that a killed environment left, and check them."""
        with Laptop(self._folder, self._policy) as laptop:
            assert laptop.open_holds() == 0
            assert laptop.drifts() == []
            return [row.outcome for row in laptop.rows()]


async def test_answers_pass_byte_for_byte_and_are_booked_before_the_freeze(
    function: Function, tmp_path: Path
) -> None:
    whole = json_message(usage=usage(input_tokens=3, output_tokens=2))
    with ScriptedUpstream([ANSWER, whole]) as upstream:
        deployed = Deployed(tmp_path, upstream)
        async with FunctionUrl(deployed.function(function)) as url:
            for body, told in ((message(stream=True), ANSWER), (message(), whole)):
                async with asking(url.port, "/v1/messages", body=body, headers=deployed.headers) as reply:
                    assert (reply.status, await reply.read()) == (200, told.body)
                await url.all_frozen()
        assert [invocation.ending for invocation in url.invocations] == ["whole", "whole"]
        assert [received.body for received in upstream.requests] == [message(stream=True), message()]
        assert deployed.outcomes() == [Outcome.FINISHED, Outcome.FINISHED]


async def test_a_stream_that_reaches_the_deadline_is_booked_and_then_cut(
    function: Function, tmp_path: Path
) -> None:
    stalled = ANSWER.with_piece(4, Ending.STALL)
    with ScriptedUpstream([stalled]) as upstream:
        deployed = Deployed(tmp_path, upstream)
        async with FunctionUrl(deployed.function(function, timeout_s=4.0)) as url:
            body = message(stream=True)
            async with asking(url.port, "/v1/messages", body=body, headers=deployed.headers) as reply:
                assert await reply.read() == Scripted(pieces=ANSWER.pieces[:4]).body
                assert not reply.is_whole
            await url.all_frozen()
            (cut,) = url.invocations
            assert (cut.ending, cut.error["errorType"]) == ("cut", "Farebox.Stopped")
        assert deployed.outcomes() == [Outcome.STOPPED]


async def test_a_refusal_has_anthropics_shape(function: Function, tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream:
        deployed = Deployed(tmp_path, upstream)
        async with FunctionUrl(deployed.function(function)) as url:
            async with asking(url.port, "/v1/messages", body=message(), headers=[]) as reply:
                assert reply.status == 401
                assert (await reply.read()).startswith(
                    b'{"type":"error","error":{"type":"authentication_error"'
                )
            await url.all_frozen()
        assert deployed.outcomes() == []
