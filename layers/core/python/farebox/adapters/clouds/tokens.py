"""Access tokens of a cloud: one fetch for all who wait, renewed early, replaced once they are refused.

Write a function that asks the endpoint, and give it to `AccessTokens`, one for each identity and scope. What
`current()` gives is a `Call.secret`: `providers/registry.py` asks it for another after a 401, and sends once
more. When it is fetched is told in `adapters/renewed.py`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from farebox.adapters.renewed import Renewed
from farebox.domain.errors import StoreFault
from farebox.ports import Clock
from farebox.ports.bearer import BearerToken

YOUNG_MS = 60_000
"""A token that is younger is not at fault when it is refused, and another would be refused too."""

_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def may_be_bearer(secret: str) -> bool:
    """Say whether a secret has the form of RFC 6750: JSON in quotes would be sent as it is, key and all."""
    return _BEARER.fullmatch(secret) is not None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a token endpoint gave."""

    text: str = field(repr=False)
    expires_at: datetime


class AccessTokens:
    """The tokens of one identity for one scope. `fetch` asks its endpoint and raises `StoreFault`."""

    def __init__(self, fetch: Callable[[], Awaitable[AccessToken]], clock: Clock) -> None:
        self._renewed, self._clock = Renewed(fetch, clock), clock

    async def current(self) -> BearerToken:
        """Give a token that is good now. Raises `StoreFault`."""
        token = await self._renewed.current()
        return BearerToken(token.text, partial(self._another, token))

    async def _another(self, refused: AccessToken) -> BearerToken | None:
        if self._clock.monotonic_ms() - self._renewed.fetched_ms >= YOUNG_MS:
            self._renewed.distrust(refused)
        try:
            token = await self.current()
        except StoreFault:
            return None  # the refusal stands, and the next request says what is wrong with the source
        return token if token.text != refused.text else None
