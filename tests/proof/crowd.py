"""Two hundred streaming requests at once against one dollar, and an upstream that answers them honestly.

Models, keys, lengths and `max_tokens` differ. A request that the gateway tells to wait asks again, as Claude
Code does, until it is served or refused for good.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from tests.support.upstream import Gate, Received, Reply, ScriptedUpstream, message_events, sse_reply, usage
from tests.support.upstream_replies import Piece

CROWD = 200
SHARED = "everyone"
SHARED_USD = "1.00"
ONE_WORKSPACE: Mapping[str, str] = {"workspace": "default"}
LIMIT_PICODOLLARS = 10**12
KEYS = tuple(f"dev-{number}" for number in range(16))

# Picodollars a token, input and output. Source: Anthropic's price page, read 2026-08.
PRICES = {
    "claude-opus-5-5": (4_000_000, 20_000_000),
    "claude-sonnet-4-5": (3_000_000, 15_000_000),
    "claude-haiku-4-5": (1_000_000, 5_000_000),
}
MAX_TOKENS = (300, 1_000, 4_096, 20_000)
WRITTEN_TOKENS = (120, 900, 3_500, 7_000, 11_000)
# What the gateway holds before it has seen output, and the least it asks for more.
FIRST_SLICE_TOKENS = 4_096
LEAST_SLICE_TOKENS = 512
# English as current models write it; the gateway never assumes more than 3.
BYTES_PER_TOKEN = 4
TOKENS_PER_EVENT = 25
EVENTS_PER_STEP = 5

_NUMBER = re.compile(r"\d+")

TRIES_MAX = 200
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of the crowd. `wanted_tokens` is how much the model would write if it might."""

    number: int
    key: str
    model: str
    max_tokens: int
    wanted_tokens: int

    @property
    def body(self) -> bytes:
        document = {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "stream": True,
            "messages": [
                {"role": "user", "content": f"Story {self.number}, please: {self.wanted_tokens} tokens."}
            ],
        }
        return json.dumps(document).encode()

    @property
    def needed_picodollars(self) -> int:
        """The least that must be free: a token for every 1.3 bytes of input, and a slice of output."""
        input_price, output_price = PRICES[self.model]
        input_tokens = len(self.body) * 10 // 13 + 1
        return input_tokens * input_price + min(self.max_tokens, FIRST_SLICE_TOKENS) * output_price


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: status, our id of the request, and the body with its framing taken off."""

    ask: Ask
    status: int
    request_id: str
    body: bytes

    @property
    def message(self) -> str:
        """The words of a refusal."""
        return str(json.loads(self.body)["error"]["message"])

    @property
    def is_whole(self) -> bool:
        """Whether a stream came to its proper end, cut for money or not."""
        return b"event: message_stop\n" in self.body


def the_crowd(count: int = CROWD) -> list[Ask]:
    """Give the requests: every mixture of model and lengths, in an order that spreads them."""
    kinds = [*product(PRICES, MAX_TOKENS, WRITTEN_TOKENS)]
    # 7 is prime to 60, so that neighbours differ in all three.
    mixed: Iterator[tuple[str, int, int]] = (kinds[place * 7 % len(kinds)] for place in range(count))
    return [Ask(number, KEYS[number % len(KEYS)], *kind) for number, kind in enumerate(mixed)]


def a_policy_of(upstream: ScriptedUpstream, *, scope: Mapping[str, str] = ONE_WORKSPACE) -> dict[str, object]:
    """Write the policy: one dollar for the `scope`, and wide budgets of other shapes that count too."""
    provider = {"slug": "anthropic", "type": "anthropic", "credential": "env:UPSTREAM_KEY"}
    return {
        "providers": [{**provider, "base_url": upstream.base_url}],
        "keys": [{"name": name} for name in KEYS],
        "budgets": [
            {"name": SHARED, "scope": dict(scope), "usd": SHARED_USD, "period": "total"},
            {"name": "key-day", "scope": {"key": "*"}, "usd": 50, "period": "total"},
            {"name": "model-day", "scope": {"model": "*"}, "tokens": 10_000_000, "period": "total"},
            {"name": "seen", "scope": {}, "usd": "0.5", "period": "total", "on_exhausted": "alert"},
        ],
    }


class HonestModel:
    """Answers with as much text as was asked for, 4 bytes a token, and reports just that.

    In step, it never writes more than a few events that the client has not read: a real model is slower than
    the network. Out of step it writes everything at once. The first `together` answers wait for each other
    after their first event, so that they are open at once.
    """

    def __init__(self, together: int, *, in_step: bool = True) -> None:
        self._together, self._in_step = together, in_step
        self._arrived = 0
        self._all_here = Gate()
        self._lock = threading.Lock()
        self._steps: dict[int, list[Gate]] = {}

    def __call__(self, received: Received) -> Reply:
        body = json.loads(received.body)
        number, wanted = (int(word) for word in _NUMBER.findall(body["messages"][0]["content"]))
        tokens = min(wanted, body["max_tokens"])
        events = message_events(
            text_of(tokens),
            usage=usage(input_tokens=len(received.body) // BYTES_PER_TOKEN, output_tokens=tokens),
            model=body["model"],
            stop_reason="end_turn" if tokens == wanted else "max_tokens",
        )
        pieces: list[Piece] = [*events]
        if self._in_step:
            pieces = self._stepping(number, events)
        with self._lock:
            self._arrived += 1
            if self._arrived <= self._together:
                pieces.insert(1, self._all_here)
            if self._arrived == self._together:
                self._all_here.open()
        return replace(sse_reply([]), pieces=tuple(pieces))

    def read(self, number: int, body: bytes) -> None:
        """A client has so much of its answer: the model may go on."""
        gates = self._steps.get(number, [])
        for gate in gates[: body.count(b"\n\n") // EVENTS_PER_STEP]:
            gate.open()

    def _stepping(self, number: int, events: tuple[bytes, ...]) -> list[Piece]:
        pieces: list[Piece] = []
        gates: list[Gate] = []
        for first in range(0, len(events), EVENTS_PER_STEP):
            gates.append(Gate())
            pieces += [*events[first : first + EVENTS_PER_STEP], gates[-1]]
        self._steps[number] = gates
        return pieces[:-1]


def text_of(tokens: int) -> str:
    """Write words of 25 tokens, blanks included, and one with the rest."""
    whole, rest = divmod(tokens * BYTES_PER_TOKEN, TOKENS_PER_EVENT * BYTES_PER_TOKEN)
    words = ["x" * (TOKENS_PER_EVENT * BYTES_PER_TOKEN - 1)] * whole
    return " ".join([*words, "x" * (rest - 1)] if rest else words)


async def ask_all(
    asks: Sequence[Ask], ports: Sequence[int], secrets: Mapping[str, str], model: HonestModel
) -> tuple[list[Told], list[Told]]:
    """Send everything at once, spread over the gateways; give the last answers, and those that said 429."""
    waited: list[Told] = []

    async def insist(ask: Ask) -> Told:
        for _ in range(TRIES_MAX):
            async with asyncio.timeout(ANSWER_S):
                told = await _tell(ports[ask.number % len(ports)], secrets[ask.key], ask, model)
            if told.status != 429:
                return told
            waited.append(told)
        raise AssertionError(f"{ask} was told to wait {TRIES_MAX} times")

    return await asyncio.gather(*(insist(ask) for ask in asks)), waited


async def _tell(port: int, secret: str, ask: Ask, model: HonestModel) -> Told:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    own = f"x-farebox-key: {secret}\r\nContent-Type: application/json\r\nContent-Length: {len(ask.body)}"
    writer.write(f"POST /v1/messages HTTP/1.1\r\nHost: gateway.example\r\n{own}\r\n\r\n".encode() + ask.body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().rstrip()
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        async for chunk in _chunks(reader):
            body += chunk
            model.read(ask.number, body)
    writer.close()
    await writer.wait_closed()
    return Told(ask, int(first.split(" ")[1]), headers["x-farebox-request-id"], body)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
