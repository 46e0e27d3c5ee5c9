"""Facts that the rest of the house is told, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass

from farebox.domain.record import RequestRecord


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """A request ended and was booked, whatever its outcome."""

    record: RequestRecord


Event = RequestFinished
