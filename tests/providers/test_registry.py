"""The way to a provider, and what counts as an answer of one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from farebox.domain.config import ProviderSpec
from farebox.domain.errors import UpstreamStatusUnusable
from farebox.providers.base import MESSAGES, Call
from farebox.providers.registry import Providers
from farebox.wire.http import Headers, HttpAnswer, HttpRequest, Timeouts
from tests.support.builders import FixedClock

SPEC = ProviderSpec("main", "anthropic", "env:KEY", base_url="https://api.example")
CALL = Call(MESSAGES, b"", [], b"{}", False, None, "sk-ant-api03-x", None)


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
