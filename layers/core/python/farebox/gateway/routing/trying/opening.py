"""How an answer begins: whether it is one at all, found out before anything of it reaches the client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from farebox.domain.errors import UpstreamCut, UpstreamFault, UpstreamTimeout
from farebox.domain.routing.tree import Leaf
from farebox.gateway.routing.relay import KeptAnswer, breaks_off, is_event_stream
from farebox.gateway.routing.trying.failure import (
    CUT,
    ERROR_STATUSES,
    PROVIDER,
    UNKNOWN_ERROR,
    Failure,
    fault_failure,
    late_status,
)
from farebox.wire.headers import find
from farebox.wire.http import JSON_FAULTS, HttpAnswer, Silence, read_whole
from farebox.wire.sse import SseScanner

# What comes before the first content is small; whoever sends more is not stalling.
HELD_BACK_BYTES_MAX = 262_144
EMPTY = (CUT, "empty")

_WANTED = frozenset((b"content_block_start", b"message_delta", b"message_stop", b"error"))
_json = msgspec.json.Decoder(dict[str, object])


async def opened(source: HttpAnswer, leaf: Leaf, *, is_stream: bool, within_ms: int) -> HttpAnswer | Failure:
    """Hold a successful answer back until its first content is there; an answer that does not stream, until
    its end.

    What was held back is given on unchanged. A failure has everything too, for when nothing else is tried.
    Raises `UpstreamFault` for an answer that breaks off and does not stream.
    """
    if not is_stream:
        return await _opened_whole(source)
    if not is_event_stream(source):
        return await _of_another_type(source, within_ms)
    if find(source.headers, b"content-encoding") not in (None, b"identity"):
        return source  # it was asked to come plain: whoever does not cannot be looked into
    return await _opened_stream(source, leaf, within_ms)


async def _of_another_type(source: HttpAnswer, within_ms: int) -> Failure:
    """Read what is no stream, for it may tell what it has used."""
    reason = f"content-type {_content_type(source)}"
    try:
        async with asyncio.timeout(within_ms / 1000):
            body = await read_whole(source)
    except (TimeoutError, UpstreamFault):
        source.abort()
        return _broken(CUT, reason, UpstreamCut(PROVIDER, reason), source, [])
    return _none(CUT, reason, KeptAnswer(source, [body], is_whole=True), body)


async def _opened_stream(source: HttpAnswer, leaf: Leaf, within_ms: int) -> HttpAnswer | Failure:
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout(within_ms / 1000):
            problem = await _first_content(source, pieces)
    except TimeoutError:
        late = UpstreamTimeout(PROVIDER, "content", within_ms)
        return _broken(late_status(leaf), "stalled before content", late, source, pieces)
    except UpstreamFault as fault:
        counted = fault_failure(fault, leaf)
        return _broken(counted.status, f"{counted.reason} before content", fault, source, pieces)
    except BaseException:
        source.abort()
        raise
    kept = KeptAnswer(source, pieces)
    if problem is None:
        return kept
    if problem == EMPTY:
        return _broken(*EMPTY, UpstreamCut(PROVIDER, "there is nothing in its answer"), source, pieces)
    return _none(*problem, kept, b"".join(pieces))


async def _opened_whole(source: HttpAnswer) -> HttpAnswer | Failure:
    body = await read_whole(source)
    kept = KeptAnswer(source, [body], is_whole=True)
    if not body:
        return _none(*EMPTY, kept)
    if not _content_type(source).lower().startswith("application/json"):
        return _none(CUT, f"content-type {_content_type(source)}", kept, body)
    if breaks_off(source, body):
        return _none(CUT, "cut", kept, body)
    return kept


def _none(status: int, reason: str, answer: HttpAnswer, sent: bytes = b"") -> Failure:
    return Failure(status, reason, UpstreamCut(PROVIDER, reason), answer, sent)


def _broken(
    status: int, reason: str, error: UpstreamFault, answer: HttpAnswer, pieces: Iterable[bytes]
) -> Failure:
    return Failure(status, reason, error, answer, b"".join(pieces), is_broken=True)


def _content_type(source: HttpAnswer) -> str:
    return (find(source.headers, b"content-type") or b"nothing").decode("latin-1")


async def _first_content(source: HttpAnswer, pieces: list[bytes]) -> tuple[int, str] | None:
    """Read until content begins, or the message is over without; give what is wrong otherwise."""
    scanner = SseScanner(_WANTED)
    size = 0
    while size <= HELD_BACK_BYTES_MAX:
        try:
            piece = await source.receive()
        except Silence:
            continue
        if not piece:
            ended = [name for name, _ in scanner.flush()]
            return None if ended else EMPTY
        pieces.append(piece)
        size += len(piece)
        for name, data in scanner.feed(piece):
            if name != b"error":
                return None
            kind = _error_type(data)
            return ERROR_STATUSES.get(kind, UNKNOWN_ERROR), f"error event {kind}"
        if scanner.delta_count:
            return None
    return None


def _error_type(data: bytes) -> str:
    try:
        error = _json.decode(data).get("error")
    except JSON_FAULTS:
        return "unreadable"
    kind = error.get("type") if isinstance(error, dict) else None
    return kind if isinstance(kind, str) else "unnamed"
