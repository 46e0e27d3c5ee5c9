"""The x-ratelimit-* headers: what the tightest limit of each kind leaves. `docs/limits.md` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from farebox.domain.budget.rate_limit import Level, LimitUnit, tightest
from farebox.wire.http import Headers

PREFIX = b"x-ratelimit-"


def limit_headers(levels: Sequence[Level], now: datetime) -> Headers:
    """Give limit, remaining and whole seconds until nothing counts any more, for requests and for tokens."""
    headers: Headers = []
    for unit in (LimitUnit.REQUESTS, LimitUnit.TOKENS):
        level = tightest(levels, unit)
        if level is not None:
            told = (level.draw.limit.limit, level.remaining, whole_seconds(level.empty_at - now))
            names = (b"limit-", b"remaining-", b"reset-")
            headers += [
                (PREFIX + name + unit.encode(), str(number).encode())
                for name, number in zip(names, told, strict=True)
            ]
    return headers


def with_limits(headers: Headers, own: Headers) -> Headers:
    """Put our limits in the place of those that a provider may have sent under the same names."""
    names = {name for name, _ in own}
    return [pair for pair in headers if pair[0] not in names] + own


def whole_seconds(span: timedelta) -> int:
    """Round up, so that waiting for so long is enough."""
    return max(0, -(-span // timedelta(seconds=1)))
