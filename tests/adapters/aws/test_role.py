"""Credentials come from where the environment says they are."""

from datetime import UTC, datetime, timedelta

import pytest

from farebox.adapters.aws.services.role import role_credentials
from farebox.domain.errors import ConfigInvalid
from farebox.wire.http import Origin
from farebox.wire.sigv4 import AwsCredentials
from tests.adapters.aws.test_client import Answer, Peer
from tests.support.builders import FixedClock

KEYS = {"AWS_ACCESS_KEY_ID": "ASIA", "AWS_SECRET_ACCESS_KEY": "s"}


def document(expires: str) -> bytes:
    return f'{{"AccessKeyId": "A", "SecretAccessKey": "s", "Token": "t", "Expiration": "{expires}"}}'.encode()


async def test_a_function_is_given_its_roles_keys() -> None:
    source = role_credentials(KEYS | {"AWS_SESSION_TOKEN": "t"}, Peer.giving(), FixedClock())
    assert await source.current() == AwsCredentials("ASIA", "s", "t")


async def test_without_a_session_token_they_are_a_users() -> None:
    source = role_credentials(KEYS, Peer.giving(), FixedClock())
    assert await source.current() == AwsCredentials("ASIA", "s", None)


async def test_an_endpoint_goes_before_keys_and_is_asked_again_before_its_own_run_out() -> None:
    peer = Peer.giving(
        Answer(200, document("2026-11-23T13:00:00Z")), Answer(200, document("2026-11-23T14:00:00Z"))
    )
    told = KEYS | {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials?a=b",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token",
    }
    clock = FixedClock()
    source = role_credentials(told, peer, clock)
    first = await source.current()
    assert (first, await source.current()) == (first, first)
    assert first.expires_at == datetime(2026, 11, 23, 13, tzinfo=UTC)
    clock.advance(timedelta(minutes=56))
    assert (await source.current()).expires_at == datetime(2026, 11, 23, 14, tzinfo=UTC)
    assert [request.target for request in peer.asked] == [b"/v1/credentials?a=b"] * 2
    assert peer.asked[0].origin == Origin("http", "169.254.170.23", 80)
    assert (b"authorization", b"token") in peer.asked[0].headers


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "A"}, "AWS_ACCESS_KEY_ID"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "file:///x"}, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ],
)
def test_an_environment_without_them_is_refused(environment: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigInvalid, match=named):
        role_credentials(environment, Peer.giving(), FixedClock())
