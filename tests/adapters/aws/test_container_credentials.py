"""Credentials from the endpoint that a container is told of."""

from datetime import UTC, datetime

import pytest

from farebox.adapters.aws.dynamodb.credentials import container_credentials
from farebox.domain.errors import StoreFault, UpstreamFault, UpstreamUnreachable
from farebox.wire.http import Origin
from farebox.wire.sigv4 import AwsCredentials
from tests.adapters.aws.test_client import Answer, Peer

ORIGIN = Origin("http", "169.254.170.23", 80)
DOCUMENT = (
    b'{"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t",'
    b' "Expiration": "2026-11-23T18:00:00Z", "RoleArn": "arn"}'
)


async def asked(answer: Answer | UpstreamFault) -> tuple[AwsCredentials, Peer]:
    peer = Peer.giving(answer)
    return await container_credentials(peer, ORIGIN, "/v1/credentials", "token"), peer


async def test_they_are_asked_for_with_the_token_that_came_with_the_address() -> None:
    found, peer = await asked(Answer(200, DOCUMENT))
    assert found == AwsCredentials("ASIA", "s", "t", datetime(2026, 11, 23, 18, tzinfo=UTC))
    (request,) = peer.asked
    assert (request.method, request.origin, request.target) == (b"GET", ORIGIN, b"/v1/credentials")
    assert request.headers == [(b"authorization", b"token")]


@pytest.mark.parametrize(
    "answer",
    [Answer(403, b"{}"), Answer(200, b"{}"), Answer(200, b"<"), UpstreamUnreachable("host", "refused")],
    ids=repr,
)
async def test_an_endpoint_without_them_is_a_fault_of_the_store(answer: Answer | UpstreamFault) -> None:
    with pytest.raises(StoreFault, match="the credential endpoint"):
        await asked(answer)
