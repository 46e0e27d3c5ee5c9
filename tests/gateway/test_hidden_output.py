"""Thinking that nobody sees is bound by time, until the provider's own count replaces it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from farebox.gateway.charging.hidden_output import HiddenOutput
from farebox.gateway.charging.meter import StreamMeter
from tests.gateway.test_stream_meter import QUOTE
from tests.support.upstream import sse


class Stopwatch:
    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


START = sse(
    "message_start", {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}
)
DELTA = sse(
    "content_block_delta", {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "abcdef"}}
)
FINAL = sse(
    "message_delta",
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 60_000}},
)


@pytest.mark.parametrize(("silent_ms", "tokens"), [(0, 0), (999, 0), (1_000, 150), (20_000, 3_000)])
def test_a_silent_stretch_counts_while_it_lasts(silent_ms: int, tokens: int) -> None:
    watch = Stopwatch()
    hidden = HiddenOutput(watch)
    watch.now_ms = silent_ms
    hidden.seen(0)
    assert hidden.tokens == tokens


def test_stretches_between_visible_output_add_up_and_a_steady_stream_hides_nothing() -> None:
    watch = Stopwatch()
    hidden = HiddenOutput(watch)
    for number, gap_ms in enumerate((2_000, 10, 10, 3_000, 10), start=1):
        watch.now_ms += gap_ms
        hidden.seen(number)
    assert hidden.tokens == 5 * 150


def test_progress_that_stands_still_ends_no_stretch() -> None:
    watch = Stopwatch()
    hidden = HiddenOutput(watch)
    for _ in range(10):
        watch.now_ms += 500
        hidden.seen(0)
    assert hidden.tokens == 5 * 150


def test_a_stream_that_breaks_off_while_it_thinks_is_charged_for_the_time() -> None:
    watch = Stopwatch()
    meter = StreamMeter(HiddenOutput(watch))
    meter.feed(START)
    watch.now_ms = 4_000
    reading = meter.reading(replace(QUOTE, output_tokens_max=64_000))
    assert (reading.usage.output_tokens, reading.is_exact) == (600, False)
    meter.feed(DELTA)
    assert meter.delta_bytes == len(DELTA) + 600 * 3


def test_the_providers_count_replaces_what_time_stood_for() -> None:
    watch = Stopwatch()
    meter = StreamMeter(HiddenOutput(watch))
    meter.feed(START)
    watch.now_ms = 4_000
    meter.feed(FINAL)
    reading = meter.reading(replace(QUOTE, output_tokens_max=64_000))
    assert (reading.usage.output_tokens, reading.is_exact) == (60_000, True)
