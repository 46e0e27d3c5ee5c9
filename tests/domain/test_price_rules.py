"""Which counters are billed, and at which model."""

from __future__ import annotations

from msgspec.structs import replace

from farebox.domain.price.rules import Bill, Line, bill
from farebox.domain.usage import Iteration, Served, Usage
from tests.domain.price_cases import BOOK, day, served

USAGE = Usage(input_tokens=10, output_tokens=5, web_search_requests=2)
FABLE, OPUS, SONNET = "claude-fable-5-2", "claude-opus-5-5", "claude-sonnet-5-5"


def billed(attempt: Served) -> Bill:
    return bill(attempt, BOOK.claude.refusals)


def refused(usage: Usage, category: str | None) -> Served:
    return replace(served(usage), stop_reason="refusal", stop_category=category, content_empty=True)


def test_the_top_level_is_one_line_at_the_answering_model() -> None:
    assert billed(served(USAGE, response_model=SONNET)) == Bill((Line(SONNET, USAGE, is_fast=False),), 2)


def test_a_refusal_that_is_not_billed_waives_the_answer_and_its_searches_but_not_what_ran_beside_it() -> None:
    compaction = Iteration("compaction", input_tokens=7, output_tokens=3)
    usage = replace(USAGE, iterations=(compaction,))
    assert billed(refused(usage, "cyber")) == Bill((Line(OPUS, compaction, is_fast=False),), 0)
    assert billed(refused(usage, "bio")).web_search_requests == 2


def test_only_a_refusal_is_ever_waived() -> None:
    attempt = replace(served(USAGE), stop_reason="end_turn", content_empty=True)
    assert billed(attempt) == billed(served(USAGE))


def test_a_fallback_that_refuses_too_is_waived_like_any_answer() -> None:
    hop = Iteration("message", FABLE, input_tokens=9, output_tokens=1)
    serving = Iteration("fallback_message", OPUS, input_tokens=10, output_tokens=1)
    attempt = replace(
        refused(replace(USAGE, iterations=(hop, serving)), "cyber"), model=FABLE, fallback_categories=("bio",)
    )
    assert billed(attempt) == Bill((Line(FABLE, hop, is_fast=False),), 0)


def test_a_declined_hop_is_all_its_tool_loop_steps_and_has_one_category() -> None:
    first = Iteration("message", FABLE, input_tokens=9, output_tokens=50)
    first_end = Iteration("message", FABLE, input_tokens=60, output_tokens=1)
    second = Iteration("message", OPUS, input_tokens=70, output_tokens=1)
    serving = Iteration("fallback_message", SONNET, input_tokens=80, output_tokens=9)
    usage = replace(USAGE, speed="fast", iterations=(first, first_end, second, serving))
    attempt = replace(served(usage, model=FABLE), fallback_categories=("cyber", "bio"))
    assert billed(attempt).lines == (
        Line(SONNET, serving, is_fast=True),
        Line(FABLE, first, is_fast=True),
        Line(FABLE, first_end, is_fast=True),
        Line(OPUS, second, is_fast=True),
    )
    unbilled = replace(attempt, fallback_categories=("bio", "cyber"))
    assert billed(unbilled).lines == billed(attempt).lines[:3]


def test_a_hop_without_a_model_is_the_requested_one_and_without_a_category_is_not_billed() -> None:
    hop = Iteration("message", None, input_tokens=9, output_tokens=1)
    serving = Iteration("fallback_message", OPUS, input_tokens=10, output_tokens=5)
    attempt = served(replace(USAGE, iterations=(hop, serving)), model=FABLE, response_model=OPUS)
    assert billed(attempt).lines == (Line(OPUS, serving, is_fast=False),)
    with_output = replace(hop, output_tokens=2)
    attempt = replace(attempt, usage=replace(USAGE, iterations=(with_output, serving)))
    assert billed(attempt).lines[1] == Line(FABLE, replace(with_output, model=FABLE), is_fast=False)


def test_iterations_that_tell_no_lifetimes_share_those_of_the_top_level() -> None:
    steps = tuple(Iteration("message", cache_write_5m_tokens=writes) for writes in (30, 50))
    usage = Usage(cache_write_5m_tokens=40, cache_write_1h_tokens=40, iterations=steps)
    assert [line.counters for line in billed(served(usage)).lines] == [
        Iteration("message", cache_write_1h_tokens=30),
        Iteration("message", cache_write_5m_tokens=40, cache_write_1h_tokens=10),
    ]


def test_iterations_that_do_not_add_up_leave_the_top_level_to_count() -> None:
    for step in (
        Iteration("message", input_tokens=10),
        Iteration("message", input_tokens=9, output_tokens=5),
        Iteration("message", input_tokens=10, output_tokens=5, cache_read_tokens=1),
        Iteration("message", input_tokens=10, output_tokens=5, cache_write_5m_tokens=1),
    ):
        usage = replace(USAGE, iterations=(step,))
        assert billed(served(usage)).lines == (Line(OPUS, usage, is_fast=False),)


def test_the_refusal_rules_are_dated_and_named_by_provider() -> None:
    attempt = refused(USAGE, "cyber")
    billed_then = {
        (provider, text): bool(billed(replace(attempt, provider=provider, at=day(text))).lines)
        for provider in ("anthropic", "bedrock")
        for text in ("2026-06-01", "2026-06-02", "2026-09-23", "2026-09-24")
    }
    assert billed_then == {
        ("anthropic", "2026-06-01"): True,
        ("anthropic", "2026-06-02"): False,
        ("anthropic", "2026-09-23"): False,
        ("anthropic", "2026-09-24"): False,
        ("bedrock", "2026-06-01"): True,
        ("bedrock", "2026-06-02"): True,
        ("bedrock", "2026-09-23"): True,
        ("bedrock", "2026-09-24"): False,
    }


def test_iterations_of_no_known_kind_are_lines_without_a_price_unless_they_are_empty() -> None:
    strange, empty = Iteration("reflection", output_tokens=1), Iteration("reflection")
    lines = billed(served(replace(USAGE, iterations=(strange, empty)))).lines
    assert lines[1:] == (Line("reflection", strange, is_fast=False, is_known=False),)


def test_an_attempt_without_usage_has_an_empty_bill() -> None:
    assert billed(replace(served(), usage=None)) == Bill((), 0)


def test_a_compaction_before_a_fallback_is_billed_at_the_requested_model() -> None:
    compaction = Iteration("compaction", input_tokens=7, output_tokens=3)
    serving = Iteration("fallback_message", OPUS, input_tokens=10, output_tokens=5)
    attempt = served(replace(USAGE, iterations=(compaction, serving)), model=FABLE, response_model=OPUS)
    assert billed(attempt).lines == (
        Line(OPUS, serving, is_fast=False),
        Line(FABLE, compaction, is_fast=False),
    )
