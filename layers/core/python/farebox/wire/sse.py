"""Server-sent events, read along without touching them: the bytes travel elsewhere, this only understands.

Framing as in the WHATWG standard (html.spec.whatwg.org, "Interpreting an event stream"): lines end in LF, CR
or CRLF, mixed at will; an empty line completes an event; an event without data is none.
"""

from __future__ import annotations

Event = tuple[bytes, bytes]
"""Name and data. An event that gives no name is called `message`; data lines are joined by LF."""

MAX_EVENT_BYTES = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_LF, _CR = 10, 13
_DELTA = b"content_block_delta"
_DELTA_LINE = b"event: content_block_delta\n"
_DELTA_START = b"event: content_block_delta\ndata:"
_DELTA_START_BYTES = len(_DELTA_START)


class SseScanner:
    """Feed it a stream in any pieces; it gives the wanted events that became complete, in order.

    `at_boundary`: what was fed ends exactly behind an event, so another may be put in here.
    `delta_bytes`: size of all complete `content_block_delta` events, line ends counted as one byte each: a
    running measure of the output, whatever the pieces were. `delta_count`: how many they are.
    `overflowed`: some event was larger than `max_event_bytes` and was passed over.
    """

    __slots__ = (
        "_after_cr",
        "_delta_start",
        "_dropping",
        "_dropping_delta",
        "_fresh",
        "_held_bytes",
        "_max_event_bytes",
        "_tail",
        "_wanted",
        "at_boundary",
        "delta_bytes",
        "delta_count",
        "overflowed",
    )

    def __init__(self, wanted: frozenset[bytes], max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.at_boundary = True
        self.delta_bytes = self.delta_count = 0
        self.overflowed = False
        self._wanted = wanted
        self._max_event_bytes = max_event_bytes
        # Where deltas are wanted nothing is skipped: no CR survives `_unify`, so this matches nothing.
        self._delta_start = _DELTA_START if _DELTA not in wanted else b"\r"
        self._fresh: bytes | None = b""
        self._after_cr = False
        self._tail: list[bytes] = []
        self._held_bytes = 0
        self._dropping = self._dropping_delta = False

    def feed(self, chunk: bytes) -> list[Event]:
        # Nearly every chunk is exactly one delta event of two lines; that is seen without a copy. Numbers for
        # bytes, since CPython takes several times as long to look for b"\r" as for 13.
        size = len(chunk)
        if (
            self.at_boundary
            and chunk.startswith(self._delta_start)
            and chunk.find(b"\n", _DELTA_START_BYTES) == size - 2
            and chunk[-1] == _LF
            and _CR not in chunk
            and size <= self._max_event_bytes
        ):
            self.delta_bytes += size
            self.delta_count += 1
            self._after_cr = False
            self._fresh = None
            return []
        text = self._unify(chunk)
        return self._scan(text) if text else []

    def flush(self) -> list[Event]:
        """The end of the stream: what lacks its empty line is no event.

        Except a `message_stop` whose lines are whole, since some servers hang up right behind it.
        """
        block = b"".join(self._tail)
        self._tail.clear()
        if self._dropping or not block.endswith(b"\n"):
            return []
        event = _read_block(block)
        return [event] if event and event[0] == b"message_stop" and event[0] in self._wanted else []

    def _unify(self, chunk: bytes) -> bytes:
        """Without a mark at the start of the stream, and every line end an LF."""
        if self._fresh is not None:
            chunk = self._skip_mark(self._fresh + chunk)
        if self._after_cr and chunk:
            chunk = chunk[1:] if chunk.startswith(b"\n") else chunk
            self._after_cr = False
        if _CR in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _skip_mark(self, start: bytes) -> bytes:
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._fresh = start
            self.at_boundary = not start
            return b""
        self._fresh = None
        self.at_boundary = True
        return start.removeprefix(_BOM)

    def _scan(self, text: bytes) -> list[Event]:
        events: list[Event] = []
        start = 0
        if self._tail and text.startswith(b"\n") and self._tail[-1].endswith(b"\n"):
            self._close_tail(b"", events)
            start = 1
        end = text.find(b"\n\n", start)
        if self._tail and end >= 0:
            self._close_tail(text[start : end + 1], events)
            start = end + 2
            end = text.find(b"\n\n", start)
        while end >= 0:
            self._complete(text[start : end + 1], events)
            start = end + 2
            end = text.find(b"\n\n", start)
        self._hold(text[start:] if start else text)
        return events

    def _hold(self, rest: bytes) -> None:
        """Keep the beginning of an event whose end is still to come."""
        if not self._tail:
            rest = rest.lstrip(b"\n")
        if rest:
            self._tail.append(rest)
            self._held_bytes += len(rest)
            if self._held_bytes > self._max_event_bytes:
                self._drop_tail()
        self.at_boundary = not self._tail

    def _drop_tail(self) -> None:
        """Too large to keep: of this event only its size, its kind and its last byte remain."""
        if not self._dropping:
            self.overflowed = self._dropping = True
            self._dropping_delta = b"".join(self._tail).startswith(_DELTA_LINE)
        self._tail = [self._tail[-1][-1:]]

    def _close_tail(self, rest: bytes, events: list[Event]) -> None:
        if self._dropping:
            if self._dropping_delta:
                self.delta_bytes += self._held_bytes + len(rest) + 1
                self.delta_count += 1
            self._dropping = False
        else:
            self._complete(b"".join((*self._tail, rest)), events)
        self._tail.clear()
        self._held_bytes = 0

    def _complete(self, block: bytes, events: list[Event]) -> None:
        """`block` is the lines of one event, each with its LF; empty lines may stand before them."""
        if (
            block.startswith(self._delta_start)
            and block.find(b"\n", _DELTA_START_BYTES) == len(block) - 1
            and len(block) < self._max_event_bytes
        ):
            self.delta_bytes += len(block) + 1
            self.delta_count += 1
            return
        block = block.lstrip(b"\n")
        if len(block) > self._max_event_bytes:
            self.overflowed = True
            if block.startswith(_DELTA_LINE):
                self.delta_bytes += len(block) + 1
                self.delta_count += 1
            return
        event = _read_block(block)
        if event is None:
            return
        if event[0] == _DELTA:
            self.delta_bytes += len(block) + 1
            self.delta_count += 1
        if event[0] in self._wanted:
            events.append(event)


def parse_sse(stream: bytes) -> list[Event]:
    """All events of a whole stream."""
    text = stream.removeprefix(_BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *blocks, _ = text.split(b"\n\n")
    events = (_read_block(block) for block in blocks)
    return [event for event in events if event is not None]


def _read_block(block: bytes) -> Event | None:
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return (name or b"message", b"\n".join(data)) if data else None
