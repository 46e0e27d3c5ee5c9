"""Whatever the order of calls, repeated or late ones among them, the ledger does what the model does."""

import asyncio
import tempfile
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from farebox.adapters.local.store import LocalStore
from farebox.domain.budget import Shortage, Touch
from farebox.domain.errors import StoreFault
from farebox.domain.record import Outcome
from tests.contracts.ledger_model import LedgerModel, key_of
from tests.support.builders import NOON, FixedClock, a_budget, a_hold, a_record, a_scope, a_touch
from tests.support.wings import Wing, local_wing, open_store

Answer = TypeVar("Answer")

BUDGETS = (
    a_budget(name="day", limit=100),
    a_budget(name="tokens", tokens=60, scope=a_scope(user="*")),
    a_budget(name="total", limit=150, period="total"),
)
BUCKETS = ((0, ""), (1, "alice"), (1, "bob"), (2, ""))

requests = st.sampled_from(["r1", "r2", "r3", "r4", "r5", "r6"])
amounts = st.lists(
    st.tuples(st.sampled_from(BUCKETS), st.integers(0, 70)), max_size=3, unique_by=lambda each: each[0]
)


class LedgerMachine(RuleBasedStateMachine):
    """One ledger beside its model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.budgets = list(BUDGETS)
        self.now = NOON
        self.model = LedgerModel()

    @initialize()
    def open(self) -> None:
        self.store: LocalStore = open_store(Path(self.folder.name))
        self.wing: Wing = local_wing(self.store, FixedClock())

    def teardown(self) -> None:
        self.store.close()
        self.loop.close()
        self.folder.cleanup()

    @rule(request=requests, amounts=amounts)
    def reserve(self, request: str, amounts: list[tuple[tuple[int, str], int]]) -> None:
        touches = self.touches(amounts)
        expected = self.model.reserve(request, touches)
        self.compare(self.run(self.wing.ledger.reserve(a_hold(request, *touches))), expected)

    @rule(request=requests, amounts=amounts, sequence=st.integers(1, 4))
    def top_up(self, request: str, amounts: list[tuple[tuple[int, str], int]], sequence: int) -> None:
        touches = self.touches(amounts)
        call = self.wing.ledger.top_up(a_hold(request, *touches, sequence=sequence))
        if request in self.model.swept:
            with pytest.raises(StoreFault):
                self.run(call)
            return
        expected = self.model.top_up(request, sequence, touches)
        self.compare(self.run(call), expected)

    @rule(request=requests)
    def void(self, request: str) -> None:
        self.model.void(request)
        self.run(self.wing.ledger.void(request))

    @rule(request=requests, amounts=amounts, is_sweep=st.booleans())
    def settle(self, request: str, amounts: list[tuple[tuple[int, str], int]], is_sweep: bool) -> None:
        touches = self.touches(amounts)
        self.model.settle(request, touches, is_sweep=is_sweep)
        outcome = Outcome.EXPIRED if is_sweep else Outcome.FINISHED
        self.run(self.wing.ledger.settle(request, a_record(request, outcome=outcome), touches))

    @rule(bucket=st.sampled_from(BUCKETS))
    def exhaust(self, bucket: tuple[int, str]) -> None:
        (touch,) = self.touches([(bucket, 0)])
        self.model.exhaust(touch)
        self.run(self.wing.ledger.exhaust([touch]))

    @rule(number=st.integers(0, 2), limit=st.integers(0, 200))
    def change_limit(self, number: int, limit: int) -> None:
        self.budgets[number] = replace(self.budgets[number], limit=limit)

    @rule(days=st.integers(0, 1))
    def turn_to_a_day(self, days: int) -> None:
        """Go on in the next window, or with what is late in the one before."""
        self.now = NOON + timedelta(days=days)

    @rule(number=st.integers(0, 2))
    def reset(self, number: int) -> None:
        budget = self.budgets[number]
        self.model.reset(budget, self.now)
        self.run(self.wing.reports.reset(budget, None, self.now, "root"))

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @invariant()
    def every_bucket_stands_where_the_model_says(self) -> None:
        """I2, I8, I9, I24: the model holds to them by construction."""
        rows = self.run(self.wing.reports.standings(self.budgets, self.now))
        found = {(row.budget.name, row.bucket): row.standing for row in rows}
        for touch in self.touches([(bucket, 0) for bucket in BUCKETS]):
            expected = self.model.standing(touch)
            stored = found.get((touch.budget.name, touch.bucket))
            assert stored == expected or (stored is None and not (expected.settled or expected.held))

    @invariant()
    def every_sum_is_the_sum_of_its_rows(self) -> None:
        """I9, I21: `held` is the sum of open holds, `settled` that of rows."""
        assert self.run(self.wing.reports.verify()) == []

    @invariant()
    def every_request_that_ended_has_one_row(self) -> None:
        """I8, I11: once settled, or once swept and at most once corrected."""
        page = self.run(self.wing.reports.requests())
        assert sorted(record.id for record in page.rows) == sorted(self.model.booked)
        assert {record.id for record in page.rows if record.outcome is Outcome.EXPIRED} == self.model.swept

    def touches(self, amounts: list[tuple[tuple[int, str], int]]) -> list[Touch]:
        return [
            a_touch(amount, budget=self.budgets[number], bucket=bucket, at=self.now)
            for (number, bucket), amount in amounts
        ]

    def compare(self, shortage: Shortage | None, expected: tuple[str, str, str, str] | None) -> None:
        """I1, I2, I5, I7, I12: all or nothing, refused exactly where the model is short."""
        assert (None if shortage is None else key_of(shortage.touch)) == expected
        if shortage is not None:
            assert shortage.standing == self.model.standing(shortage.touch)

    def run(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        return self.loop.run_until_complete(call)


def test_the_ledger_does_what_the_model_does() -> None:
    run_state_machine_as_test(
        LedgerMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_the_ledger_does_what_the_model_does_at_length() -> None:
    run_state_machine_as_test(
        LedgerMachine, settings=settings(max_examples=250, stateful_step_count=60, deadline=None)
    )
