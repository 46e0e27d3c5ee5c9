"""Rows about open streams: what each one keeps in memory, and what stays open when clients hang up."""

from __future__ import annotations

import time
from contextlib import ExitStack

from tests.bench.client import DELTA, Client, unfinished_answers
from tests.bench.gateway import start_gateway
from tests.bench.payload import answer_events, request_body
from tests.bench.programs import Program, Workshop
from tests.bench.report import Row

HOLD_AFTER = 10
IDLE_GOAL_MB = 60
STREAM_GOAL_KB = 40
GRACE_S = 2.0


def holding_rows(workshop: Workshop, *, quick: bool) -> list[Row]:
    """Open streams that the upstream leaves unfinished, then hang up on all of them."""
    streams = 20 if quick else 100
    source = workshop.source(answer_events(), hold_after=HOLD_AFTER)
    gateway = start_gateway(workshop, source.port)
    plain = workshop.passthrough(workshop.source(answer_events(), hold_after=HOLD_AFTER).port)
    gateway_idle_kb, plain_idle_kb = gateway.program.rss_kb(), plain.rss_kb()
    with ExitStack() as open_clients:
        plain_kb = _kb_per_stream(open_clients, plain, "", streams)
    with ExitStack() as open_clients:
        gateway_kb = _kb_per_stream(open_clients, gateway.program, gateway.key, streams)
        opened = unfinished_answers(source.port)
        hung_up = time.monotonic()
    left, took_s = _wait_until_none(source, hung_up)
    if opened != 2 * streams:
        raise RuntimeError(f"{opened} streams were open, not {2 * streams}")
    return [
        Row(
            "memory, idle",
            "MB resident",
            gateway_idle_kb / 1024,
            floor_name="aiohttp",
            floor=plain_idle_kb / 1024,
            goal=IDLE_GOAL_MB,
        ),
        Row(
            "memory, an open stream",
            f"KB resident; slope from {streams} to {2 * streams} streams",
            gateway_kb,
            floor_name="aiohttp",
            floor=plain_kb,
            goal=STREAM_GOAL_KB,
        ),
        Row(
            "left open after hang-ups",
            f"of {opened} streams, {GRACE_S:.0f} s later; all gone after {took_s * 1000:.0f} ms",
            left,
            goal=0,
        ),
    ]


def _kb_per_stream(open_clients: ExitStack, program: Program, key: str, streams: int) -> float:
    """Open twice as many as asked; the second half is the slope, past what start-up still allocates."""
    sizes_kb: list[int] = []
    for _ in range(2):
        for _ in range(streams):
            client = open_clients.enter_context(Client(program.port, key, request_body(), deltas=0))
            client.open_stream(DELTA)
        sizes_kb.append(program.rss_kb())
    return (sizes_kb[1] - sizes_kb[0]) / streams


def _wait_until_none(source: Program, since: float) -> tuple[int, float]:
    """Ask until no answer is unfinished or the grace is over; give what is left, and after how long."""
    while True:
        left, waited_s = unfinished_answers(source.port), time.monotonic() - since
        if not left or waited_s > GRACE_S:
            return left, waited_s
