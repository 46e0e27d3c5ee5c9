"""One signed call to an AWS service beside DynamoDB, sent again while what is wrong may pass."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.credentials import CredentialSource
from farebox.domain.errors import StoreFault, UpstreamFault
from farebox.ports import Clock
from farebox.wire.http import Headers, HttpRequest, Origin, Timeouts, Transport, read_whole
from farebox.wire.sigv4 import Signer

PAUSES_S = (0.1, 0.4, 1.6)
"""Between tries: one try more than there are pauses."""

_TIMEOUTS = Timeouts(connect_ms=1_000, first_byte_ms=3_000, idle_ms=3_000, total_ms=5_000)
_PASSING = frozenset(
    {
        "InternalException",
        "InternalFailure",
        "InternalError",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceUnavailable",
        "Throttled",
        "Throttling",
        "ThrottlingException",
    }
)
_STALE_CREDENTIALS = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"})

# JSON protocols say `__type`, perhaps behind a namespace; the query protocol says `<Code>`.
_code = re.compile(rb'"__type"\s*:\s*"(?:[^"#]*#)?(\w[\w.]*)|<Code>(?:AWS\.)?([\w.]+)</Code>').search


class AwsService:
    """Posts to one service in one region. `service` is its name in signatures."""

    def __init__(
        self,
        transport: Transport,
        origin: Origin,
        region: str,
        service: str,
        credentials: CredentialSource,
        clock: Clock,
        *,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._transport, self._origin, self._name = transport, origin, service
        self._signer = Signer(region, service)
        self._credentials, self._clock = credentials, clock
        self._pauses_s = tuple(pauses_s)

    async def post(self, headers: Headers, body: bytes) -> bytes:
        """Give the body of a good answer.

        Raises `StoreFault` naming the service's own code; the call may have been carried out all the same.
        """
        request = HttpRequest(b"POST", self._origin, b"/", headers, body)
        detail = ""
        for pause_s in (*self._pauses_s, None):
            try:
                status, answer = await self._send(request)
            except UpstreamFault as fault:
                detail = f"{self._name}: {fault}"
            else:
                if status == 200:
                    return answer
                code = _code_of(answer)
                detail = f"{self._name}: {code or f'HTTP status {status}'}"
                if status < 500 and code not in _PASSING | _STALE_CREDENTIALS:
                    raise StoreFault(detail)
            if pause_s is not None:
                await self.pause(pause_s)
        raise StoreFault(detail)

    async def pause(self, seconds: float) -> None:
        """Wait before another try."""
        await asyncio.sleep(seconds)

    @property
    def pauses_s(self) -> Sequence[float]:
        """How long is waited between tries, also by who tries a part of a call again."""
        return self._pauses_s

    async def _send(self, request: HttpRequest) -> tuple[int, bytes]:
        credentials = await self._credentials.current()
        signed = self._signer.sign(request, credentials, self._clock.now())
        exchange = await self._transport.send(replace(request, headers=signed), _TIMEOUTS)
        answer = await read_whole(exchange, self._name)
        if exchange.status != 200 and _code_of(answer) in _STALE_CREDENTIALS:
            self._credentials.distrust(credentials)
        return exchange.status, answer


def _code_of(body: bytes) -> str:
    found = _code(body)
    return (found[1] or found[2]).decode() if found else ""
