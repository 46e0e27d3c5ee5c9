"""The scanner against a parser that reads one byte at a time, over every way to cut a stream."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.wire.sse import Event, SseScanner, parse_sse

START = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":9}}}\n\n'
DELTA = b'event: content_block_delta\ndata: {"delta":{"text":"say \\"usage\\":{\\"input_tokens\\":1} "}}\n\n'
USAGE = b'event: message_delta\ndata: {"usage":{"output_tokens":7}}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
WANTED = frozenset({b"message_start", b"message_delta", b"message_stop", b"error", b"message"})
PLAIN = START + PING + DELTA * 3 + USAGE + STOP

ODD = [
    PLAIN,
    PLAIN.replace(b"\n", b"\r\n"),
    PLAIN.replace(b"\n", b"\r"),
    b"\xef\xbb\xbf" + PLAIN,
    START.replace(b"\n", b"\r\n") + DELTA + USAGE.replace(b"\n", b"\r") + STOP,
    b": a comment\n\n" + START + b":\n" + DELTA + b": another\r\n\r\n" + STOP,
    b"\n\n\n" + START + b"\n" + DELTA + b"\r\n\r\n" + USAGE,
    b"data: no name\n\ndata:no space\ndata:  two spaces\ndata\n\n" + STOP,
    b"event: content_block_delta\nevent: message_delta\ndata: the last name counts\n\n" + STOP,
    b"event: content_block_delta\ndata: x\r\revent: message_delta\ndata: behind a CR boundary\n\n",
    b"event: content_block_delta\ndata: one\ndata: two\nid: 7\nretry: 10\n\n" + USAGE,
    b"data: first\nevent: error\n\nevent: message_stop\n\nevent\ndata: nameless\n\n",
    b"event:message_start\ndata:{}\n\nevent: \ndata: empty name\n\ndataX: no\n data: no\n\n",
    START + b"\xef\xbb\xbfevent: message_delta\ndata: a mark in the middle is part of a name\n\n",
    START + DELTA + b"event: message_stop\ndata: {}",
    START + DELTA + b"event: message_stop\ndata: {}\n",
    START + DELTA + b"event: message_delta\ndata: {}\r\n",
    b"\xef\xbb",
    b"",
]


class SlowParser:
    """The WHATWG rules, byte by byte, as slow and as plain as they can be written."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.delta_bytes = 0
        self.at_boundary = True
        self._seen = b""
        self._after_cr = False
        self._line = b""
        self._name = b""
        self._data: list[bytes] = []
        self._event_bytes = 0

    def feed(self, byte: int) -> None:
        self._seen += bytes([byte])
        if len(self._seen) <= 3 and b"\xef\xbb\xbf".startswith(self._seen):
            self.at_boundary = len(self._seen) == 3
            return
        if len(self._seen) <= 3 and b"\xef\xbb\xbf".startswith(self._seen[:-1]):
            self._line += self._seen[:-1]
            self._event_bytes += len(self._seen) - 1
        if byte == 0x0A and self._after_cr:
            self._after_cr = False
            return
        self._after_cr = byte == 0x0D
        self._event_bytes += 1
        self.at_boundary = False
        if byte not in (0x0A, 0x0D):
            self._line += bytes([byte])
        elif self._line:
            self._take_line()
        else:
            self._dispatch()

    def _take_line(self) -> None:
        field, _, value = self._line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"event":
            self._name = value
        if field == b"data":
            self._data.append(value)
        self._line = b""

    def _dispatch(self) -> None:
        if self._data:
            name = self._name or b"message"
            self.events.append((name, b"\n".join(self._data)))
            if name == b"content_block_delta":
                self.delta_bytes += self._event_bytes
        self._name, self._data, self._event_bytes, self.at_boundary = b"", [], 0, True


def read_slowly(stream: bytes) -> list[Event]:
    slow = SlowParser()
    for byte in stream:
        slow.feed(byte)
    return slow.events


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[left:right] for left, right in pairwise(edges)]


def check_against_slow_parser(stream: bytes, cuts: list[int], wanted: frozenset[bytes] = WANTED) -> None:
    scanner, slow, found = SseScanner(wanted), SlowParser(), []
    for piece in pieces_of(stream, cuts):
        found += scanner.feed(piece)
        for byte in piece:
            slow.feed(byte)
        assert scanner.at_boundary == slow.at_boundary
        assert found == [event for event in slow.events if event[0] in wanted]
        assert scanner.delta_bytes == slow.delta_bytes
    assert not scanner.overflowed


