"""One DynamoDB client: signs, sends, checks and tries again, within bounds."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.credentials import CredentialSource
from farebox.adapters.aws.dynamodb.errors import Failure, Unmet, failure_of
from farebox.domain.errors import StoreFault, UpstreamFault
from farebox.ports import Clock, Randomness
from farebox.wire.headers import find
from farebox.wire.http import HttpRequest, Origin, Timeouts, Transport, read_whole
from farebox.wire.sigv4 import AwsCredentials, Signer

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Patience(Struct, frozen=True):
    """How long one call may go on. The wait after try n is anything up to `base_ms * 2**n`, at most `cap_ms`.

    No try starts after `total_ms`.
    """

    tries: int = 8
    base_ms: int = 10
    cap_ms: int = 400
    total_ms: int = 4_000
    timeouts: Timeouts = Timeouts(connect_ms=1_000, first_byte_ms=1_500, idle_ms=1_500, total_ms=2_000)


class Service(Struct, frozen=True):
    """Where DynamoDB is."""

    origin: Origin
    region: str

    @classmethod
    def of_region(cls, region: str) -> Service:
        """Give the regional endpoint."""
        return cls(Origin("https", f"dynamodb.{region}.amazonaws.com", 443), region)


class DynamoClient:
    """Calls operations by name with the JSON of the API. One for a process, whatever its tables."""

    def __init__(
        self,
        transport: Transport,
        service: Service,
        credentials: CredentialSource,
        *,
        clock: Clock,
        randomness: Randomness,
        patience: Patience = Patience(),  # noqa: B008  # frozen
    ) -> None:
        self._transport, self._origin = transport, service.origin
        self._signer = Signer(service.region, "dynamodb")
        self._credentials = credentials
        self._clock, self._randomness = clock, randomness
        self._patience = patience

    async def call(self, operation: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Do one operation and give its answer.

        Raises `Unmet` when a condition did not hold, else `StoreFault` when there is no good answer in time;
        then the operation may still have been carried out, or may yet be.
        """
        body = _encode(payload)
        give_up_at = self._clock.monotonic_ms() + self._patience.total_ms
        is_unsure = False
        for number in range(1, self._patience.tries + 1):
            credentials = await self._credentials.current()
            try:
                status, answer = await self._send(operation, body, credentials)
            except UpstreamFault as fault:
                is_unsure = is_unsure or fault.dispatched
                detail = f"{operation}: {fault}"
            else:
                if status == 200:
                    return _decode(answer)
                failure = failure_of(status, answer)
                detail = f"{operation}: {failure.code} {failure.message}"
                self._decide(failure, detail, credentials, is_unsure=is_unsure, is_first=number == 1)
                is_unsure = is_unsure or failure.is_unsure
            wait_ms = self._wait_ms(number)
            if number == self._patience.tries or self._clock.monotonic_ms() + wait_ms > give_up_at:
                break
            await asyncio.sleep(wait_ms / 1000)
        raise StoreFault(detail)

    async def pause(self, tries: int) -> None:
        """Wait as before another try, for callers that ask again for what they did not get."""
        await asyncio.sleep(self._wait_ms(tries) / 1000)

    def token(self) -> str:
        """Give a new random name for one attempt to change something."""
        return self._randomness.bytes(12).hex()

    def _decide(
        self, failure: Failure, detail: str, credentials: AwsCredentials, *, is_unsure: bool, is_first: bool
    ) -> None:
        """Return when it is worth another try, else raise."""
        if failure.is_unmet:
            raise Unmet(failure.reasons, is_unsure=is_unsure)
        if failure.is_stale_credentials and is_first:
            self._credentials.distrust(credentials)
        elif not failure.is_passing:
            raise StoreFault(detail)

    async def _send(self, operation: str, body: bytes, credentials: AwsCredentials) -> tuple[int, bytes]:
        headers = [
            (b"accept-encoding", b"identity"),
            (b"content-type", b"application/x-amz-json-1.0"),
            (b"x-amz-target", f"DynamoDB_20120810.{operation}".encode()),
        ]
        request = HttpRequest(b"POST", self._origin, b"/", headers, body)
        signed = self._signer.sign(request, credentials, self._clock.now())
        exchange = await self._transport.send(replace(request, headers=signed), self._patience.timeouts)
        answer = await read_whole(exchange, "DynamoDB")
        checksum = find(exchange.headers, b"x-amz-crc32")
        if checksum is not None and checksum != str(zlib.crc32(answer)).encode():
            raise UpstreamFault("the answer was changed on its way")
        return exchange.status, answer

    def _wait_ms(self, tries: int) -> float:
        """Full jitter: conflicting writers that wait the same time would meet again."""
        most = min(self._patience.cap_ms, self._patience.base_ms << tries)
        return most * int.from_bytes(self._randomness.bytes(4), "big") / 4_294_967_296
