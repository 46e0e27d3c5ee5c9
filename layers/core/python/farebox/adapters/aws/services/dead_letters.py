"""How many messages wait in the queues of dead letters.

Source: SQS API reference, GetQueueAttributes, JSON protocol, read 2026-11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from farebox.adapters.aws.services.call import AwsService

# Those that somebody looks at just now are hidden from others, and have not gone: they would be news again.
_DEPTHS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
_HEADERS = [
    (b"accept-encoding", b"identity"),
    (b"content-type", b"application/x-amz-json-1.0"),
    (b"x-amz-target", b"AmazonSQS.GetQueueAttributes"),
]


class _Attributes(msgspec.Struct, rename="pascal"):
    attributes: dict[str, str]


_attributes = msgspec.json.Decoder(_Attributes).decode


class QueuedDeadLetters:
    """Fills `ports.DeadLetters` for queues by their URLs."""

    def __init__(self, service: AwsService, queue_urls: Sequence[str]) -> None:
        self._service, self._queue_urls = service, tuple(queue_urls)

    async def waiting(self) -> Mapping[str, int]:
        """Count by the queues' names, about. Raises `StoreFault`."""
        depths = await asyncio.gather(*(self._depth(url) for url in self._queue_urls))
        return {url.rpartition("/")[2]: depth for url, depth in zip(self._queue_urls, depths, strict=True)}

    async def _depth(self, url: str) -> int:
        body = msgspec.json.encode({"QueueUrl": url, "AttributeNames": _DEPTHS})
        told = _attributes(await self._service.post(_HEADERS, body)).attributes
        return sum(int(told[name]) for name in _DEPTHS)
