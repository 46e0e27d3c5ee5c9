"""What single ledger rows give reason to tell: a session that a brake stopped, a model without a price."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from msgspec import Struct

from farebox.domain.errors import StoreFault
from farebox.domain.price import normalised_model
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus
from farebox.jobs.alerts.words import AlertWords
from farebox.ports import Clock
from farebox.ports.behind import Alert, AlertTopic, Notices

AGAIN_AFTER = timedelta(days=1)
"""The same session, or model, is told once a day."""

OLD_AFTER = timedelta(days=1)
"""What is sent again later than this is for the sums: there is nothing left to stop."""

PLACES_A_DAY = 5
"""Of each kind for each key. Clients choose names of sessions and models, and could fill every mailbox."""

FAULTS_MAX = 3
"""After so many in a row the topic is away, and asking on would take longer than the function may."""

_BRAKES = frozenset({"BrakeSpent", "BrakeExceeded"})

_log = logging.getLogger("farebox.alerts")


class Looked(Struct, frozen=True):
    """How many alerts were told, and the requests whose alert was not taken: they should come again."""

    told: int
    failed: frozenset[str]


class Reason(Struct, frozen=True):
    """One thing to tell. `name` is the same for every request that tells it, `kept_apart` for every one that
    shares its places a day.
    """

    name: str
    kept_apart: str
    record: RequestRecord
    word: Callable[[RequestRecord, bool], Alert]


class RequestAlerts(Struct, frozen=True):
    """Tells each thing once, whichever of its requests comes first."""

    notices: Notices
    topic: AlertTopic
    words: AlertWords
    clock: Clock

    async def look(self, records: Iterable[RequestRecord]) -> Looked:
        """Tell what is new, and give what could not be told."""
        oldest = self.clock.now() - OLD_AFTER
        found = [reason for record in records if record.at >= oldest for reason in self._reasons(record)]
        # By key too: one whose places are gone does not speak for another.
        reasons = {(reason.name, reason.kept_apart): reason for reason in found}
        told = faults = 0
        failed: set[str] = set()
        for reason in reasons.values():
            if faults == FAULTS_MAX:
                failed.add(reason.record.id)
                continue
            try:
                told += await self._tell(reason)
                faults = 0
            except StoreFault as fault:
                _log.warning("request %s: nobody was told: %s", reason.record.id, fault)
                failed.add(reason.record.id)
                faults += 1
        return Looked(told, frozenset(failed))

    async def _tell(self, reason: Reason) -> bool:
        now = self.clock.now()
        if not await self.notices.claim(reason.name, now):
            return False
        place = await self._place(reason.kept_apart)
        if place is None:
            _log.warning("request %s: its key has had its alerts of a day", reason.record.id)
            await self.notices.told(reason.name, now)  # somebody else's request may tell it
            return False
        await self.topic.publish(reason.word(reason.record, place == PLACES_A_DAY - 1))
        for name in (reason.name, _place_name(reason.kept_apart, place)):
            await self.notices.told(name, now + AGAIN_AFTER)
        return True

    async def _place(self, kept_apart: str) -> int | None:
        """Claim the next of a key's places; None where it has had all of today's."""
        for place in range(PLACES_A_DAY):
            if await self.notices.claim(_place_name(kept_apart, place), self.clock.now()):
                return place
        return None

    def _reasons(self, record: RequestRecord) -> Iterator[Reason]:
        if record.error_type in _BRAKES and record.outcome is Outcome.REFUSED:
            # Sessions are named by clients: another key's of the same name is another one.
            kept_apart = f"runaway#{record.key_id}"
            yield Reason(f"{kept_apart}#{record.session_id}", kept_apart, record, self.words.runaway)
        # What was not served has no cost to be known, and its model may be made up.
        if record.cost_status is CostStatus.UNPRICED and record.status == 200:
            name = f"unpriced#{record.provider}#{normalised_model(record.model)}"
            yield Reason(name, f"unpriced#{record.key_id}", record, self.words.unpriced)


def _place_name(kept_apart: str, place: int) -> str:
    return f"place#{place}#{kept_apart}"