@pytest.mark.parametrize("stream", ODD)
def test_the_whole_stream_is_read_as_the_standard_says(stream: bytes) -> None:
    assert parse_sse(stream) == read_slowly(stream)


@pytest.mark.parametrize("stream", ODD)
def test_a_cut_at_any_byte_changes_nothing(stream: bytes) -> None:
    for cut in range(len(stream) + 1):
        check_against_slow_parser(stream, [cut])
    check_against_slow_parser(stream, list(range(len(stream))))


@pytest.mark.parametrize("seed", range(len(ODD)))
def test_ten_thousand_random_cuttings_change_nothing(seed: int) -> None:
    """Together with the other seeds."""
    chance = random.Random(seed)
    stream = b"".join(chance.choices(ODD, k=2)) if seed else PLAIN
    events = [event for event in parse_sse(stream) if event[0] in WANTED]
    for _ in range(10_000 // len(ODD) + 1):
        cuts = [chance.randrange(len(stream) + 1) for _ in range(chance.randrange(1, 40))]
        scanner = SseScanner(WANTED)
        found = [event for piece in pieces_of(stream, cuts) for event in scanner.feed(piece)]
        assert found == events


LINES = st.sampled_from(
    [
        b"event: content_block_delta",
        b"event: message_delta",
        b"event: message_stop",
        b"event:",
        b"data: {}",
        b'data: {"usage":{}}',
        b"data:",
        b"data",
        b": comment",
        b"\xef\xbb\xbfdata: x",
        b"id: 1",
        b"",
        b"",
    ]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"]))).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@given(STREAMS, st.lists(st.integers(0, 10_000)), st.booleans())
def test_any_stream_in_any_pieces_is_read_as_the_slow_parser_reads_it(
    stream: bytes, cuts: list[int], deltas_too: bool
) -> None:
    wanted = WANTED | {b"content_block_delta"} if deltas_too else WANTED
    check_against_slow_parser(stream, cuts, wanted)
    assert parse_sse(stream) == read_slowly(stream)


def test_deltas_are_given_when_they_are_wanted() -> None:
    scanner = SseScanner(frozenset({b"content_block_delta"}))
    assert scanner.feed(b"event: content_block_delta\ndata: x\n\n") == [(b"content_block_delta", b"x")]
    assert scanner.delta_bytes == 36


@pytest.mark.parametrize(
    ("tail", "events"),
    [
        (STOP[:-1], [(b"message_stop", b'{"type":"message_stop"}')]),
        (STOP[:-2] + b"\r", [(b"message_stop", b'{"type":"message_stop"}')]),
        (STOP[:-2], []),
        (STOP, []),
        (USAGE[:-1], []),
        (b"event: message_stop\n", []),
    ],
)
def test_the_end_of_the_stream_completes_a_whole_message_stop_alone(tail: bytes, events: list[Event]) -> None:
    scanner = SseScanner(WANTED)
    scanner.feed(START + tail)
    assert scanner.flush() == events
    assert scanner.flush() == []


@pytest.mark.parametrize("kind", [b"content_block_start", b"content_block_delta", b"message_delta"])
@given(cuts=st.lists(st.integers(0, 10_000)))
def test_an_event_over_the_limit_is_passed_over_whatever_the_pieces(kind: bytes, cuts: list[int]) -> None:
    large = b"event: " + kind + b"\ndata: " + b"x" * 500 + b"\ndata: y\n\n"
    stream = START + large + USAGE + STOP
    scanner = SseScanner(WANTED, max_event_bytes=200)
    found = [event for piece in pieces_of(stream, cuts) for event in scanner.feed(piece)]
    assert [name for name, _ in found] == [b"message_start", b"message_delta", b"message_stop"]
    assert (scanner.overflowed, scanner.at_boundary) == (True, True)
    assert scanner.delta_bytes == (len(large) if kind == b"content_block_delta" else 0)


def test_an_event_over_the_limit_is_not_kept() -> None:
    scanner = SseScanner(WANTED, max_event_bytes=1_000)
    for _ in range(1_000):
        scanner.feed(b"x" * 100)
    assert sum(map(len, scanner._tail)) <= 1_000


def test_a_large_event_in_many_pieces_is_put_together() -> None:
    scanner, found = SseScanner(WANTED), []
    stream = b"event: error\ndata: " + b"x" * 1_000_000 + b"\n\n"
    for start in range(0, len(stream), 64):
        found += scanner.feed(stream[start : start + 64])
    assert found == [(b"error", b"x" * 1_000_000)]
