"""What every store of thresholds does: a crossing is decided once, and stays to be told until it was."""

import asyncio
from datetime import timedelta

from msgspec.structs import replace

from farebox.domain.budget.alert import Crossing
from farebox.domain.budget.limit import Unit
from farebox.domain.record import Outcome
from farebox.ports import Drawn
from tests.support.builders import NOON, a_budget, a_hold, a_record, a_touch
from tests.support.wings import Wing

SECOND = timedelta(seconds=1)
DAY = a_budget(name="day", limit=100)
TOKENS = a_budget(name="tokens", tokens=1_000, period="total")
WINDOW = DAY.window_at(NOON).key


def a_crossing(threshold: int = 80, **changes: object) -> Crossing:
    crossing = Crossing(
        budget="day",
        unit=Unit.USD,
        bucket="alice",
        window=DAY.window_at(NOON),
        limit=100,
        threshold=threshold,
        settled=83,
        at=NOON,
        label="alice",
    )
    return replace(crossing, **changes)


async def test_a_crossing_is_decided_once_however_often_it_is_seen(wing: Wing) -> None:
    first, second = a_crossing(50), a_crossing(80)
    assert await wing.thresholds.decide([first]) == [first]
    assert await wing.thresholds.decide([first, second]) == [second]
    later = [replace(each, at=NOON + SECOND, settled=99) for each in (first, second)]
    assert await wing.thresholds.decide(later) == []
    assert list(await wing.thresholds.decide([])) == []


async def test_another_limit_window_bucket_unit_or_budget_is_another_crossing(wing: Wing) -> None:
    tomorrow = DAY.window_at(NOON + timedelta(days=1))
    others = [
        a_crossing(),
        a_crossing(limit=200),
        a_crossing(window=tomorrow),
        a_crossing(bucket="bob"),
        a_crossing(bucket='bob","'),
        a_crossing(bucket="b" * 3_000),
        a_crossing(bucket="b" * 3_001),
        a_crossing(unit=Unit.TOKENS),
        a_crossing(budget="night"),
    ]
    assert await wing.thresholds.decide(others) == others
    untold = await wing.thresholds.untold()
    assert {each.identity for each in untold} == {each.identity for each in others}


async def test_what_is_asked_at_once_is_decided_once(wing: Wing) -> None:
    wanted = [[a_crossing(50), a_crossing(80), a_crossing(share)] for share in range(90, 100)]
    answers = await asyncio.gather(*(wing.thresholds.decide(each) for each in wanted))
    decided = [each.threshold for answer in answers for each in answer]
    assert sorted(decided) == [50, 80, *range(90, 100)]


async def test_more_than_one_transaction_takes_is_decided_too(wing: Wing) -> None:
    many = [a_crossing(bucket=f"b{number}", at=NOON + number * SECOND) for number in range(120)]
    assert await wing.thresholds.decide(many[40:60]) == many[40:60]
    assert await wing.thresholds.decide(many) == many[:40] + many[60:]
    assert await wing.thresholds.untold() == many[:100]


async def test_what_is_untold_comes_oldest_first_until_it_is_told(wing: Wing) -> None:
    old, new, same_moment = a_crossing(80), a_crossing(95, at=NOON + SECOND), a_crossing(50)
    await wing.thresholds.decide([new])
    await wing.thresholds.decide([old, same_moment])
    assert await wing.thresholds.untold() == [same_moment, old, new]
    assert await wing.thresholds.untold(limit=2) == [same_moment, old]
    # Whoever tells knows it by its identity alone.
    await wing.thresholds.told(replace(old, at=NOON + SECOND, settled=1), NOON)
    await wing.thresholds.told(old, NOON + SECOND)
    assert await wing.thresholds.untold() == [same_moment, new]
    assert await wing.thresholds.decide([old]) == []


async def test_telling_what_nobody_decided_is_nothing(wing: Wing) -> None:
    await wing.thresholds.told(a_crossing(), NOON)
    assert await wing.thresholds.untold() == []
    assert await wing.thresholds.decide([a_crossing()]) == [a_crossing()]


async def test_a_requests_buckets_are_given_as_they_stand(wing: Wing) -> None:
    for number in range(2):
        booked = [a_touch(30, budget=DAY), a_touch(400, budget=TOKENS, bucket="alice")]
        await wing.ledger.settle(f"r{number}", a_record(f"r{number}"), booked)
    await wing.ledger.exhaust([a_touch(budget=DAY)])
    both = [
        Drawn("day", "usd", "", WINDOW, 60, 100),
        Drawn("tokens", "tokens", "alice", "total", 800),
    ]
    assert await wing.thresholds.drawn(["r0"]) == both
    assert await wing.thresholds.drawn(["r1", "r0", "r1", "unknown"]) == both
    assert await wing.thresholds.drawn(["unknown"]) == []


async def test_a_refused_request_names_a_bucket_that_nobody_has_used(wing: Wing) -> None:
    await wing.ledger.settle("r1", a_record("r1"), [a_touch(0, budget=DAY, bucket="new")])
    assert await wing.thresholds.drawn(["r1"]) == [Drawn("day", "usd", "new", WINDOW, 0)]


async def test_a_correction_brings_the_buckets_of_the_true_record_too(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", a_touch(40, budget=DAY)))
    swept = a_record("r1", outcome=Outcome.EXPIRED)
    await wing.ledger.settle("r1", swept, [a_touch(40, budget=DAY)])
    await wing.ledger.settle("r1", a_record("r1"), [a_touch(25, budget=DAY), a_touch(9, budget=TOKENS)])
    assert await wing.thresholds.drawn(["r1"]) == [
        Drawn("day", "usd", "", WINDOW, 25),
        Drawn("tokens", "tokens", "", "total", 9),
    ]
