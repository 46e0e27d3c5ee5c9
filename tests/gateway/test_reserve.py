"""What is held before anything is sent: the amounts, the waiting, and the words of a refusal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.adapters.price_data import PriceData
from farebox.domain.budget import TOKEN_CLASSES, Budget, OnExhausted, Shortage, Standing, Touch
from farebox.domain.config import ProviderSpec, Target
from farebox.domain.errors import BudgetExhausted, BudgetHeld, StoreFault
from farebox.domain.plan import Caller, Option, Quote
from farebox.domain.price import PriceOverride, Rates
from farebox.domain.price.override import OverrideRow
from farebox.domain.record import Billing, RequestRecord
from farebox.domain.routing.tree import Leaf
from farebox.domain.usage import Served, Usage, used_tokens
from farebox.gateway.charging.amounts import (
    Spent,
    booked_touches,
    held_touches,
    quoted_picodollars,
    quoted_tokens,
    requoted_touches,
    used_picodollars,
)
from farebox.gateway.charging.journal import Journal
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.reserve import HoldTerms, refusal, reserve
from farebox.ports import Hold
from tests.gateway.peers import SteppingClock
from tests.support.builders import NOON, FixedClock, a_budget, a_key, a_scope, a_touch

RATES = Rates(4, 1, 5, 8, 20, 1000, True)
QUOTE = Quote(100, 80, False, False, 10, 30, 0)


def an_option(*budgets: Budget, rates: Rates = RATES, quote: Quote = QUOTE) -> Option:
    return Option(
        leaf=Leaf("config"),
        target=Target(ProviderSpec("anthropic", "anthropic"), "claude-opus-5-5"),
        body=b"{}",
        asked_model="claude-opus-5-5",
        is_stream=True,
        billing=Billing.METERED,
        rates=rates,
        quote=quote,
        touches=tuple(a_touch(budget=budget) for budget in budgets),
    )


async def no_body() -> bytes:
    return b""


def a_journal() -> Journal:
    caller = Caller(a_key(), None, {}, None, None, "trace")
    return Journal(IncomingRequest("req_1", "messages", b"", [], no_body), caller, FixedClock(), NOON, 0)


class LedgerOf:
    """Answers reservations with these standings in turn, the last one for ever; None is room."""

    def __init__(self, *standings: Standing | None) -> None:
        self.standings = list(standings)
        self.holds: list[Hold] = []

    async def reserve(self, hold: Hold) -> Shortage | None:
        self.holds.append(hold)
        standing = self.standings.pop(0) if len(self.standings) > 1 else self.standings[0]
        return None if standing is None else Shortage(hold.touches[0], standing)

    async def top_up(self, hold: Hold) -> Shortage | None:
        raise AssertionError("nothing streams yet")

    async def renew(self, request_id: str, lease_until: object) -> None:
        raise AssertionError("nothing is open yet")

    async def void(self, request_id: str) -> None:
        raise AssertionError("nothing is held yet")

    async def settle(self, request_id: str, record: RequestRecord, booked: Sequence[Touch]) -> None:
        raise AssertionError("nothing was used yet")

    async def exhaust(self, touches: Sequence[Touch]) -> None:
        raise AssertionError("nothing was cut")

    async def expired_holds(self, now: object, *, limit: int = 100) -> Sequence[Hold]:
        raise AssertionError("nobody sweeps here")


class Away(LedgerOf):
    """Cannot answer."""

    async def reserve(self, hold: Hold) -> Shortage | None:
        raise StoreFault("away")


def draft(charged_picodollars: int) -> RequestRecord:
    return a_journal().draft(charged_picodollars)


async def reserved(
    ledger: LedgerOf, *budgets: Budget, clock: FixedClock | None = None, wait_ms: int = 0
) -> Hold | None:
    terms = HoldTerms(lease_ms=60_000, wait_ms=wait_ms)
    _, hold = await reserve(an_option(*budgets), a_journal(), ledger, clock or FixedClock(), terms)
    return hold


async def test_every_blocking_budget_is_held_in_one_step() -> None:
    tokens = a_budget(tokens=1000, name="tokens", count=("output",))
    alert = a_budget(name="alert", on_exhausted=OnExhausted.ALERT)
    ledger = LedgerOf(None)
    expected = (a_touch(600, budget=a_budget()), a_touch(10, budget=tokens))
    hold = Hold("req_1", 0, expected, NOON + timedelta(seconds=60), draft(600))
    assert await reserved(ledger, a_budget(), alert, tokens) == hold
    assert ledger.holds == [hold]


async def test_without_a_blocking_budget_a_request_is_held_at_nothing_so_that_its_death_is_noticed() -> None:
    ledger = LedgerOf(None)
    nothing = Hold("req_1", 0, (), NOON + timedelta(seconds=60), draft(600))
    assert await reserved(ledger, a_budget(on_exhausted=OnExhausted.ALERT)) == nothing
    assert await reserved(ledger) == nothing
    assert ledger.holds == [nothing, nothing]


async def test_a_store_that_is_away_stops_only_what_a_budget_blocks(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StoreFault):
        await reserved(Away(), a_budget())
    assert await reserved(Away(), a_budget(on_exhausted=OnExhausted.ALERT)) is None
    assert "request req_1 goes on without a hold" in caplog.text


async def test_a_bucket_without_the_least_amount_refuses_at_once() -> None:
    budget = a_budget(limit=1000)
    ledger = LedgerOf(Standing(settled=401, held=0))
    with pytest.raises(BudgetExhausted):
        await reserved(ledger, budget, wait_ms=60_000)
    assert len(ledger.holds) == 1


async def test_what_others_hold_is_waited_for() -> None:
    ledger = LedgerOf(Standing(held=900), Standing(held=500), None)
    hold = await reserved(ledger, a_budget(limit=1000), clock=SteppingClock(1), wait_ms=1000)
    assert hold is not None
    assert len(ledger.holds) == 3


async def test_after_the_wait_a_held_bucket_asks_to_come_back() -> None:
    ledger = LedgerOf(Standing(settled=100, held=900))
    with pytest.raises(BudgetHeld) as refused:
        await reserved(ledger, a_budget(limit=1000), clock=SteppingClock(500), wait_ms=1000)
    assert len(ledger.holds) == 2
    assert refused.value.retry_after_s == 2


async def test_a_request_waits_no_longer_at_many_targets_than_at_one() -> None:
    ledger, journal, clock = LedgerOf(Standing(held=900)), a_journal(), SteppingClock(500)
    terms, tries = HoldTerms(wait_ms=1000), []
    for _ in range(3):
        with pytest.raises(BudgetHeld):
            await reserve(an_option(a_budget(limit=1000)), journal, ledger, clock, terms)
        tries.append(len(ledger.holds))
    assert tries == [2, 3, 4]


async def test_a_bucket_that_empties_while_one_waits_is_exhausted() -> None:
    ledger = LedgerOf(Standing(held=900), Standing(settled=900))
    with pytest.raises(BudgetExhausted):
        await reserved(ledger, a_budget(limit=1000), clock=SteppingClock(1), wait_ms=1000)


async def test_each_try_is_a_hold_with_a_fresh_lease() -> None:
    clock = SteppingClock(500)
    ledger = LedgerOf(Standing(held=900))
    with pytest.raises(BudgetHeld):
        await reserved(ledger, a_budget(limit=1000), clock=clock, wait_ms=1000)
    assert {hold.lease_until - clock.now() for hold in ledger.holds} == {timedelta(seconds=60)}


def shortage(standing: Standing, budget: Budget, *, bucket: str = "", amount: int = 10) -> Shortage:
    return Shortage(a_touch(amount, budget=budget, bucket=bucket), standing)


def test_an_exhausted_budget_says_name_limit_spent_reset_and_whom_to_ask() -> None:
    budget = a_budget(usd=20, name="key-day", scope=a_scope(key="*"), contact="platform@example.com")
    told = refusal(shortage(Standing(settled=20 * 10**12 + 5 * 10**9), budget, bucket="platform/alice"))
    assert told.message == (
        "Budget 'key-day' (alice) is exhausted: $20.005 of $20.00 spent. It resets at 2026-11-24T00:00:00Z; "
        "ask platform@example.com to raise it."
    )


def test_what_is_left_and_does_not_suffice_is_said_so() -> None:
    told = refusal(shortage(Standing(settled=995), a_budget(tokens=1000, name="t", period="total")))
    assert told.message == (
        "Budget 't' does not cover this request: 995 tokens of 1000 tokens spent, "
        "and it may cost up to 10 tokens. "
        "It does not reset by itself; ask your farebox administrator to raise it."
    )


def test_a_marked_bucket_is_exhausted_whatever_is_left() -> None:
    assert isinstance(refusal(shortage(Standing(is_marked=True), a_budget())), BudgetExhausted)


def test_a_held_budget_says_what_is_held_and_when_to_come_back() -> None:
    told = refusal(shortage(Standing(settled=100, held=895), a_budget(tokens=1000, name="t")))
    assert told.message == (
        "Budget 't' is in use: 100 tokens of 1000 tokens spent and 895 tokens held by open requests. "
        "Try again in 2 s."
    )


@given(limit=st.integers(0, 100), settled=st.integers(0, 120), held=st.integers(0, 120))
def test_a_refusal_is_final_exactly_when_returning_every_hold_would_not_help(
    limit: int, settled: int, held: int
) -> None:
    told = refusal(shortage(Standing(settled, held), a_budget(limit=limit), amount=10))
    assert isinstance(told, BudgetExhausted) == (settled + 10 > limit)


def test_a_free_request_still_needs_a_limit_above_zero() -> None:
    free = Rates(0, 0, 0, 0, 0, 0, True)
    option = an_option(a_budget(), a_budget(tokens=5, count=("output",)), rates=free)
    nothing = dataclasses.replace(option, quote=replace(QUOTE, output_tokens=0))
    assert [touch.amount for touch in held_touches(nothing, nothing.quote)] == [1, 1]
    assert [touch.amount for touch in requoted_touches(nothing, Usage())] == [1, 1]


tokens = st.integers(0, 2_000_000)
prices = st.integers(0, 100_000_000)
rates = st.builds(Rates, prices, prices, prices, prices, prices, st.integers(0, 10**11), st.just(True))


@st.composite
def quotes_and_usages(draw: st.DrawFn) -> tuple[Quote, Usage]:
    """Give a quote and a usage that stays within it: classes that the request asked for, no more of them."""
    caches = draw(st.booleans())
    for_1h = caches and draw(st.booleans())
    written_5m = draw(tokens) if caches else 0
    written_1h = draw(tokens) if for_1h else 0
    usage = Usage(
        input_tokens=draw(tokens),
        cache_read_tokens=draw(tokens),
        cache_write_5m_tokens=written_5m,
        cache_write_1h_tokens=written_1h,
        output_tokens=draw(tokens),
        web_search_requests=draw(st.integers(0, 20)),
    )
    spare = draw(st.integers(0, 1000))
    output = usage.output_tokens + spare
    searches = usage.web_search_requests
    return Quote(usage.prompt_tokens + spare, 0, caches, for_1h, output, output, searches), usage


@given(rates, quotes_and_usages())
def test_what_is_quoted_is_never_less_than_what_is_used(rates: Rates, drawn: tuple[Quote, Usage]) -> None:
    quote, usage = drawn
    assert quoted_picodollars(rates, quote) >= used_picodollars(rates, usage)


@given(st.lists(st.sampled_from(TOKEN_CLASSES), unique=True), quotes_and_usages())
def test_quoted_tokens_are_never_fewer_than_used_ones(classes: list[str], drawn: tuple[Quote, Usage]) -> None:
    quote, usage = drawn
    assert quoted_tokens(classes, quote) >= used_tokens(classes, usage)


rows = st.builds(OverrideRow, prices, prices, *[st.none() | prices] * 3)
overrides = st.none() | st.builds(
    PriceOverride,
    st.none() | st.decimals(0, 3, places=3).map(Fraction),
    st.dictionaries(st.sampled_from(["claude-opus-5-5", "claude-haiku-5-5", "house-model"]), rows),
)
models = st.sampled_from(
    ["claude-opus-5-5", "claude-haiku-5-5", "claude-sonnet-4-5", "claude-opus-9", "house-model"]
)


@given(models, overrides, quotes_and_usages(), st.sampled_from([None, "fast"]), st.sampled_from([None, "us"]))
def test_no_answer_within_its_quote_costs_more_than_was_held(
    model: str,
    override: PriceOverride | None,
    drawn: tuple[Quote, Usage],
    speed: str | None,
    geo: str | None,
) -> None:
    quote, usage = drawn
    book = PriceData().book().with_overrides(override)
    rates = book.rates(
        provider="anthropic", model=model, region=None, at=NOON, speed=speed, inference_geo=geo
    )
    served = Served("anthropic", model, NOON, replace(usage, speed=speed, inference_geo=geo))
    assert book.cost(served).charged_picodollars <= quoted_picodollars(rates, quote)


def test_alert_only_budgets_are_booked_and_never_held() -> None:
    alert = a_budget(name="alert", on_exhausted=OnExhausted.ALERT)
    output = a_budget(name="out", tokens=1000, count=("output", "cache_write"))
    option = an_option(a_budget(), alert, output)
    assert [touch.budget.name for touch in held_touches(option, QUOTE)] == ["everyone-day", "out"]
    assert [touch.budget.name for touch in requoted_touches(option, Usage())] == ["everyone-day", "out"]
    first = Spent(option, Usage(1, 2, 3, 4, 5), 90, was_sent=True)
    booked = booked_touches(option, (first, Spent(option, Usage(output_tokens=7), 9, was_sent=True)))
    assert [(touch.budget.name, touch.amount) for touch in booked] == [
        ("everyone-day", 99),
        ("alert", 99),
        ("out", 3 + 4 + 5 + 7),
    ]


@pytest.mark.parametrize(
    ("classes", "used", "quoted"),
    [
        (TOKEN_CLASSES, 1 + 2 + 3 + 4 + 5, 110),
        (("input",), 1, 100),
        (("cache_read",), 2, 100),
        (("cache_write",), 3 + 4, 100),
        (("output",), 5, 10),
        (("input", "output"), 6, 110),
        ((), 0, 0),
    ],
)
def test_token_budgets_count_their_classes_only(classes: tuple[str, ...], used: int, quoted: int) -> None:
    assert used_tokens(classes, Usage(1, 2, 3, 4, 5)) == used
    assert quoted_tokens(classes, QUOTE) == quoted
