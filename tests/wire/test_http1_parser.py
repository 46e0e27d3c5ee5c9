"""The answer parser beside h11: what both take they read alike, what h11 refuses never ends cleanly here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.wire.http import Headers
from farebox.wire.http1.parser import HEAD_LIMIT_BYTES, HEADER_LIMIT, INTERIM_LIMIT, AnswerParser

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CANNED = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-A:text/plain\r\nX-Empty:\r\nA:\t padded \t\r\nA: twice\r\n\r\nuntil close",
    CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"5;name=value\r\nhello\r\nA\r\n0123456789\r\n000\r\nx-trailer: 1\r\nx-other: 2\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\na: b\r\n\r\nHTTP/1.1 204 No Content\r\nc: d\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.0 200 OK\r\n\r\nold",
    b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 529 Site Overloaded \xe2\x9a\xa1\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
    CHUNKED + b"5\r\nhel",
    CHUNKED + b"0\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"",
]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a client takes from a connection that sends these bytes and then ends. `whole` is a clean end."""

    status: int
    headers: Headers
    body: bytes
    whole: bool


NOTHING = Reading(0, [], b"", False)


def read(pieces: list[bytes], *, headless: bool = False) -> Reading:
    parser, body = AnswerParser(headless=headless), b""
    for piece in pieces:
        parser.feed(piece)
        body += b"".join(parser.pieces)
        parser.pieces.clear()
        if parser.complete or parser.flaw is not None:
            break
    if not parser.head_done:
        return NOTHING
    whole = parser.flaw is None and (parser.complete or parser.ends_at_close)
    return Reading(parser.status, parser.headers, body, whole)


