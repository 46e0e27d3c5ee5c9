"""Watches the queues of dead letters: told when there are more than were told, and again each day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from farebox.ports import Clock
from farebox.ports.behind import Alert, AlertTopic, DeadLetters, Notices

AGAIN_AFTER = timedelta(days=1)
"""What is left lying is told once a day."""


class DeadLetterWatch:
    """Looks when asked to; what it knows of the notices spares it writes while nothing changes."""

    def __init__(
        self,
        dead_letters: DeadLetters,
        notices: Notices,
        topic: AlertTopic,
        word: Callable[[str, int], Alert],
        clock: Clock,
    ) -> None:
        self._dead_letters, self._notices, self._topic = dead_letters, notices, topic
        self._word, self._clock = word, clock
        self._seen: dict[str, int] = {}

    async def look(self) -> tuple[int, int]:
        """Tell of every queue that has grown; give how many letters wait, and how many alerts were told.

        Raises `StoreFault` where one could not be told; it comes again at the next look.
        """
        told = 0
        waiting = await self._dead_letters.waiting()
        for queue, count in waiting.items():
            name = f"dead_letters#{queue}"
            if count < self._seen.get(queue, count + 1):
                await self._notices.recede(name, count)
            if count and await self._notices.claim(name, self._clock.now(), level=count):
                await self._topic.publish(self._word(queue, count))
                await self._notices.told(name, self._clock.now() + AGAIN_AFTER, level=count)
                told += 1
            self._seen[queue] = count
        return sum(waiting.values()), told
