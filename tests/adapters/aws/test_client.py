"""What the client does with answers: takes them, tries again within bounds, or says what happened."""

import dataclasses
import json
import zlib
from collections import deque
from copy import copy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

import pytest
from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.client import DynamoClient, Patience, Service
from farebox.adapters.aws.dynamodb.credentials import RenewedCredentials, StaticCredentials
from farebox.adapters.aws.dynamodb.errors import Reason, Unmet
from farebox.domain.errors import StoreFault, UpstreamCut, UpstreamFault, UpstreamUnreachable
from farebox.wire.headers import find
from farebox.wire.http import Headers, HttpAnswer, HttpRequest, Timeouts
from farebox.wire.sigv4 import AwsCredentials, Signer
from tests.support.builders import NOON, FixedClock

HASTE = Patience(base_ms=0, cap_ms=0)
FIRST, SECOND = AwsCredentials("first", "s1"), AwsCredentials("second", "s2")


@dataclass
class Answer:
    status: int
    body: bytes
    headers: Headers = field(default_factory=list)

    async def receive(self) -> bytes:
        body, self.body = self.body, b""
        return body

    def abort(self) -> None:
        self.body = b""

    async def aclose(self) -> None:
        self.body = b""


@dataclass
class Peer:
    """Gives the answers it was made with, in order, and keeps what it was asked."""

    answers: deque[Answer | UpstreamFault]
    asked: list[HttpRequest] = field(default_factory=list)

    @classmethod
    def giving(cls, *answers: Answer | UpstreamFault) -> Self:
        # Copies, since parameters of tests are shared and an answer is used up.
        return cls(deque(map(copy, answers)))

    async def send(
        self, request: HttpRequest, timeouts: Timeouts, *, silence_ms: int | None = None
    ) -> HttpAnswer:
        self.asked.append(request)
        answer = self.answers.popleft()
        if isinstance(answer, UpstreamFault):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.answers.clear()


class Zeros:
    """No jitter at all."""

    def bytes(self, count: int) -> bytes:
        return bytes(count)


class Ones:
    """All the jitter there is."""

    def bytes(self, count: int) -> bytes:
        return b"\xff" * count


def ok(**body: Any) -> Answer:
    raw = json.dumps(body).encode()
    return Answer(200, raw, [(b"x-amz-crc32", str(zlib.crc32(raw)).encode())])


def error(code: str, status: int = 400, **more: Any) -> Answer:
    document = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "words", **more}
    return Answer(status, json.dumps(document).encode())


