"""What the meter makes of an answer at any moment of it, and of one that it cannot read."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.domain.plan import Quote
from farebox.domain.usage import Usage
from farebox.gateway.charging.meter import Reading, StreamMeter, read_message
from tests.support.upstream import json_message, message_events, sse, usage

QUOTE = Quote(
    input_tokens_bound=900,
    input_tokens_expected=300,
    caches=False,
    caches_for_1h=False,
    output_tokens=10,
    output_tokens_max=100_000,
    web_searches=0,
)
REPORTED = usage(input_tokens=7, output_tokens=50, cache_write_1h_tokens=5)
USED = Usage(input_tokens=7, output_tokens=50, cache_write_1h_tokens=5, service_tier="standard")
EVENTS = message_events("one two three", usage=REPORTED)
WHOLE = b"".join(EVENTS)


def fed(*chunks: bytes, coding: bytes | None = None) -> StreamMeter:
    meter = StreamMeter()
    meter.read_as(coding)
    for chunk in chunks:
        meter.feed(chunk)
    return meter


def test_a_whole_stream_is_read_exactly() -> None:
    assert fed(WHOLE).reading(QUOTE) == Reading(USED, is_exact=True)


def test_before_anything_came_the_likely_input_counts() -> None:
    assert fed().reading(QUOTE) == Reading(Usage(input_tokens=300), is_exact=False)


@pytest.mark.parametrize(
    ("caches", "for_1h", "expected"),
    [
        (False, False, Usage(input_tokens=300, output_tokens=4)),
        (True, False, Usage(cache_write_5m_tokens=300, output_tokens=4)),
        (True, True, Usage(cache_write_1h_tokens=300, output_tokens=4)),
    ],
)
def test_the_likely_input_counts_in_the_class_the_request_asked_for(
    caches: bool, for_1h: bool, expected: Usage
) -> None:
    quote = replace(QUOTE, caches=caches, caches_for_1h=for_1h)
    _, reading = read_message(b"not a message", encoding=None, quote=quote)
    assert reading == Reading(expected, is_exact=False)


@given(st.integers(0, len(WHOLE)))
def test_a_part_of_a_stream_uses_no_less_than_a_shorter_part(cut: int) -> None:
    shorter = fed(WHOLE[: cut // 2]).reading(QUOTE).usage
    longer = fed(WHOLE[:cut]).reading(QUOTE).usage
    assert longer.output_tokens >= shorter.output_tokens
    if cut > len(EVENTS[0]):
        assert (longer.input_tokens, longer.cache_write_1h_tokens) == (7, 5)


def test_text_that_passed_counts_where_the_end_never_came() -> None:
    text = "x" * 3000
    events = message_events(text, usage=REPORTED)
    reading = fed(b"".join(events[:4])).reading(QUOTE)
    assert reading.is_exact is False
    assert 1000 <= reading.usage.output_tokens < 1020


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"error": {"type": "overloaded_error"}}, "overloaded_error"),
        ({"error": {"type": 5}}, "api_error"),
        ({"error": "text"}, "api_error"),
        ({}, "api_error"),
    ],
)
def test_an_error_event_of_any_shape_ends_the_stream(data: dict[str, object], kind: str) -> None:
    meter = fed(sse("error", {"type": "error", **data}))
    assert (meter.error_type, meter.is_complete, meter.is_stopped) == (kind, True, False)


UNREADABLE = [b'{"type": "\xff"}', b'{"\xff": 1}', b'{"type": ' + b"[" * 100_000, b"no JSON"]


@pytest.mark.parametrize("data", UNREADABLE)
def test_an_event_that_cannot_be_read_is_passed_over(data: bytes) -> None:
    meter = fed(EVENTS[0], b"event: message_delta\ndata: " + data + b"\n\n", *EVENTS[1:])
    assert meter.reading(QUOTE) == Reading(USED, is_exact=True)


def test_the_open_block_is_known_while_it_is_open() -> None:
    meter = StreamMeter()
    seen = []
    for event in EVENTS:
        meter.feed(event)
        seen.append(meter.open_block)
    assert seen == [None, 0, 0, 0, 0, 0, None, None, None]


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"x-gzip"])
def test_a_gzipped_stream_is_read_in_any_pieces_and_never_written_into(coding: bytes) -> None:
    packed = gzip.compress(WHOLE, mtime=0)
    meter = fed(*(packed[at : at + 7] for at in range(0, len(packed), 7)), coding=coding)
    assert (meter.reading(QUOTE), meter.is_complete) == (Reading(USED, is_exact=True), True)
    assert meter.at_boundary is False


def test_a_gzipped_stream_that_is_damaged_counts_by_its_bytes_from_there() -> None:
    packed = gzip.compress(b"".join(EVENTS[:2]), mtime=0)
    meter = fed(packed[:10], b"\xff" * 3000, b"\xff" * 3000, coding=b"gzip")
    assert (meter.can_be_read, meter.at_boundary, meter.is_complete) == (False, False, True)
    assert meter.reading(QUOTE) == Reading(Usage(input_tokens=300, output_tokens=2000), is_exact=False)


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, br"])
def test_a_stream_of_another_coding_counts_by_its_bytes(coding: bytes) -> None:
    meter = fed(WHOLE[:300], WHOLE[300:600], coding=coding)
    assert (meter.can_be_read, meter.at_boundary, meter.delta_bytes) == (False, False, 600)
    assert meter.reading(QUOTE) == Reading(Usage(input_tokens=300, output_tokens=200), is_exact=False)


@pytest.mark.parametrize("coding", [None, b"identity", b"Identity"])
def test_a_plain_stream_is_read(coding: bytes | None) -> None:
    assert fed(WHOLE, coding=coding).reading(QUOTE) == Reading(USED, is_exact=True)


@pytest.mark.parametrize(("compress", "coding"), [(False, None), (True, b"gzip"), (True, b"GZIP")])
def test_a_whole_answer_is_read_exactly(compress: bool, coding: bytes | None) -> None:
    body = json_message(usage=REPORTED, compress=compress).body
    fold, reading = read_message(body, encoding=coding, quote=QUOTE)
    assert (fold.model, reading) == ("claude-opus-5-5", Reading(USED, is_exact=True))


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"<html>", None),
        (b"", None),
        (b"[" * 100_000, None),
        (b'{"model": "\xff"}', None),
        (json.dumps([1]).encode(), None),
        (b"\x1f\x8b broken", b"gzip"),
    ],
)
def test_a_whole_answer_that_cannot_be_read_counts_by_its_bytes(body: bytes, coding: bytes | None) -> None:
    _, reading = read_message(body, encoding=coding, quote=QUOTE)
    assert reading == Reading(Usage(input_tokens=300, output_tokens=len(body) // 3), is_exact=False)
