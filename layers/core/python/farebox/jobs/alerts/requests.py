"""What single ledger rows give reason to tell: a session that a brake stopped, a model without a price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from farebox.domain.price import normalised_model
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.usage import CostStatus
from farebox.jobs.alerts.words import AlertWords
from farebox.ports import Clock
from farebox.ports.behind import Alert, AlertTopic, Notices

AGAIN_AFTER = timedelta(days=1)
"""The same session, or model, is told once a day."""

_BRAKES = frozenset({"BrakeSpent", "BrakeExceeded"})


@dataclass(frozen=True, slots=True)
class RequestAlerts:
    """Tells each thing once, whichever of its requests comes first."""

    notices: Notices
    topic: AlertTopic
    words: AlertWords
    clock: Clock

    async def look(self, records: Iterable[RequestRecord]) -> int:
        """Tell what is new; give how many alerts. Raises `StoreFault` where one could not be told."""
        told = 0
        found = {name: word for record in records for name, word in self._reasons(record)}
        for name, word in found.items():
            if await self.notices.claim(name, self.clock.now()):
                await self.topic.publish(word())
                await self.notices.told(name, self.clock.now() + AGAIN_AFTER)
                told += 1
        return told

    def _reasons(self, record: RequestRecord) -> Iterator[tuple[str, Callable[[], Alert]]]:
        if record.error_type in _BRAKES and record.outcome is Outcome.REFUSED:
            # Sessions are named by clients: another key's of the same name is another one.
            name = f"runaway#{record.key_id}#{record.session_id}"
            yield name, lambda: self.words.runaway(record)
        # What was not served has no cost to be known, and its model may be made up.
        if record.cost_status is CostStatus.UNPRICED and record.status == 200:
            name = f"unpriced#{record.provider}#{normalised_model(record.model)}"
            yield name, lambda: self.words.unpriced(record)
