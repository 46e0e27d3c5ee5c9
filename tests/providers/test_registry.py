"""The way to a provider, and what counts as an answer of one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from farebox.domain.config import ProviderSpec
from farebox.domain.errors import UpstreamStatusUnusable
from farebox.ports.bearer import BearerToken
from farebox.providers.base import MESSAGES, Call
from farebox.providers.registry import Providers
from farebox.wire.headers import find
from farebox.wire.http import Headers, HttpAnswer, HttpRequest, Timeouts
from tests.support.builders import FixedClock

SPEC = ProviderSpec("main", "anthropic", "env:KEY", base_url="https://api.example")
CALL = Call(MESSAGES, b"", [], b"{}", False, None, "sk-ant-api03-x", None)
BODY = b'{"model":"claude-sonnet-4-5","messages":[]}'
FOUNDRY = ProviderSpec("azure", "foundry", "env:KEY", base_url="https://ours.example/anthropic")


@dataclass
class Answer:
    status: int
    headers: Headers = field(default_factory=list)
    is_closed: bool = False

    async def receive(self) -> bytes:
        return b""

    def abort(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


@dataclass
class OneAnswer:
    """A transport whose every peer answers the same."""

    answer: Answer

    async def send(
        self, request: HttpRequest, timeouts: Timeouts, *, silence_ms: int | None = None
    ) -> HttpAnswer:
        return self.answer

    async def aclose(self) -> None:
        self.answer.is_closed = True


@pytest.mark.parametrize("status", [300, 302, 307, 399, 600, 999, 101, 0])
async def test_a_status_that_answers_nothing_is_a_fault_and_ends_the_connection(status: int) -> None:
    answer = Answer(status, [(b"location", b"https://elsewhere.example")])
    with pytest.raises(UpstreamStatusUnusable) as raised:
        await Providers(OneAnswer(answer), {}, Timeouts(), FixedClock()).send(SPEC, CALL)
    assert (raised.value.host, raised.value.status) == ("api.example", status)
    assert (raised.value.dispatched, answer.is_closed) == (False, True)


@pytest.mark.parametrize("status", [200, 299, 400, 429, 529, 599])
async def test_any_other_status_is_the_providers_word(status: int) -> None:
    answer = Answer(status)
    assert await Providers(OneAnswer(answer), {}, Timeouts(), FixedClock()).send(SPEC, CALL) is answer
    assert not answer.is_closed


async def test_whoever_leaves_while_another_token_is_fetched_leaves_no_connection_open() -> None:
    answer, asked = Answer(401), asyncio.Event()

    async def never() -> BearerToken | None:
        asked.set()
        await asyncio.Event().wait()
        return None

    providers = Providers(OneAnswer(answer), {}, Timeouts(), FixedClock())
    call = replace(CALL, body=BODY, secret=BearerToken("old", never))
    sending = asyncio.create_task(providers.send(FOUNDRY, call))
    await asked.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert answer.is_closed


class TokenGate:
    """A transport whose peer takes one token, or none."""

    def __init__(self, taken: bytes) -> None:
        self.taken = taken
        self.seen: list[bytes | None] = []
        self.answers: list[Answer] = []

    async def send(
        self, request: HttpRequest, timeouts: Timeouts, *, silence_ms: int | None = None
    ) -> HttpAnswer:
        self.seen.append(find(request.headers, b"authorization"))
        self.answers.append(Answer(200 if self.seen[-1] == self.taken else 401))
        return self.answers[-1]

    async def aclose(self) -> None:
        self.answers.clear()


def token(text: str, *others: str) -> BearerToken:
    """Give a token whose source has others, in turn."""

    async def another() -> BearerToken | None:
        return token(*others) if others else None

    return BearerToken(text, another)


async def test_a_token_that_is_refused_is_replaced_and_the_call_sent_again() -> None:
    gate = TokenGate(b"Bearer new")
    call = replace(CALL, body=BODY, secret=token("old", "new"))
    answer = await Providers(gate, {}, Timeouts(), FixedClock()).send(FOUNDRY, call)
    assert (answer.status, gate.seen) == (200, [b"Bearer old", b"Bearer new"])
    assert [each.is_closed for each in gate.answers] == [True, False]


@pytest.mark.parametrize("others", [(), ("second", "third", "fourth")])
async def test_a_token_is_replaced_once_and_then_the_refusal_stands(others: tuple[str, ...]) -> None:
    gate = TokenGate(b"Bearer other")
    call = replace(CALL, body=BODY, secret=token("first", *others))
    answer = await Providers(gate, {}, Timeouts(), FixedClock()).send(FOUNDRY, call)
    # A 401 would log the caller out, whose key is good.
    assert (answer.status, len(gate.seen)) == (403, 2 if others else 1)
