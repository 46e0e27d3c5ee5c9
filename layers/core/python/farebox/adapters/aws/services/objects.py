"""Objects in one bucket of Amazon S3: put and read back whole, with our own signed call.

Source: Amazon S3 API reference, PutObject and GetObject, read 2026-11. The bucket is named in the path, which
serves every endpoint alike.
"""

from __future__ import annotations

import hashlib

from farebox.adapters.aws.dynamodb.credentials import CredentialSource
from farebox.domain.errors import StoreFault, UpstreamFault
from farebox.ports import Clock
from farebox.wire.http import HttpRequest, Origin, Timeouts, Transport, read_whole
from farebox.wire.sigv4 import Signer

TRIES = 3
TIMEOUTS = Timeouts(connect_ms=1_000, first_byte_ms=3_000, idle_ms=3_000, total_ms=10_000)


class BucketObjects:
    """The objects of one bucket."""

    def __init__(
        self,
        transport: Transport,
        origin: Origin,
        region: str,
        credentials: CredentialSource,
        clock: Clock,
        *,
        bucket: str,
    ) -> None:
        self._transport, self._origin, self._bucket = transport, origin, bucket
        self._signer = Signer(region, "s3")
        self._credentials, self._clock = credentials, clock

    async def put(self, name: str, data: bytes) -> None:
        """Write an object, in place of one of this name. Raises `StoreFault`."""
        status, _ = await self._call(b"PUT", name, data)
        if status != 200:
            raise StoreFault(f"S3 does not take {name}: status {status}")

    async def get(self, name: str) -> bytes | None:
        """Read an object, None where there is none. Raises `StoreFault`."""
        status, data = await self._call(b"GET", name)
        if status == 404:
            return None
        if status != 200:
            raise StoreFault(f"S3 does not give {name}: status {status}")
        return data

    async def _call(self, method: bytes, name: str, data: bytes = b"") -> tuple[int, bytes]:
        """Both methods can be repeated: what is written is the same again."""
        for number in range(1, TRIES + 1):
            try:
                status, answer = await self._send(method, name, data)
            except UpstreamFault as fault:
                if number == TRIES:
                    raise StoreFault(f"S3: {fault}") from fault
                continue
            if status < 500 or number == TRIES:
                break
        return status, answer

    async def _send(self, method: bytes, name: str, data: bytes) -> tuple[int, bytes]:
        target = f"/{self._bucket}/{name}".encode()
        headers = [(b"x-amz-content-sha256", hashlib.sha256(data).hexdigest().encode())]
        request = HttpRequest(method, self._origin, target, headers, data)
        credentials = await self._credentials.current()
        signed = self._signer.sign(request, credentials, self._clock.now())
        sent = HttpRequest(method, self._origin, target, signed, data)
        answer = await self._transport.send(sent, TIMEOUTS)
        return answer.status, await read_whole(answer, "S3")