def read_with_h11(stream: bytes, *, headless: bool = False) -> Reading:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT_BYTES)
    client.send(h11.Request(method="HEAD" if headless else "GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(stream)
    client.receive_data(b"")
    found = NOTHING
    try:
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                found = Reading(event.status_code, list(event.headers), b"", False)
            elif isinstance(event, h11.Data):
                found = Reading(found.status, found.headers, found.body + event.data, False)
            elif not isinstance(event, h11.InformationalResponse):
                return found
    except h11.RemoteProtocolError:
        return found
    return Reading(found.status, found.headers, found.body, True)


@pytest.mark.parametrize("stream", CANNED)
def test_a_cut_at_any_byte_changes_nothing(stream: bytes) -> None:
    expected = read_with_h11(stream)
    for cut in range(len(stream) + 1):
        assert read([stream[:cut], stream[cut:]]) == expected
    assert read([stream[at : at + 1] for at in range(len(stream))]) == expected


def test_what_follows_a_complete_answer_costs_the_connection_alone() -> None:
    parser = AnswerParser()
    parser.feed(CANNED[0] + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert (parser.complete, parser.flaw, parser.pieces, parser.keep_alive) == (True, None, [b"hello"], False)
    assert parser.headers == [(b"content-length", b"5")]


REFUSED = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    "a signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "an empty length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    "chunks and length": CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked twice": CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a bare CR": b"HTTP/1.1 200 OK\r\nA: b\rContent-Length: 5\r\n\r\nhello",
    "a bare LF": b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5\r\n\r\nhello",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
    "no name": b"HTTP/1.1 200 OK\r\n: 5\r\n\r\nhello",
    "a NUL": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "another protocol behind 1xx": b"HTTP/1.1 100 C\r\n\r\nICE/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a NUL in the reason": b"HTTP/1.1 200 \0\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: y\r\n\r\nz",
    "a chunk size that is none": CHUNKED + b"5x\r\nhello\r\n0\r\n\r\n",
    "a signed chunk size": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size too large": CHUNKED + b"1" + b"0" * 16 + b"5\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than said": CHUNKED + b"5\r\nhelloo\r\n0\r\n\r\n",
    "a chunk line that ends in LF": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "a trailer that is none": CHUNKED + b"0\r\nx y\r\n\r\n",
    "a head too large": b"HTTP/1.1 200 OK\r\nA: "
    + b"x" * HEAD_LIMIT_BYTES
    + b"\r\nContent-Length: 0\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (HEADER_LIMIT + 1) + b"\r\n",
    "too many 1xx": b"HTTP/1.1 100 C\r\n\r\n" * (INTERIM_LIMIT + 1) + CANNED[0],
    "a trailer without end": CHUNKED + b"0\r\nx: " + b"x" * 2 * HEAD_LIMIT_BYTES,
}


@pytest.mark.parametrize("stream", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("size", [1_000_000, 1_000, 7])
def test_what_could_be_read_two_ways_is_refused(stream: bytes, size: int) -> None:
    parser = AnswerParser()
    for start in range(0, len(stream), size):
        parser.feed(stream[start : start + size])
        if parser.flaw is not None:
            break
    assert parser.flaw
    assert (parser.complete, parser.steady, parser.keep_alive, parser.ends_at_close) == (False,) * 4


STRICTER_THAN_H11 = {
    *("HTTP/0.9", "HTTP/2", "a bare LF", "a folded line", "a list of lengths", "the same length twice"),
    *("chunks and length", "a head too large", "too many 1xx", "too many headers"),
}


def test_the_answers_that_h11_takes_and_we_do_not_are_known() -> None:
    assert {name for name, stream in REFUSED.items() if read_with_h11(stream).whole} == STRICTER_THAN_H11


NAMES = st.from_regex(rb"[Xx]-[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,8}", fullmatch=True)
VALUES = st.from_regex(rb"([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,9}[\x21-\x7e])?)?", fullmatch=True)
PADDING = st.sampled_from([b"", b" ", b"\t", b"  "])
STATUSES = st.sampled_from([200, 201, 204, 206, 304, 400, 429, 500, 529, 599, 999])


@st.composite
def valid_answers(draw: st.DrawFn) -> bytes:
    interims = draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2))
    stream = b"".join(b"HTTP/1.1 %d Early\r\nx-early: 1\r\n\r\n" % status for status in interims)
    stream += b"HTTP/1.%d %d Reason\r\n" % (draw(st.integers(0, 1)), draw(STATUSES))
    for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=5)):
        stream += name + b":" + draw(PADDING) + value + draw(PADDING) + b"\r\n"
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        return stream + b"Content-Length: %d\r\n\r\n" % len(b"".join(pieces)) + b"".join(pieces)
    if framing == "close":
        return stream + b"\r\n" + b"".join(pieces)
    chunks = b"".join(b"%x;e=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return stream + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nx-trailer: 1\r\n\r\n"


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(at % (len(stream) + 1) for at in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(valid_answers(), st.lists(st.integers(0, 5_000), max_size=20), st.booleans())
def test_any_valid_answer_in_any_pieces_is_read_as_h11_reads_it(
    stream: bytes, cuts: list[int], headless: bool
) -> None:
    assert read(cut(stream, cuts), headless=headless) == read_with_h11(stream, headless=headless)


@st.composite
def mutated_answers(draw: st.DrawFn) -> bytes:
    """A valid answer with a few of its bytes overwritten, removed or added by what framing is made of."""
    stream = bytearray(draw(valid_answers()))
    spice = st.sampled_from(
        [
            *(b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"0", b"9", b",", b"\0", b"\x0b", b"\xff", b";", b""),
            *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        ]
    )
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(stream)))
        stream[at : at + draw(st.integers(0, 3))] = draw(spice)
    return bytes(stream)


def check_beside_h11(stream: bytes, cuts: list[int], headless: bool) -> None:
    """What h11 refuses never ends cleanly here, and what both take they read alike."""
    ours = read(cut(stream, cuts), headless=headless)
    if ours.whole:
        assert ours == read_with_h11(stream, headless=headless)


CUTS = st.lists(st.integers(0, 5_000), max_size=5)


@given(mutated_answers(), CUTS, st.booleans())
def test_a_broken_answer_is_never_read_as_more_than_h11_reads(
    stream: bytes, cuts: list[int], headless: bool
) -> None:
    check_beside_h11(stream, cuts, headless)


@pytest.mark.proof
@given(mutated_answers(), CUTS, st.booleans())
def test_thousands_of_broken_answers_are_never_read_as_more_than_h11_reads(
    stream: bytes, cuts: list[int], headless: bool
) -> None:
    check_beside_h11(stream, cuts, headless)


@given(st.binary(max_size=200))
def test_noise_is_never_an_answer(noise: bytes) -> None:
    assert read([noise]) == NOTHING
