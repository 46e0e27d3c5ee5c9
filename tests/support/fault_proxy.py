"""What can go wrong between farebox and DynamoDB, on purpose: a proxy that spoils requests as a script says.

async with FaultProxy(server.port, [Fault.PASS, Fault.CUT_AFTER]) as proxy:
    ...  # the first request passes, the answer to the second is lost, all later ones pass
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import deque
from collections.abc import Iterable
from enum import Enum
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
DELAY_S = 0.005


class Fault(Enum):
    """What becomes of one request. LATE ones are lost to the client and carried out after the next one."""

    PASS = "pass"
    CONFLICT = "conflict"
    THROTTLED_TRANSACTION = "throttled transaction"
    CAPACITY_TRANSACTION = "transaction beyond capacity"
    INVALID_TRANSACTION = "transaction called invalid"
    CROWDED_TRANSACTION = "transaction on a full collection"
    THROTTLE = "throttle"
    IN_PROGRESS = "in progress"
    SERVER_ERROR = "server error"
    SERVER_ERROR_AFTER = "server error, though it was done"
    DELAY = "delay"
    CUT_BEFORE = "cut before forwarding"
    CUT_AFTER = "cut after forwarding"
    TWICE = "forwarded twice"
    LATE = "forwarded late"
    CORRUPT = "answer changed on its way"


_ANSWERED = {
    Fault.THROTTLE: (400, "ProvisionedThroughputExceededException"),
    Fault.IN_PROGRESS: (400, "TransactionInProgressException"),
    Fault.SERVER_ERROR: (500, "InternalServerError"),
    Fault.SERVER_ERROR_AFTER: (500, "InternalServerError"),
}
# All reasons for which DynamoDB cancels a transaction, but for conditions, which it decides itself.
# Source: TransactWriteItems in the API reference, read 2026-11.
_REASONS = {
    Fault.CONFLICT: "TransactionConflict",
    Fault.THROTTLED_TRANSACTION: "ThrottlingError",
    Fault.CAPACITY_TRANSACTION: "ProvisionedThroughputExceeded",
    Fault.INVALID_TRANSACTION: "ValidationError",
    Fault.CROWDED_TRANSACTION: "ItemCollectionSizeLimitExceeded",
}
_DONE_FIRST = frozenset({Fault.CUT_AFTER, Fault.SERVER_ERROR_AFTER, Fault.TWICE, Fault.CORRUPT})
_CUT = frozenset({Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.LATE})


class FaultProxy:
    """Stands in front of `target`. `seen` has the operations that arrived, `spoilt` what was done to writes.

    Reads are never spoilt unless `spoils_reads`: they cannot lose money, and a script is used up by writes.
    With `forgets_tokens` transactions lose their client token, as DynamoDB forgets it after ten minutes. With
    `is_terse` a cancelled transaction names only the last of its failed conditions.
    """

    def __init__(
        self,
        target: int,
        faults: Iterable[Fault] = (),
        *,
        forgets_tokens: bool = False,
        spoils_reads: bool = False,
        is_terse: bool = False,
    ) -> None:
        self.faults = deque(faults)
        self.seen: list[str] = []
        self.spoilt: list[Fault] = []
        self._target = target
        self._forgets_tokens, self._spoils_reads, self._is_terse = forgets_tokens, spoils_reads, is_terse
        self._late: deque[bytes] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._start, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def deliver_late(self) -> None:
        """Carry out what still is on its way."""
        while self._late:
            await self._forward(self._late.popleft())

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not at the end of `_serve`: a task that is cancelled before its first step never gets there.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _message(reader)) is not None:
                answer = await self._answer(request)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            # The client has gone; so will this connection.
            return

    async def _answer(self, request: bytes) -> bytes | None:
        operation = _operation(request)
        self.seen.append(operation)
        is_write = operation not in {"GetItem", "BatchGetItem", "Query", "Scan"}
        fault = self.faults.popleft() if self.faults and (is_write or self._spoils_reads) else Fault.PASS
        if fault is not Fault.PASS:
            self.spoilt.append(fault)
        if self._forgets_tokens:
            request = _without_token(request)
        return await self._spoil(fault, request, operation)

    async def _spoil(self, fault: Fault, request: bytes, operation: str) -> bytes | None:
        late = list(self._late)
        self._late.clear()
        if fault is Fault.LATE:
            self._late.append(request)
        if fault is Fault.DELAY:
            await asyncio.sleep(DELAY_S)
        answer = None
        if fault in _DONE_FIRST:
            answer = await self._forward(request)
        if fault is Fault.TWICE:
            answer = await self._forward(request)
        if fault in _CUT:
            answer = None
        elif fault in _ANSWERED:
            answer = _error(*_ANSWERED[fault])
        elif fault in _REASONS:
            is_transaction = operation == "TransactWriteItems"
            answer = (
                _cancelled(request, _REASONS[fault]) if is_transaction else _error(400, "ThrottlingException")
            )
        elif fault is Fault.CORRUPT:
            answer = _changed(answer or b"")
        elif answer is None:
            answer = await self._forward(request)
        for earlier in late:
            await self._forward(earlier)
        return answer

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, self._target)
        try:
            writer.write(request)
            answer = await _message(reader)
        finally:
            writer.transport.abort()
        assert answer is not None, "the server hung up"
        return _tersely(answer) if self._is_terse else answer


async def _message(reader: asyncio.StreamReader) -> bytes | None:
    """Read one request or answer whole, or None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    size = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
    return head + await reader.readexactly(size)


def _operation(request: bytes) -> str:
    head = request.partition(b"\r\n\r\n")[0]
    (target,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"x-amz-target:"))
    return target.rpartition(b".")[2].decode()


def _without_token(request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    document = json.loads(body)
    if document.pop("ClientRequestToken", None) is None:
        return request
    shorter = json.dumps(document).encode()
    old = b"content-length: %d" % len(body)
    assert old in head
    return head.replace(old, b"content-length: %d" % len(shorter)) + b"\r\n\r\n" + shorter


def _cancelled(request: bytes, code: str) -> bytes:
    actions = json.loads(request.partition(b"\r\n\r\n")[2])["TransactItems"]
    reasons = [{"Code": code}, *({"Code": "None"} for _ in actions[1:])]
    return _error(400, "TransactionCanceledException", CancellationReasons=reasons)


def _error(status: int, code: str, **more: Any) -> bytes:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "on purpose", **more}
    return _http(status, json.dumps(body).encode())


def _http(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\nx-amz-crc32: {zlib.crc32(body)}\r\n\r\n"
    return head.encode() + body


def _tersely(answer: bytes) -> bytes:
    status, body = int(answer.split(b" ", 2)[1]), json.loads(answer.partition(b"\r\n\r\n")[2])
    reasons = body.get("CancellationReasons", [])
    failed = [number for number, reason in enumerate(reasons) if reason["Code"] != "None"]
    for number in failed[:-1]:
        reasons[number] = {"Code": "None"}
    return _http(status, json.dumps(body).encode())


def _changed(answer: bytes) -> bytes:
    """Give the answer with one bit turned over in its body."""
    return answer[:-1] + bytes([answer[-1] ^ 1])
