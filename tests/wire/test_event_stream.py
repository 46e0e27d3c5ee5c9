"""Frames are read as botocore reads them, however they are cut, and what is broken is never read on."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from botocore.eventstream import EventStreamBuffer, EventStreamHeaderParser
from hypothesis import given
from hypothesis import strategies as st

from farebox.wire.event_stream import (
    Frame,
    FrameBroken,
    FrameReader,
    read_headers,
    write_frame,
    write_headers,
)

names = st.text(":abc-XYZ", min_size=1, max_size=20)
values = st.text(max_size=30)
headers = st.dictionaries(names, values, max_size=5)
frames = st.lists(st.tuples(headers, st.binary(max_size=200)), max_size=6)

# One header of each type that is not text, as the specification lays them out, behind one that is.
OTHER_TYPES = b"".join(
    (
        write_headers({"text": "kept"}),
        b"\x01t\x00",
        b"\x01f\x01",
        b"\x01b\x02\x7f",
        b"\x01s\x03\x00\x01",
        b"\x01i\x04\x00\x00\x00\x01",
        b"\x01l\x05\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\x01r\x06\x00\x02\xff\xfe",
        b"\x01d\x08\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\x01u\x09" + bytes(range(16)),
    )
)


def written(pieces: list[tuple[dict[str, str], bytes]]) -> bytes:
    return b"".join(write_frame(write_headers(head), payload) for head, payload in pieces)


def botocore_reads(data: bytes) -> list[tuple[dict[str, str], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(dict(message.headers), message.payload) for message in buffer]


def fed(data: bytes, cuts: list[int]) -> list[Frame]:
    reader = FrameReader()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    found = [frame for piece in pieces for frame in reader.feed(piece)]
    assert not reader.is_midway
    return found


@given(pieces=frames, cuts=st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_are_read_as_botocore_reads_them_wherever_they_are_cut(
    pieces: list[tuple[dict[str, str], bytes]], cuts: list[int]
) -> None:
    data = written(pieces)
    read = [(dict(frame.headers), frame.payload) for frame in fed(data, cuts)]
    assert read == pieces == botocore_reads(data)


@given(pieces=frames.filter(bool), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_read(pieces: list[tuple[dict[str, str], bytes]], at: int, bit: int) -> None:
    data = bytearray(written(pieces))
    data[at % len(data)] ^= 1 << bit
    reader = FrameReader()
    try:
        read = [(dict(frame.headers), frame.payload) for frame in reader.feed(bytes(data))]
    except FrameBroken:
        return
    # Nothing of a damaged length may be believed, so what is left waits for an end that never comes.
    assert read == pieces[: len(read)]
    assert reader.is_midway


def test_headers_of_every_type_are_passed_over_as_botocore_parses_them() -> None:
    theirs = EventStreamHeaderParser().parse(OTHER_TYPES)
    assert set(theirs) == {"text", *"tfbsilrdu"}
    assert dict(read_headers(OTHER_TYPES)) == {"text": theirs["text"]}


@pytest.mark.parametrize(
    "raw",
    [
        b"\x05ab",
        b"\x01a\x0a",
        b"\x01a\x07\x00\x09short",
        b"\x01a\x07\x00",
        b"\x01a\x07\x00\x01\xff",
        b"\x01a\x05\x00",
        b"\x01a",
    ],
)
def test_headers_that_cannot_be_read_break_the_frame(raw: bytes) -> None:
    with pytest.raises(FrameBroken):
        FrameReader().feed(write_frame(raw, b"{}"))


def test_a_length_beyond_all_reason_is_refused_before_it_is_waited_for() -> None:
    whole = write_frame(b"", b"x" * 10)
    with pytest.raises(FrameBroken, match="impossible"):
        FrameReader().feed(_with_lengths(24 * 1024 * 1024 + 17, 0) + whole)
    with pytest.raises(FrameBroken, match="impossible"):
        FrameReader().feed(_with_lengths(12, 0) + whole)


def test_frames_before_a_broken_one_are_given_and_then_it_is_told() -> None:
    good = written([({":event-type": "chunk"}, b"{}")])
    reader = FrameReader()
    assert len(reader.feed(good * 2 + good[:-1] + b"?")) == 2
    with pytest.raises(FrameBroken, match="checksum of a frame"):
        reader.feed(b"")


def test_what_was_fed_can_be_taken_back() -> None:
    data = written([({":event-type": "chunk"}, b"{}")])
    reader = FrameReader()
    reader.feed(data[:9])
    kept = reader.kept()
    assert len(reader.feed(data[9:])) == 1
    reader.restore(kept)
    assert reader.is_midway
    assert len(reader.feed(data[9:])) == 1


def _with_lengths(total: int, headers_bytes: int) -> bytes:
    """A prelude with a right checksum and wrong lengths."""
    whole = write_frame(b"", b"")
    lengths = total.to_bytes(4, "big") + headers_bytes.to_bytes(4, "big")
    assert zlib.crc32(whole[:8]).to_bytes(4, "big") == whole[8:12]
    return lengths + zlib.crc32(lengths).to_bytes(4, "big")
