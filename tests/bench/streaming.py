"""Rows about time: CPU of a paced stream, of a short request, of a large body, and the wait for an event."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.bench.client import Client
from tests.bench.gateway import BEDROCK, NATIVE, VERTEX, start_gateway
from tests.bench.payload import DELTAS, LARGE_BODY_BYTES, answer_events, request_body
from tests.bench.programs import Program, Workshop
from tests.bench.report import Row
from tests.support.bedrock import EVENT_STREAM, frame

GAP_US = 150
FIRST_EVENT_GOAL_US = 600
LARGE_BODY_GOAL_MS = 2.2
BEDROCK_GOAL = 1.5
VERTEX_GOAL = 1.1


@dataclass(frozen=True, slots=True)
class Effort:
    """How often: rounds that take turns among the programs, and requests in each."""

    rounds: int
    requests: int


@dataclass(slots=True)
class Samples:
    """Of one program: CPU a request by round, and every wait for the first event."""

    cpu_ms: list[float] = field(default_factory=list)
    first_event_us: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lane:
    """One program asked in one way."""

    program: Program
    key: str
    body: bytes


def streaming_rows(workshop: Workshop, *, quick: bool) -> list[Row]:
    """Measure the paced stream of 306 events, then the same programs on short answers."""
    events = answer_events()
    source = workshop.source(events, gap_us=GAP_US)
    paced = measured(_lanes(workshop, source), DELTAS, Effort(2, 3) if quick else Effort(15, 8))
    return [*_paced_rows(paced, len(events)), *_short_rows(workshop, quick=quick)]


def cloud_rows(workshop: Workshop, *, quick: bool) -> list[Row]:
    """Measure the same paced answer as Bedrock's frames and as Vertex passes it, beside the native stream in
    the same run.
    """
    events = answer_events()
    frames = [frame(event.partition(b"data: ")[2].strip()) for event in events]
    sources = [
        workshop.source(events, gap_us=GAP_US),
        workshop.source(frames, gap_us=GAP_US, content_type=EVENT_STREAM[1]),
        workshop.source(events, gap_us=GAP_US),
    ]
    kinds = (("native", NATIVE), ("bedrock", BEDROCK), ("vertex", VERTEX))
    gateways = [
        start_gateway(workshop, source.port, provider=provider, name=name)
        for source, (name, provider) in zip(sources, kinds, strict=True)
    ]
    lanes = [Lane(gateway.program, gateway.key, request_body()) for gateway in gateways]
    samples = measured(lanes, DELTAS, Effort(2, 3) if quick else Effort(15, 8))
    native, bedrock, vertex = samples.values()
    scale = 1_000 / len(events)
    return [
        Row(
            f"CPU, 1,000 paced events from {cloud}, {kind}",
            f"ms; {note}, all else on",
            pick(sample.cpu_ms) * scale,
            floor_name="native stream",
            floor=pick(native.cpu_ms) * scale,
            goal=goal,
            goal_is_ratio=True,
        )
        for cloud, note, sample, goal in (
            ("Bedrock", "a signed request, frames checked and made events", bedrock, BEDROCK_GOAL),
            ("Vertex", "a request made anew under a token", vertex, VERTEX_GOAL),
        )
        for kind, pick in (("min", min), ("median", statistics.median))
    ]


def measured(lanes: Sequence[Lane], deltas: int, effort: Effort) -> dict[str, Samples]:
    """Ask all lanes in turn, round by round, so that a busy machine burdens all alike."""
    samples = {lane.program.name: Samples() for lane in lanes}
    with ExitStack() as open_clients:
        clients = [
            open_clients.enter_context(Client(lane.program.port, lane.key, lane.body, deltas=deltas))
            for lane in lanes
        ]
        for client in clients:
            client.ask()
        for _ in range(effort.rounds):
            for lane, client in zip(lanes, clients, strict=True):
                before = lane.program.cpu_ms()
                timings = [client.ask() for _ in range(effort.requests)]
                sample = samples[lane.program.name]
                sample.cpu_ms.append((lane.program.cpu_ms() - before) / effort.requests)
                sample.first_event_us += [timing.first_event_us for timing in timings]
    return samples


def _lanes(workshop: Workshop, source: Program, body: bytes | None = None) -> list[Lane]:
    gateway = start_gateway(workshop, source.port)
    programs = [source, workshop.pump(source.port), workshop.passthrough(source.port), gateway.program]
    return [Lane(program, gateway.key, body or request_body()) for program in programs]


def _paced_rows(samples: dict[str, Samples], events: int) -> list[Row]:
    """The direct way is the source itself: what the client sees without anything between."""
    direct, pump, plain, ours = samples.values()
    scale = 1_000 / events
    rows = [
        Row(
            f"CPU, 1,000 paced events, {kind}",
            "ms; key, two budgets, price, ledger and log are on",
            pick(ours.cpu_ms) * scale,
            floor_name=name,
            floor=pick(floor.cpu_ms) * scale,
            goal=1.0 if floor is plain else None,
            goal_is_ratio=True,
        )
        for name, floor in (("aiohttp", plain), ("C pump", pump))
        for kind, pick in (("min", min), ("median", statistics.median))
    ]
    added = [_middle(lane) - _middle(direct) for lane in (ours, plain)]
    return [
        *rows,
        Row(
            "first event later than direct",
            f"us, medians; direct {_middle(direct):.0f}, C pump {_middle(pump):.0f}",
            added[0],
            floor_name="aiohttp",
            floor=added[1],
            goal=FIRST_EVENT_GOAL_US,
        ),
    ]


def _short_rows(workshop: Workshop, *, quick: bool) -> list[Row]:
    effort = Effort(2, 20) if quick else Effort(15, 40)
    source = workshop.source(answer_events(deltas=1))
    tiny = _lanes(workshop, source)
    large = [Lane(lane.program, lane.key, request_body(LARGE_BODY_BYTES)) for lane in tiny]
    small_samples = measured(tiny, 1, effort)
    large_samples = measured(large, 1, Effort(effort.rounds, max(effort.requests // 3, 1)))
    _, pump, plain, ours = small_samples.values()
    rows = [
        Row(
            "CPU, a short request",
            "ms, median; 7 events in one piece",
            statistics.median(ours.cpu_ms),
            floor_name=name,
            floor=statistics.median(floor.cpu_ms),
        )
        for name, floor in (("aiohttp", plain), ("C pump", pump))
    ]
    growth = {
        name: statistics.median(large_samples[name].cpu_ms) - statistics.median(small.cpu_ms)
        for name, small in small_samples.items()
    }
    ours_name, plain_name = tiny[3].program.name, tiny[2].program.name
    return [
        *rows,
        Row(
            "CPU added by a 1 MB body",
            f"ms; the aiohttp pass-through adds {growth[plain_name]:.2f}",
            growth[ours_name],
            floor_name="SHA-256",
            floor=_sha256_ms(large[0].body),
            goal=LARGE_BODY_GOAL_MS,
        ),
    ]


def _middle(samples: Samples) -> float:
    return statistics.median(samples.first_event_us)


def _sha256_ms(body: bytes) -> float:
    spent: list[float] = []
    for _ in range(21):
        started = time.process_time_ns()
        hashlib.sha256(body).digest()
        spent.append((time.process_time_ns() - started) / 1e6)
    return statistics.median(spent)
