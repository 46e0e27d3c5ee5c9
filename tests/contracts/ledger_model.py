"""What a ledger means, in dictionaries: the yardstick for every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from farebox.domain.budget import Budget, Standing, Touch

BucketKey = tuple[str, str, str, str]


def key_of(touch: Touch) -> BucketKey:
    return (touch.budget.name, touch.budget.unit, touch.bucket, touch.window.key)


@dataclass
class LedgerModel:
    """Every method says what the real one has to answer: whether the bucket with this key is short."""

    settled: dict[BucketKey, int] = field(default_factory=dict)
    marks: dict[BucketKey, int] = field(default_factory=dict)
    holds: dict[str, tuple[int, dict[BucketKey, int]]] = field(default_factory=dict)
    booked: dict[str, dict[BucketKey, int]] = field(default_factory=dict)
    swept: set[str] = field(default_factory=set)

    def held(self, key: BucketKey) -> int:
        return sum(amounts.get(key, 0) for _, amounts in self.holds.values())

    def standing(self, touch: Touch) -> Standing:
        key = key_of(touch)
        return Standing(
            self.settled.get(key, 0), self.held(key), self.marks.get(key, -1) >= touch.budget.limit
        )

    def is_short(self, touch: Touch, growth: int) -> bool:
        standing = self.standing(touch)
        return standing.is_marked or standing.settled + standing.held + growth > touch.budget.limit

    def reserve(self, request_id: str, touches: Sequence[Touch]) -> BucketKey | None:
        if request_id in self.holds or request_id in self.booked:
            return None
        for touch in touches:
            if self.is_short(touch, touch.amount):
                return key_of(touch)
        self.holds[request_id] = (1, {key_of(touch): touch.amount for touch in touches})
        return None

    def top_up(self, request_id: str, sequence: int, touches: Sequence[Touch]) -> BucketKey | None:
        if request_id not in self.holds or sequence <= self.holds[request_id][0]:
            return None
        old = self.holds[request_id][1]
        for touch in touches:
            growth = touch.amount - old.get(key_of(touch), 0)
            if growth > 0 and self.is_short(touch, growth):
                return key_of(touch)
        self.holds[request_id] = (sequence, {key_of(touch): touch.amount for touch in touches})
        return None

    def void(self, request_id: str) -> None:
        self.holds.pop(request_id, None)

    def settle(self, request_id: str, touches: Sequence[Touch], *, is_sweep: bool) -> None:
        self.holds.pop(request_id, None)
        if request_id in self.booked and (is_sweep or request_id not in self.swept):
            return
        self._book(self.booked.get(request_id, {}), -1)
        self.booked[request_id] = {key_of(touch): touch.amount for touch in touches}
        self._book(self.booked[request_id], +1)
        if is_sweep:
            self.swept.add(request_id)
        else:
            self.swept.discard(request_id)

    def exhaust(self, touch: Touch) -> None:
        self.marks[key_of(touch)] = max(self.marks.get(key_of(touch), 0), touch.budget.limit)

    def reset(self, budget: Budget, now: datetime) -> None:
        window = budget.window_at(now).key
        for key in {*self.settled, *self.marks}:
            is_exhausted = self.marks.get(key, -1) >= budget.limit
            if (key[0], key[3]) == (budget.name, window) and (self.settled.get(key) or is_exhausted):
                self.settled.pop(key, None)
                self.marks.pop(key, None)

    def _book(self, amounts: dict[BucketKey, int], sign: int) -> None:
        for key, amount in amounts.items():
            self.settled[key] = self.settled.get(key, 0) + sign * amount