def cancelled(*codes: str) -> Answer:
    return error("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


def a_client(*answers: Answer | UpstreamFault, patience: Patience = HASTE) -> tuple[DynamoClient, Peer]:
    peer = Peer.giving(*answers)
    client = DynamoClient(
        peer,
        Service.of_region("eu-west-1"),
        StaticCredentials(FIRST),
        clock=FixedClock(),
        randomness=Zeros(),
        patience=patience,
    )
    return client, peer


async def test_a_call_is_one_signed_request() -> None:
    client, peer = a_client(ok(Item={}))
    assert await client.call("GetItem", {"TableName": "t"}) == {"Item": {}}
    (asked,) = peer.asked
    assert (asked.method, asked.target, asked.body) == (b"POST", b"/", b'{"TableName":"t"}')
    assert asked.origin.host == "dynamodb.eu-west-1.amazonaws.com"
    assert find(asked.headers, b"x-amz-target") == b"DynamoDB_20120810.GetItem"
    unsigned = replace(asked, headers=asked.headers[:3])
    assert asked.headers == Signer("eu-west-1", "dynamodb").sign(unsigned, FIRST, NOON)


@pytest.mark.parametrize(
    "passing",
    [
        error("ProvisionedThroughputExceededException"),
        error("ThrottlingException"),
        error("RequestLimitExceeded"),
        error("TransactionInProgressException"),
        error("TransactionConflictException"),
        error("InternalServerError", 500),
        Answer(503, b"<html>busy</html>"),
        cancelled("None", "TransactionConflict"),
        cancelled("ThrottlingError", "ProvisionedThroughputExceeded"),
        UpstreamCut("host", "cut"),
        UpstreamUnreachable("host", "refused"),
        Answer(200, b"{}", [(b"x-amz-crc32", b"1")]),
    ],
    ids=repr,
)
async def test_what_passes_is_tried_again_to_the_letter(passing: Answer | UpstreamFault) -> None:
    client, peer = a_client(passing, ok())
    assert await client.call("TransactWriteItems", {"ClientRequestToken": "x"}) == {}
    assert peer.asked[0] == peer.asked[1]


@pytest.mark.parametrize(
    "lasting",
    [
        error("ValidationException"),
        error("ResourceNotFoundException"),
        error("AccessDeniedException"),
        cancelled("ValidationError", "None"),
        cancelled("TransactionConflict", "ItemCollectionSizeLimitExceeded"),
    ],
    ids=repr,
)
async def test_what_would_not_get_better_is_said_at_once(lasting: Answer) -> None:
    client, peer = a_client(lasting, ok())
    with pytest.raises(StoreFault, match=r"GetItem: .* words"):
        await client.call("GetItem", {})
    assert len(peer.asked) == 1


async def test_a_condition_that_does_not_hold_is_told_with_what_stood_there() -> None:
    reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": {"used": {"N": "7"}}}]
    client, _ = a_client(error("TransactionCanceledException", CancellationReasons=reasons))
    with pytest.raises(Unmet) as caught:
        await client.call("TransactWriteItems", {})
    assert caught.value.reasons == (Reason("None"), Reason("ConditionalCheckFailed", {"used": 7}))
    assert not caught.value.is_unsure


async def test_a_condition_outweighs_a_conflict_beside_it() -> None:
    client, peer = a_client(cancelled("TransactionConflict", "ConditionalCheckFailed"))
    with pytest.raises(Unmet):
        await client.call("TransactWriteItems", {})
    assert len(peer.asked) == 1


async def test_a_condition_of_a_single_write_is_told_the_same_way() -> None:
    client, _ = a_client(error("ConditionalCheckFailedException", Item={"a": {"S": "b"}}))
    with pytest.raises(Unmet) as caught:
        await client.call("UpdateItem", {})
    assert caught.value.reasons == (Reason("ConditionalCheckFailed", {"a": "b"}),)


@pytest.mark.parametrize(
    ("first", "is_unsure"),
    [
        (UpstreamCut("host", "cut"), True),
        (error("InternalServerError", 500), True),
        (UpstreamUnreachable("host", "refused"), False),
        (error("ThrottlingException"), False),
        (cancelled("TransactionConflict"), False),
    ],
    ids=repr,
)
async def test_a_lost_answer_makes_a_later_refusal_unsure(
    first: Answer | UpstreamFault, is_unsure: bool
) -> None:
    client, _ = a_client(first, error("ThrottlingException"), cancelled("ConditionalCheckFailed"))
    with pytest.raises(Unmet) as caught:
        await client.call("TransactWriteItems", {})
    assert caught.value.is_unsure is is_unsure


async def test_tries_are_counted() -> None:
    client, peer = a_client(
        *(error("ThrottlingException") for _ in range(9)), patience=replace(HASTE, tries=4)
    )
    with pytest.raises(StoreFault, match="PutItem: ThrottlingException words"):
        await client.call("PutItem", {})
    assert len(peer.asked) == 4


async def test_no_wait_goes_past_the_time_there_is() -> None:
    peer = Peer.giving(*[error("ThrottlingException")] * 9)
    patience = Patience(base_ms=400_000, cap_ms=800_000, total_ms=500_000)
    client = DynamoClient(
        peer,
        Service.of_region("eu-west-1"),
        StaticCredentials(FIRST),
        clock=FixedClock(),
        randomness=Ones(),
        patience=patience,
    )
    with pytest.raises(StoreFault):
        await client.call("PutItem", {})
    assert len(peer.asked) == 1


class Source:
    """Gives credentials in order; a fault is raised."""

    def __init__(self, *credentials: AwsCredentials | StoreFault) -> None:
        self.left = deque(credentials)

    async def __call__(self) -> AwsCredentials:
        found = self.left.popleft()
        if isinstance(found, StoreFault):
            raise found
        return found


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
async def test_refused_credentials_are_renewed_once(code: str) -> None:
    peer = Peer.giving(error(code), error(code), ok())
    client = DynamoClient(
        peer,
        Service.of_region("eu-west-1"),
        RenewedCredentials(Source(FIRST, SECOND), FixedClock()),
        clock=FixedClock(),
        randomness=Zeros(),
        patience=HASTE,
    )
    with pytest.raises(StoreFault, match=code):
        await client.call("GetItem", {})
    used = [find(asked.headers, b"authorization") or b"" for asked in peer.asked]
    assert [b"Credential=first" in used[0], b"Credential=second" in used[1], len(used)] == [True, True, 2]


async def test_credentials_are_renewed_before_they_expire() -> None:
    clock = FixedClock()
    short = dataclasses.replace(FIRST, expires_at=NOON + timedelta(minutes=10))
    source = RenewedCredentials(Source(short, SECOND), clock)
    assert await source.current() == short
    clock.advance(timedelta(minutes=4, seconds=59))
    assert await source.current() == short
    clock.advance(timedelta(seconds=1))
    assert await source.current() == SECOND


async def test_old_credentials_serve_to_their_end_while_new_ones_cannot_be_had() -> None:
    clock = FixedClock()
    short = dataclasses.replace(FIRST, expires_at=NOON + timedelta(minutes=10))
    source = RenewedCredentials(Source(short, StoreFault("away"), StoreFault("away")), clock)
    await source.current()
    clock.advance(timedelta(minutes=9))
    assert await source.current() == short
    clock.advance(timedelta(minutes=1))
    with pytest.raises(StoreFault, match="away"):
        await source.current()
