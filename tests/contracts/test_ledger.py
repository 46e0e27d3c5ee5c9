"""What every ledger does with money: once, all or nothing, never past a limit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from msgspec.structs import replace

from farebox.domain.budget import Budget, OnExhausted, Shortage, Standing, Touch
from farebox.domain.errors import StoreFault
from farebox.domain.record import Outcome, RequestRecord
from farebox.ports import Hold
from tests.support.builders import NOON, a_budget, a_hold, a_record, a_scope, a_touch
from tests.support.wings import Wing

MINUTE = timedelta(minutes=1)

DAY = a_budget(name="day", limit=100)
MONTH = a_budget(name="month", limit=1000, period="month")
TOKENS = a_budget(name="tokens", tokens=50, scope=a_scope(user="*"))


def three(amount: int) -> tuple[Touch, ...]:
    return (
        a_touch(amount, budget=DAY),
        a_touch(amount, budget=TOKENS, bucket="alice"),
        a_touch(amount, budget=MONTH),
    )


async def standing(wing: Wing, budget: Budget, bucket: str = "") -> Standing:
    found = [row.standing for row in await wing.reports.standings([budget], NOON) if row.bucket == bucket]
    return found[0] if found else Standing()


async def standings(wing: Wing) -> tuple[tuple[int, int], ...]:
    found = [
        await standing(wing, budget, bucket) for budget, bucket in ((DAY, ""), (TOKENS, "alice"), (MONTH, ""))
    ]
    return tuple((each.settled, each.held) for each in found)


async def ids(wing: Wing) -> list[tuple[str, Outcome]]:
    return [(record.id, record.outcome) for record in (await wing.reports.requests()).rows]


@pytest.fixture(autouse=True)
async def no_drift(wing: Wing) -> AsyncIterator[None]:
    yield
    assert await wing.reports.verify() == []


async def test_a_hold_holds_every_touch(wing: Wing) -> None:
    assert await wing.ledger.reserve(a_hold("r1", *three(30))) is None
    assert await standings(wing) == ((0, 30), (0, 30), (0, 30))


async def test_a_limit_can_be_used_up_exactly_and_not_passed(wing: Wing) -> None:
    assert await wing.ledger.reserve(a_hold("r1", a_touch(100, budget=DAY))) is None
    one_more = a_touch(1, budget=DAY)
    assert await wing.ledger.reserve(a_hold("r2", one_more)) == Shortage(one_more, Standing(0, 100))


async def test_a_first_request_larger_than_the_limit_is_refused(wing: Wing) -> None:
    too_much = a_touch(101, budget=DAY)
    assert await wing.ledger.reserve(a_hold("r1", too_much)) == Shortage(too_much, Standing())
    assert await standing(wing, DAY) == Standing()


async def test_a_limit_of_nothing_admits_nothing(wing: Wing) -> None:
    nothing = a_budget(name="nothing", limit=0)
    assert await wing.ledger.reserve(a_hold("r1", a_touch(1, budget=nothing))) is not None


async def test_when_one_bucket_is_short_nothing_is_held_anywhere(wing: Wing) -> None:
    assert await wing.ledger.reserve(a_hold("r1", *three(60))) == Shortage(
        a_touch(60, budget=TOKENS, bucket="alice"), Standing()
    )
    assert await standings(wing) == ((0, 0), (0, 0), (0, 0))
    assert await wing.ledger.expired_holds(NOON + MINUTE) == []


async def test_the_first_short_bucket_is_named_with_where_it_stood(wing: Wing) -> None:
    await wing.ledger.settle("r0", a_record("r0"), [a_touch(45, budget=TOKENS, bucket="alice")])
    await wing.ledger.reserve(a_hold("r1", *three(5)))
    assert await wing.ledger.reserve(a_hold("r2", *three(96))) == Shortage(
        a_touch(96, budget=DAY), Standing(settled=0, held=5)
    )
    assert await wing.ledger.reserve(a_hold("r2", *three(1))) == Shortage(
        a_touch(1, budget=TOKENS, bucket="alice"), Standing(settled=45, held=5)
    )


async def test_buckets_windows_and_units_do_not_mix(wing: Wing) -> None:
    tomorrow = NOON + timedelta(days=1)
    in_tokens = a_budget(name="day", tokens=100)
    for number, touch in enumerate(
        [
            a_touch(100, budget=DAY),
            a_touch(100, budget=DAY, at=tomorrow),
            a_touch(100, budget=in_tokens),
            a_touch(50, budget=TOKENS, bucket="alice"),
            a_touch(50, budget=TOKENS, bucket="bob"),
        ]
    ):
        assert await wing.ledger.reserve(a_hold(f"r{number}", touch)) is None


async def test_a_repeated_reserve_changes_nothing(wing: Wing) -> None:
    for _ in range(3):
        assert await wing.ledger.reserve(a_hold("r1", *three(40))) is None
    assert await standings(wing) == ((0, 40), (0, 40), (0, 40))


async def test_a_reserve_that_comes_again_after_the_settlement_changes_nothing(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(40)))
    await wing.ledger.settle("r1", a_record("r1"), three(25))
    assert await wing.ledger.reserve(a_hold("r1", *three(40))) is None
    assert await standings(wing) == ((25, 0), (25, 0), (25, 0))


async def test_of_many_at_once_exactly_as_many_as_fit_are_admitted(wing: Wing) -> None:
    refusals = await asyncio.gather(
        *(wing.ledger.reserve(a_hold(f"r{number}", a_touch(7, budget=DAY))) for number in range(40))
    )
    assert [refusal is None for refusal in refusals].count(True) == 14
    assert await standing(wing, DAY) == Standing(0, 98)


async def test_a_void_gives_everything_back_once(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(30)))
    await wing.ledger.reserve(a_hold("r2", *three(10)))
    for _ in range(2):
        await wing.ledger.void("r1")
    assert await standings(wing) == ((0, 10), (0, 10), (0, 10))
    assert await ids(wing) == []


async def test_a_settlement_releases_the_hold_and_books_what_was_used(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(40)))
    await wing.ledger.settle("r1", a_record("r1"), three(25))
    assert await standings(wing) == ((25, 0), (25, 0), (25, 0))
    assert list((await wing.reports.requests()).rows) == [a_record("r1")]


async def test_a_second_settlement_changes_nothing(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(40)))
    await wing.ledger.settle("r1", a_record("r1"), three(25))
    await wing.ledger.settle("r1", a_record("r1", charged_picodollars=9), three(9))
    assert await standings(wing) == ((25, 0), (25, 0), (25, 0))
    assert list((await wing.reports.requests()).rows) == [a_record("r1")]


async def test_a_void_after_the_settlement_changes_nothing(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(40)))
    await wing.ledger.settle("r1", a_record("r1"), three(25))
    await wing.ledger.void("r1")
    assert await standings(wing) == ((25, 0), (25, 0), (25, 0))


async def test_a_settlement_is_never_refused_by_a_limit(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", a_touch(100, budget=DAY)))
    await wing.ledger.settle("r1", a_record("r1"), [a_touch(250, budget=DAY)])
    assert await standing(wing, DAY) == Standing(250, 0)
    assert await wing.ledger.reserve(a_hold("r2", a_touch(0, budget=DAY))) is not None


async def test_a_budget_that_only_alerts_is_booked_without_a_hold(wing: Wing) -> None:
    alert = a_budget(name="alert", limit=1, on_exhausted=OnExhausted.ALERT)
    await wing.ledger.reserve(a_hold("r1", a_touch(40, budget=DAY)))
    await wing.ledger.settle("r1", a_record("r1"), [a_touch(25, budget=DAY), a_touch(25, budget=alert)])
    assert await standing(wing, DAY) == Standing(25, 0)
    assert await standing(wing, alert) == Standing(25, 0)


async def test_a_request_without_a_hold_is_settled_all_the_same(wing: Wing) -> None:
    await wing.ledger.settle("r1", a_record("r1", status=400, outcome=Outcome.REFUSED), [])
    assert await ids(wing) == [("r1", Outcome.REFUSED)]


async def test_a_late_settlement_lands_in_the_window_of_its_admission(wing: Wing) -> None:
    yesterday = a_touch(40, budget=DAY, at=NOON - timedelta(days=1))
    await wing.ledger.reserve(a_hold("r1", yesterday))
    await wing.ledger.settle("r1", a_record("r1"), [replace(yesterday, amount=25)])
    assert await standing(wing, DAY) == Standing()
    found = await wing.reports.standings([DAY], NOON - timedelta(days=1))
    assert [row.standing for row in found] == [Standing(25, 0)]


async def test_a_top_up_replaces_what_is_held_up_or_down(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(10)))
    touches = (a_touch(90, budget=DAY), a_touch(5, budget=TOKENS, bucket="alice"), a_touch(10, budget=MONTH))
    assert await wing.ledger.top_up(a_hold("r1", *touches, sequence=2)) is None
    assert await standings(wing) == ((0, 90), (0, 5), (0, 10))


async def test_a_refused_top_up_leaves_the_old_hold(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(40)))
    await wing.ledger.reserve(a_hold("r2", a_touch(50, budget=DAY)))
    refused = await wing.ledger.top_up(a_hold("r1", *three(51), sequence=2))
    assert refused == Shortage(a_touch(51, budget=DAY), Standing(0, 90))
    assert await standings(wing) == ((0, 90), (0, 40), (0, 40))
    assert await wing.ledger.top_up(a_hold("r1", *three(50), sequence=2)) is None
    assert await standings(wing) == ((0, 100), (0, 50), (0, 50))


async def test_a_top_up_checks_only_what_grows(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(40)))
    await wing.ledger.settle("r2", a_record("r2"), [a_touch(500, budget=DAY)])
    touches = (a_touch(30, budget=DAY), a_touch(40, budget=TOKENS, bucket="alice"), a_touch(60, budget=MONTH))
    assert await wing.ledger.top_up(a_hold("r1", *touches, sequence=2)) is None
    assert await standings(wing) == ((500, 30), (0, 40), (0, 60))


async def test_a_top_up_may_move_to_other_buckets(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(40)))
    assert await wing.ledger.top_up(a_hold("r1", a_touch(60, budget=MONTH), sequence=2)) is None
    assert await standings(wing) == ((0, 0), (0, 0), (0, 60))


@pytest.mark.parametrize("sequence", [1, 2])
async def test_a_repeated_or_late_top_up_changes_nothing(wing: Wing, sequence: int) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(10)))
    await wing.ledger.top_up(a_hold("r1", *three(20), sequence=2))
    assert await wing.ledger.top_up(a_hold("r1", *three(30), sequence=sequence)) is None
    assert await standings(wing) == ((0, 20), (0, 20), (0, 20))


async def test_a_top_up_of_a_request_that_is_over_changes_nothing(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(10)))
    await wing.ledger.settle("r1", a_record("r1"), three(10))
    await wing.ledger.reserve(a_hold("r2", *three(10)))
    await wing.ledger.void("r2")
    for request_id in ("r1", "r2"):
        assert await wing.ledger.top_up(a_hold(request_id, *three(20), sequence=2)) is None
    assert await standings(wing) == ((10, 0), (10, 0), (10, 0))


async def test_a_settlement_releases_what_the_last_top_up_held(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(10)))
    await wing.ledger.top_up(a_hold("r1", *three(50), sequence=2))
    await wing.ledger.settle("r1", a_record("r1"), three(45))
    assert await standings(wing) == ((45, 0), (45, 0), (45, 0))


async def test_holds_are_found_once_their_lease_has_run_out(wing: Wing) -> None:
    early = a_hold("early", a_touch(1, budget=DAY), lease_until=NOON + MINUTE)
    late = a_hold("late", *three(2), lease_until=NOON + 2 * MINUTE)
    await wing.ledger.reserve(late)
    await wing.ledger.reserve(early)
    assert await wing.ledger.expired_holds(NOON + MINUTE - timedelta(microseconds=1)) == []
    assert await wing.ledger.expired_holds(NOON + MINUTE) == [early]
    assert await wing.ledger.expired_holds(NOON + 2 * MINUTE) == [early, late]
    assert await wing.ledger.expired_holds(NOON + 2 * MINUTE, limit=1) == [early]


async def test_a_hold_is_found_as_it_was_last_topped_up(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(10)))
    topped_up = a_hold(
        "r1", *three(20), sequence=2, draft=a_record("r1", charged_picodollars=1, outcome=Outcome.EXPIRED)
    )
    await wing.ledger.top_up(topped_up)
    assert await wing.ledger.expired_holds(NOON + MINUTE) == [topped_up]


async def test_a_renewed_lease_never_moves_back(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", lease_until=NOON + MINUTE))
    for minutes in (3, 2):
        await wing.ledger.renew("r1", NOON + minutes * MINUTE)
    assert await wing.ledger.expired_holds(NOON + 2 * MINUTE) == []
    assert await wing.ledger.expired_holds(NOON + 3 * MINUTE) == [a_hold("r1", lease_until=NOON + 3 * MINUTE)]


async def test_renewing_a_request_that_is_over_changes_nothing(wing: Wing) -> None:
    await wing.ledger.renew("r1", NOON + MINUTE)
    assert await wing.ledger.expired_holds(NOON + MINUTE) == []


async def swept(wing: Wing, request_id: str, touches: Sequence[Touch]) -> RequestRecord:
    hold = a_hold(request_id, *touches)
    await wing.ledger.reserve(hold)
    await wing.ledger.settle(request_id, hold.draft, touches)
    return hold.draft


async def test_a_swept_hold_is_booked_and_gone(wing: Wing) -> None:
    draft = await swept(wing, "r1", three(40))
    assert await standings(wing) == ((40, 0), (40, 0), (40, 0))
    assert await wing.ledger.expired_holds(NOON + MINUTE) == []
    assert list((await wing.reports.requests()).rows) == [draft]


async def test_a_second_sweep_changes_nothing(wing: Wing) -> None:
    draft = await swept(wing, "r1", three(40))
    await wing.ledger.settle("r1", draft, three(40))
    assert await standings(wing) == ((40, 0), (40, 0), (40, 0))


async def test_a_settlement_after_the_sweep_books_the_difference_once(wing: Wing) -> None:
    await swept(wing, "r1", three(40))
    booked = [a_touch(25, budget=DAY), a_touch(45, budget=TOKENS, bucket="alice"), a_touch(40, budget=MONTH)]
    for _ in range(3):
        await wing.ledger.settle("r1", a_record("r1"), booked)
    assert await standings(wing) == ((25, 0), (45, 0), (40, 0))
    assert list((await wing.reports.requests()).rows) == [a_record("r1")]


async def test_a_correction_takes_back_what_only_the_sweep_booked(wing: Wing) -> None:
    await swept(wing, "r1", three(40))
    await wing.ledger.settle("r1", a_record("r1"), [a_touch(10, budget=MONTH)])
    assert await standings(wing) == ((0, 0), (0, 0), (10, 0))


async def test_a_correction_lands_in_the_window_of_the_admission(wing: Wing) -> None:
    yesterday = NOON - timedelta(days=1)
    await swept(wing, "r1", [a_touch(40, budget=DAY, at=yesterday)])
    await wing.ledger.settle("r1", a_record("r1"), [a_touch(25, budget=DAY, at=yesterday)])
    assert await standing(wing, DAY) == Standing()
    assert [row.standing for row in await wing.reports.standings([DAY], yesterday)] == [Standing(25, 0)]


async def test_a_sweep_after_the_settlement_changes_nothing(wing: Wing) -> None:
    hold = a_hold("r1", *three(40))
    await wing.ledger.reserve(hold)
    await wing.ledger.settle("r1", a_record("r1"), three(25))
    await wing.ledger.settle("r1", hold.draft, three(40))
    assert await standings(wing) == ((25, 0), (25, 0), (25, 0))
    assert list((await wing.reports.requests()).rows) == [a_record("r1")]


async def test_a_swept_request_cannot_spend_more(wing: Wing) -> None:
    await swept(wing, "r1", three(10))
    with pytest.raises(StoreFault, match="the hold of request r1 ran out"):
        await wing.ledger.top_up(a_hold("r1", *three(20), sequence=2))
    assert await standings(wing) == ((10, 0), (10, 0), (10, 0))


async def test_an_exhausted_bucket_refuses_until_its_limit_rises(wing: Wing) -> None:
    await wing.ledger.settle("r0", a_record("r0"), [a_touch(60, budget=DAY)])
    for _ in range(2):
        await wing.ledger.exhaust([a_touch(budget=DAY)])
    refused = await wing.ledger.reserve(a_hold("r1", a_touch(1, budget=DAY)))
    assert refused == Shortage(a_touch(1, budget=DAY), Standing(60, 0, is_marked=True))
    lowered, raised = replace(DAY, limit=99), replace(DAY, limit=101)
    assert await wing.ledger.reserve(a_hold("r1", a_touch(1, budget=lowered))) is not None
    assert [row.is_exhausted for row in await wing.reports.standings([DAY, raised], NOON)] == [True, False]
    assert await wing.ledger.reserve(a_hold("r1", a_touch(1, budget=raised))) is None


async def test_an_exhausted_window_does_not_close_the_next(wing: Wing) -> None:
    await wing.ledger.exhaust([a_touch(budget=DAY)])
    assert (
        await wing.ledger.reserve(a_hold("r1", a_touch(1, budget=DAY, at=NOON + timedelta(days=1)))) is None
    )


async def test_a_mark_of_a_lower_limit_does_not_undo_one_of_a_higher(wing: Wing) -> None:
    await wing.ledger.exhaust([a_touch(budget=DAY)])
    await wing.ledger.exhaust([a_touch(budget=replace(DAY, limit=50))])
    assert await wing.ledger.reserve(a_hold("r1", a_touch(1, budget=DAY))) is not None


async def test_an_exhausted_bucket_is_settled_and_shrinks_all_the_same(wing: Wing) -> None:
    await wing.ledger.reserve(a_hold("r1", *three(40)))
    await wing.ledger.exhaust(three(0))
    assert await wing.ledger.top_up(a_hold("r1", *three(30), sequence=2)) is None
    assert await wing.ledger.top_up(a_hold("r1", *three(31), sequence=3)) is not None
    await wing.ledger.settle("r1", a_record("r1"), three(30))
    assert await standings(wing) == ((30, 0), (30, 0), (30, 0))


async def test_a_lowered_limit_refuses_at_once(wing: Wing) -> None:
    await wing.ledger.settle("r0", a_record("r0"), [a_touch(60, budget=DAY)])
    lowered = a_touch(1, budget=replace(DAY, limit=60))
    assert await wing.ledger.reserve(a_hold("r1", lowered)) == Shortage(lowered, Standing(60, 0))


async def test_the_largest_limit_is_counted_exactly(wing: Wing) -> None:
    large = a_budget(name="large", usd=4_000_000)
    await wing.ledger.settle("r0", a_record("r0"), [a_touch(large.limit - 3, budget=large)])
    assert await wing.ledger.reserve(a_hold("r1", a_touch(4, budget=large))) is not None
    assert await wing.ledger.reserve(a_hold("r1", a_touch(3, budget=large))) is None
    await wing.ledger.settle("r1", a_record("r1"), [a_touch(large.limit, budget=large)])
    assert await standing(wing, large) == Standing(2 * large.limit - 3, 0)


async def test_a_hold_without_touches_is_a_hold(wing: Wing) -> None:
    hold: Hold = a_hold("r1")
    assert await wing.ledger.reserve(hold) is None
    assert await wing.ledger.expired_holds(NOON + MINUTE) == [hold]
