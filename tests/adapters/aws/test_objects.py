"""What our calls of S3 do when it does not answer well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from farebox.adapters.aws.dynamodb.credentials import StaticCredentials
from farebox.adapters.aws.services.objects import TRIES, BucketObjects
from farebox.domain.errors import StoreFault, UpstreamCut
from farebox.wire.headers import find
from farebox.wire.http import HttpRequest, Origin
from tests.gateway.peers import ScriptedTransport
from tests.support.builders import FixedClock
from tests.support.dynamo import CREDENTIALS, REGION
from tests.support.upstream import Reply

CUT = UpstreamCut("s3", "it broke off")
GOOD = Reply(200, (), (b"data",))


def playing(*replies: Reply | UpstreamCut) -> tuple[BucketObjects, ScriptedTransport]:
    left, transport = list(replies), ScriptedTransport()

    def script(_: HttpRequest) -> Reply:
        reply = left.pop(0)
        if isinstance(reply, UpstreamCut):
            raise reply
        return reply

    transport.script = script
    origin = Origin("https", "s3.example", 443)
    credentials = StaticCredentials(CREDENTIALS)
    return BucketObjects(transport, origin, REGION, credentials, FixedClock(), bucket="b"), transport


@pytest.mark.parametrize("first", [CUT, Reply(503, (), (b"slow down",)), Reply(500, (), ())])
async def test_what_passes_is_tried_again(first: Reply | UpstreamCut) -> None:
    objects, transport = playing(first, first, GOOD)
    assert await objects.get("answers/a") == b"data"
    assert [request.target for request in transport.sent] == [b"/b/answers/a"] * TRIES
    assert find(transport.sent[0].headers, b"authorization") is not None


async def _get(objects: BucketObjects) -> object:
    return await objects.get("a")


async def _put(objects: BucketObjects) -> object:
    await objects.put("a", b"data")
    return None


@pytest.mark.parametrize("act", [_get, _put])
@pytest.mark.parametrize(("reply", "tries"), [(CUT, TRIES), (Reply(503), TRIES), (Reply(403), 1)])
async def test_what_stays_is_a_fault(
    act: Callable[[BucketObjects], Awaitable[object]], reply: Reply, tries: int
) -> None:
    objects, transport = playing(*[reply] * tries)
    with pytest.raises(StoreFault, match="S3"):
        await act(objects)
    assert len(transport.sent) == tries
