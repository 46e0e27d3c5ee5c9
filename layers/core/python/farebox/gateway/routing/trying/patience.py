"""Whether an attempt that failed is made again at the same target, and after how long a wait."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from farebox.domain.routing.tree import Retry
from farebox.gateway.routing.trying.failure import Failure
from farebox.ports import Randomness
from farebox.wire.headers import find
from farebox.wire.http import Headers

_SECONDS = (b"retry-after",)
_MILLISECONDS = (b"retry-after-ms", b"x-ms-retry-after-ms")
# The three forms that RFC 9110 section 5.6.7 wants read.
_DATE_FORMS = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
_WAIT_MS_MAX = 86_400_000


class Patience(Struct, frozen=True):
    """How long one request is tried for, from its first byte to us.

    No retry is begun later than `retry_within_ms`, since clients retry too and theirs come on top; no target
    is turned to later than `answer_within_ms`, when they have given up on us (Claude Code does after 360 s).
    """

    retry_within_ms: int = 60_000
    answer_within_ms: int = 300_000
    backoff_ms: int = 500
    backoff_max_ms: int = 16_000

    def wait_ms(
        self,
        retry: Retry,
        failure: Failure,
        *,
        tried: int,
        elapsed_ms: int,
        randomness: Randomness,
        now: datetime,
    ) -> int | None:
        """Say how long to wait before the target is tried again after `tried` retries; None where it is not.

        What the provider asks for counts as it is; else the wait doubles, and half of it is drawn so that
        many who failed together do not come back together.
        """
        headers = failure.headers
        if tried >= retry.attempts or not _is_worth_it(retry, failure.status, headers):
            return None
        asked_ms = retry_after_ms(headers, now) if retry.heeds_retry_after else None
        wait_ms = self._backoff_ms(tried, randomness) if asked_ms is None else asked_ms
        return wait_ms if elapsed_ms + wait_ms <= self.retry_within_ms else None

    def _backoff_ms(self, tried: int, randomness: Randomness) -> int:
        most = min(self.backoff_max_ms, self.backoff_ms << tried)
        return most // 2 + most // 2 * int.from_bytes(randomness.bytes(2), "big") // 65_535


def _is_worth_it(retry: Retry, status: int, headers: Headers) -> bool:
    """Whether to try again: as the provider says, if it does, else by the status."""
    told = find(headers, b"x-should-retry")
    if told in (b"true", b"false"):
        return told == b"true"
    return status in retry.statuses


def retry_after_ms(headers: Headers, now: datetime) -> int | None:
    """Read how long a provider asks to be left alone: milliseconds first, then seconds, then a date.

    None where it does not say, or not in a form that can be read.
    """
    for name in _MILLISECONDS:
        wait = _number(find(headers, name))
        if wait is not None:
            return min(round(wait), _WAIT_MS_MAX)
    for name in _SECONDS:
        value = find(headers, name)
        wait = _number(value)
        if wait is None and value is not None:
            moment = _date(value)
            wait = None if moment is None else max(0.0, (moment - now).total_seconds())
        if wait is not None:
            return min(round(wait * 1000), _WAIT_MS_MAX)
    return None


def _number(value: bytes | None) -> float | None:
    if value is None or not value.replace(b".", b"", 1).isdigit() or len(value) > 15:
        return None
    return float(value)


def _date(value: bytes) -> datetime | None:
    text = value.decode("latin-1").strip()
    for form in _DATE_FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
