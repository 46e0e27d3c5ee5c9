"""What every store tells of the pace of buckets: recent bookings, and what went beyond its holds."""

from datetime import timedelta

from farebox.domain.budget.forecast import Spending
from farebox.domain.record import Outcome
from tests.support.builders import NOON, a_budget, a_hold, a_record, a_touch
from tests.support.wings import Wing

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
DAY = a_budget(name="day", limit=1_000)
EVER = a_budget(name="ever", limit=10_000, period="total")
TOKENS = a_budget(name="tokens", tokens=10_000)
WINDOW, YESTERDAY = DAY.window_at(NOON).key, DAY.window_at(NOON - 24 * HOUR).key


async def book(
    wing: Wing, name: str, ago: timedelta, amount: int, *, bucket: str = "", over: int = 0
) -> None:
    at = NOON - ago
    booked = [
        a_touch(amount, budget=DAY, bucket=bucket, at=at),
        a_touch(amount, budget=EVER, at=at),
        a_touch(2 * amount, budget=TOKENS, at=at),
    ]
    await wing.ledger.settle(name, a_record(name, at=at, overrun_picodollars=over), booked)


async def test_recent_bookings_are_summed_by_bucket_whatever_the_window(wing: Wing) -> None:
    assert await wing.spending.recent(NOON - 24 * HOUR) == {}
    await book(wing, "old", 24 * HOUR + SECOND, 1_000)
    await book(wing, "yesterday", 24 * HOUR, 5)
    await book(wing, "today", 2 * HOUR, 20)
    await book(wing, "alice's", HOUR, 300, bucket="alice")
    await book(wing, "free", SECOND, 0, bucket="bob")
    first = NOON - 24 * HOUR
    assert await wing.spending.recent(first) == {
        ("day", "usd", ""): Spending(25, first),
        ("day", "usd", "alice"): Spending(300, NOON - HOUR),
        ("ever", "usd", ""): Spending(325, first),
        ("tokens", "tokens", ""): Spending(650, first),
    }
    assert await wing.spending.recent(NOON) == {}


async def test_a_reset_is_no_spending_and_a_correction_counts_by_its_difference(wing: Wing) -> None:
    hold = a_hold("r1", a_touch(40, budget=DAY))
    await wing.ledger.reserve(hold)
    await wing.ledger.settle("r1", a_record("r1", outcome=Outcome.EXPIRED), hold.touches)
    await wing.ledger.settle("r1", a_record("r1"), [a_touch(25, budget=DAY)])
    assert await wing.reports.reset(DAY, None, NOON, "admin") == 1
    assert await wing.spending.recent(NOON - HOUR) == {("day", "usd", ""): Spending(25, NOON)}


async def test_overruns_are_summed_by_bucket_and_window(wing: Wing) -> None:
    assert await wing.spending.overruns(None) == {}
    await book(wing, "exact", HOUR, 10)
    await book(wing, "yesterday's", 24 * HOUR, 10, over=7)
    await book(wing, "first", 2 * HOUR, 10, over=100)
    await book(wing, "second", HOUR, 10, over=20, bucket="alice")
    ever = {("ever", "usd", "", "total"): 127}
    of_today = {
        ("day", "usd", "", WINDOW): 100,
        ("day", "usd", "alice", WINDOW): 20,
        ("tokens", "tokens", "", WINDOW): 120,
    }
    before = {("day", "usd", "", YESTERDAY): 7, ("tokens", "tokens", "", YESTERDAY): 7}
    assert await wing.spending.overruns(None) == ever | of_today | before
    assert await wing.spending.overruns(NOON - 2 * HOUR) == of_today | {("ever", "usd", "", "total"): 120}


async def test_a_swept_request_has_no_overrun_until_its_true_record_comes(wing: Wing) -> None:
    hold = a_hold("r1", a_touch(40, budget=DAY))
    await wing.ledger.reserve(hold)
    await wing.ledger.settle("r1", a_record("r1", outcome=Outcome.EXPIRED), hold.touches)
    assert await wing.spending.overruns(None) == {}
    await wing.ledger.settle("r1", a_record("r1", overrun_picodollars=9), [a_touch(49, budget=DAY)])
    assert await wing.spending.overruns(None) == {("day", "usd", "", WINDOW): 9}
