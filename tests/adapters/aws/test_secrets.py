"""Provider credentials from Secrets Manager: read, kept for a minute, and never quoted in an error."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from farebox.adapters.aws.dynamodb.credentials import StaticCredentials
from farebox.adapters.aws.services.secrets import ManagedSecrets
from farebox.domain.errors import ConfigInvalid, UpstreamUnreachable
from farebox.wire.http import Origin, Transport
from farebox.wire.http1 import Http1Transport
from tests.adapters.aws.test_client import Answer, Peer
from tests.support.builders import FixedClock
from tests.support.dynamo import CREDENTIALS, HOST, REGION, call_service
from tests.support.ministack import Ministack, ministack

__all__ = ["ministack"]

CANARY = "sk-ant-api03-CANARY"


def secrets_over(transport: Transport, clock: FixedClock, port: int = 80) -> ManagedSecrets:
    return ManagedSecrets(
        transport, Origin("http", HOST, port), REGION, StaticCredentials(CREDENTIALS), clock
    )


def told(secret: str) -> Answer:
    return Answer(200, b'{"Name": "n", "SecretString": "%s"}' % secret.encode())


def failed(code: str, status: int = 400) -> Answer:
    return Answer(
        status, b'{"__type": "com.amazonaws#%s", "Message": "%s"}' % (code.encode(), CANARY.encode())
    )


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    opened = Http1Transport()
    yield opened
    await opened.aclose()


async def test_a_stored_secret_is_read_from_the_real_service(
    ministack: Ministack, transport: Http1Transport
) -> None:
    create = {"Name": "farebox/dev/anthropic", "SecretString": CANARY + "\n", "ClientRequestToken": "t" * 32}
    call_service(ministack.port, "secretsmanager", "CreateSecret", create)
    secrets = secrets_over(transport, FixedClock(), ministack.port)
    assert await secrets.resolve("secretsmanager:farebox/dev/anthropic") == CANARY
    with pytest.raises(ConfigInvalid, match="ResourceNotFoundException"):
        await secrets.resolve("secretsmanager:farebox/dev/other")


async def test_a_field_of_a_json_secret_is_read() -> None:
    peer = Peer.giving(told('{\\"key\\": \\"k\\", \\"number\\": 1}'))
    secrets = secrets_over(peer, FixedClock())
    assert await secrets.resolve("secretsmanager:id#key") == "k"
    with pytest.raises(ConfigInvalid, match="no text in this field"):
        await secrets.resolve("secretsmanager:id#number")
    assert len(peer.asked) == 1


async def test_a_json_document_may_stand_on_several_lines() -> None:
    peer = Peer.giving(told('{\\n  \\"type\\": \\"service_account\\"\\n}\\n'))
    assert (
        await secrets_over(peer, FixedClock()).resolve("secretsmanager:id")
        == '{   "type": "service_account" }'
    )


async def test_a_rotated_secret_is_used_a_minute_later() -> None:
    clock, peer = FixedClock(), Peer.giving(told("old"), told("new"))
    secrets = secrets_over(peer, clock)
    assert await secrets.resolve("secretsmanager:id") == "old"
    clock.advance(timedelta(seconds=59))
    assert await secrets.resolve("secretsmanager:id") == "old"
    clock.advance(timedelta(seconds=1))
    assert await secrets.resolve("secretsmanager:id") == "new"


async def test_a_service_that_does_not_answer_leaves_the_old_secret_in_use_for_an_hour() -> None:
    away = [UpstreamUnreachable(HOST, "refused")] * 3
    clock, peer = FixedClock(), Peer.giving(told("old"), *away, *away)
    secrets = secrets_over(peer, clock)
    await secrets.resolve("secretsmanager:id")
    clock.advance(timedelta(minutes=59))
    assert await secrets.resolve("secretsmanager:id") == "old"
    clock.advance(timedelta(minutes=1))
    with pytest.raises(ConfigInvalid, match="UpstreamUnreachable"):
        await secrets.resolve("secretsmanager:id")


async def test_a_secret_that_was_taken_away_is_not_used_any_more() -> None:
    clock, peer = FixedClock(), Peer.giving(told("old"), failed("AccessDeniedException"))
    secrets = secrets_over(peer, clock)
    await secrets.resolve("secretsmanager:id")
    clock.advance(timedelta(minutes=1))
    with pytest.raises(ConfigInvalid, match="AccessDeniedException"):
        await secrets.resolve("secretsmanager:id")


async def test_a_throttled_or_failing_service_is_asked_again() -> None:
    peer = Peer.giving(failed("ThrottlingException"), failed("InternalServiceError", 500), told("k"))
    assert await secrets_over(peer, FixedClock()).resolve("secretsmanager:id") == "k"


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("env:AWS_SECRET_ACCESS_KEY", told(CANARY)),
        ("file:/proc/self/environ", told(CANARY)),
        ("secretsmanager:", told(CANARY)),
        ("secretsmanager:id#field", told(CANARY)),
        ("secretsmanager:id", told(CANARY + "\\nsecond line")),
        ("secretsmanager:id", told("")),
        ("secretsmanager:id", Answer(200, b'{"SecretBinary": "eA=="}')),
        ("secretsmanager:id", failed("InvalidRequestException")),
        ("secretsmanager:id", Answer(400, b"<")),
    ],
)
async def test_what_is_no_credential_is_named_and_never_quoted(reference: str, answer: Answer) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        await secrets_over(Peer.giving(answer), FixedClock()).resolve(reference)
    assert refused.value.path == reference
    assert CANARY not in repr(refused.value)
    assert refused.value.__cause__ is None
