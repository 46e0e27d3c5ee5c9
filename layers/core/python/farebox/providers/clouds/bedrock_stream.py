"""Bedrock's frames on their way to become server-sent events, a frame at a time, however they arrive."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from farebox.domain.errors import UpstreamCut
from farebox.providers.clouds.aws_errors import AWS_ERRORS, aws_exception
from farebox.wire.event_stream import Frame, FrameBroken, FrameReader
from farebox.wire.http import JSON_FAULTS, Diverting, Headers, HttpAnswer

_TYPE_START = b'{"type":"'
_TYPE_AT = len(_TYPE_START)


class _Chunk(msgspec.Struct):
    # msgspec reads base64 into bytes. What pads a chunk beside it is passed over.
    data: bytes = msgspec.field(name="bytes")


class _Typed(msgspec.Struct):
    type: str = "message"


_chunk = msgspec.json.Decoder(_Chunk).decode
_typed = msgspec.json.Decoder(_Typed).decode


class BedrockStream:
    """An answer of InvokeModelWithResponseStream as the stream of events that Anthropic would send."""

    def __init__(self, source: HttpAnswer, host: str, headers: Headers) -> None:
        self.status = source.status
        self.headers = headers
        self._source, self._host = source, host
        self._reader = FrameReader()

    async def receive(self) -> bytes:
        """See `HttpAnswer.receive`. Whole events only; a frame that is broken or unfinished is a cut."""
        while True:
            # What is left of the last piece may be a broken frame behind good ones.
            self._events_or_cut(b"")
            data = await self._source.receive()
            if not data:
                if self._reader.is_midway:
                    raise UpstreamCut(self._host, "the stream ended inside a frame")
                return b""
            if events := self._events_or_cut(data):
                return events

    def divert(self, take: Callable[[bytes], bool]) -> None:
        """See `Diverting.divert`."""

        def take_frames(data: bytes) -> bool:
            kept = self._reader.kept()
            try:
                events = self._events(data)
            except (FrameBroken, *JSON_FAULTS):
                self._reader.restore(kept)
                return False
            if events and not take(events):
                self._reader.restore(kept)
                return False
            return True

        if isinstance(self._source, Diverting):
            self._source.divert(take_frames)

    def abort(self) -> None:
        """See `HttpAnswer.abort`."""
        self._source.abort()

    async def aclose(self) -> None:
        """See `HttpAnswer.aclose`."""
        await self._source.aclose()

    def _events_or_cut(self, data: bytes) -> bytes:
        try:
            return self._events(data)
        except (FrameBroken, *JSON_FAULTS) as flaw:
            self._source.abort()
            raise UpstreamCut(self._host, str(flaw)) from flaw

    def _events(self, data: bytes) -> bytes:
        frames = self._reader.feed(data)
        return _event(frames[0]) if len(frames) == 1 else b"".join(map(_event, frames))


def _event(frame: Frame) -> bytes:
    """Write a frame as an event. What is neither a chunk nor an error says nothing to a client."""
    headers = frame.headers
    kind = headers.get(":message-type")
    if kind == "event":
        if headers.get(":event-type") != "chunk":
            return b""
        data = _chunk(frame.payload).data
        if b"\n" in data or b"\r" in data:  # between tokens only: strings of JSON have none
            data = data.replace(b"\r", b" ").replace(b"\n", b" ")
        return b"".join((b"event: ", _name(data), b"\ndata: ", data, b"\n\n"))
    name = headers.get(":exception-type") or headers.get(":error-code") or "unknownException"
    error = aws_exception(name, frame.payload or _error_payload(headers.get(":error-message", "")))
    return b"event: error\ndata: %b\n\n" % msgspec.json.encode(error.envelope(AWS_ERRORS))


def _name(data: bytes) -> bytes:
    if data.startswith(_TYPE_START):
        return data[_TYPE_AT : data.find(b'"', _TYPE_AT)]
    return _typed(data).type.encode()


def _error_payload(message: str) -> bytes:
    return msgspec.json.encode({"message": message})
