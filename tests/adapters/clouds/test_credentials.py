"""The credentials of a provider: keys of ours, of a role that is assumed, or as they are stored."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.credentials import StaticCredentials
from farebox.adapters.clouds.credentials import ProviderCredentials, sts_origin
from farebox.adapters.local.secrets import LocalSecrets
from farebox.compose.google import google_credentials
from farebox.domain.config import CloudSettings, ProviderSpec
from farebox.domain.errors import CredentialUnavailable, UpstreamUnreachable
from farebox.ports.bearer import Credential
from farebox.wire.headers import find
from farebox.wire.http import HttpRequest, Origin
from farebox.wire.sigv4 import AwsCredentials, Signer
from tests.gateway.peers import ScriptedTransport
from tests.support.builders import FixedClock
from tests.support.upstream_replies import Reply

OWN = AwsCredentials("AKIDOWN", "secret-of-ours")
ROLE = "arn:aws:iam::123456789012:role/claude"
SPEC = ProviderSpec("bedrock prod", "bedrock", "aws", region="eu-central-1")
ASSUMING = replace(SPEC, cloud=CloudSettings(role_arn=ROLE, external_id="tenant/7"))
KEYS = {"access_key_id": "AKIDSTORED", "secret_access_key": "secret-stored", "session_token": "tok"}


def assumed(key: str, expires_at: datetime) -> Reply:
    """Answer as STS does."""
    text = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
      <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/claude/x</Arn></AssumedRoleUser>
      <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s/+=</SecretAccessKey>
      <SessionToken>a/b+c==</SessionToken><Expiration>{expires_at:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>
      </AssumeRoleResult></AssumeRoleResponse>"""
    return Reply(200, (("Content-Type", "text/xml"),), (text.encode(),))


def refused(code: str) -> Reply:
    text = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>"
    return Reply(403, (("Content-Type", "text/xml"),), (text.encode(),))


class Scene:
    """Credentials over a scripted STS; `keys` are the ids that it gives, in order."""

    def __init__(self, *, own: AwsCredentials | None = OWN, **environment: str) -> None:
        self.clock = FixedClock()
        self.sts = ScriptedTransport()
        self.given = 0
        self.sts.script = self._answer
        self.credentials = ProviderCredentials(
            LocalSecrets(environment),
            None if own is None else StaticCredentials(own),
            google_credentials({}, None, self.sts, self.clock),
            transport=self.sts,
            clock=self.clock,
            sts_origin=sts_origin({}),
        )

    def _answer(self, request: HttpRequest) -> Reply:
        self.given += 1
        return assumed(f"ASIA{self.given}", self.clock.now() + timedelta(hours=1))

    async def of(self, spec: ProviderSpec) -> Credential:
        return await self.credentials.of(spec)


async def test_without_a_role_ours_sign() -> None:
    scene = Scene()
    assert await scene.of(SPEC) == OWN
    assert scene.sts.sent == []


async def test_a_role_is_assumed_with_its_external_id_by_a_signed_request() -> None:
    scene = Scene()
    found = await scene.of(ASSUMING)
    expires_at = scene.clock.now().replace(microsecond=0) + timedelta(hours=1)
    assert found == AwsCredentials("ASIA1", "s/+=", "a/b+c==", expires_at)
    [asked] = scene.sts.sent
    assert asked.origin == Origin("https", "sts.eu-central-1.amazonaws.com", 443)
    assert {name: values[0] for name, values in parse_qs(asked.body.decode()).items()} == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "farebox-bedrock-prod",
        "DurationSeconds": "3600",
        "ExternalId": "tenant/7",
    }
    unsigned = replace(asked, headers=asked.headers[:1])
    expected = Signer("eu-central-1", "sts").sign(unsigned, OWN, scene.clock.now())
    assert find(asked.headers, b"authorization") == find(expected, b"authorization")


async def test_a_role_is_assumed_once_until_its_hour_is_nearly_over() -> None:
    scene = Scene()
    first = await scene.of(ASSUMING)
    assert await scene.of(ASSUMING) == first
    scene.clock.advance(timedelta(minutes=54, seconds=59))
    assert await scene.of(ASSUMING) == first
    scene.clock.advance(timedelta(seconds=2))
    renewed = await scene.of(ASSUMING)
    assert isinstance(renewed, AwsCredentials)
    assert (renewed.access_key_id, scene.given) == ("ASIA2", 2)


async def test_another_external_id_or_region_is_another_session() -> None:
    scene = Scene()
    other = CloudSettings(role_arn=ROLE, external_id="tenant/8")
    for spec in (ASSUMING, replace(ASSUMING, cloud=other), replace(ASSUMING, region="us-east-1")):
        await scene.of(spec)
    assert scene.given == 3


async def test_what_is_left_of_a_session_serves_while_sts_is_away() -> None:
    scene = Scene()
    first = await scene.of(ASSUMING)
    scene.sts.script = lambda _: refused("Throttling")
    scene.clock.advance(timedelta(minutes=58))
    assert await scene.of(ASSUMING) == first
    scene.clock.advance(timedelta(minutes=3))
    with pytest.raises(CredentialUnavailable, match="Throttling"):
        await scene.of(ASSUMING)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (refused("AccessDenied"), "AccessDenied"),
        (Reply(502, (), (b"<html>bad gateway</html>",)), "HTTP 502"),
        (Reply(200, (), (b"<AssumeRoleResponse/>",)), "an answer without credentials"),
    ],
)
async def test_a_refusal_of_sts_names_the_provider_and_why_but_to_no_client_the_role(
    reply: Reply, told: str
) -> None:
    scene = Scene()
    scene.sts.script = lambda _: reply
    with pytest.raises(CredentialUnavailable, match=told) as raised:
        await scene.of(ASSUMING)
    assert raised.value.provider == "bedrock prod"
    assert ROLE not in raised.value.message
    assert OWN.secret_access_key not in raised.value.message


async def test_an_sts_that_cannot_be_reached_is_no_credential() -> None:
    scene = Scene()

    def fail(_: HttpRequest) -> Reply:
        raise UpstreamUnreachable("sts", "no route")

    scene.sts.script = fail
    with pytest.raises(CredentialUnavailable, match="no route"):
        await scene.of(ASSUMING)


async def test_keys_in_quotes_are_not_sent_as_an_api_key() -> None:
    scene = Scene(KEYS=f"'{json.dumps(KEYS)}'")
    with pytest.raises(CredentialUnavailable, match="neither a JSON object of keys nor an API key") as raised:
        await scene.of(replace(SPEC, credential="env:KEYS"))
    assert KEYS["secret_access_key"] not in f"{raised.value.message} {raised.value.__cause__!r}"


async def test_stored_keys_sign_and_may_assume_a_role() -> None:
    scene = Scene(own=None, KEYS=json.dumps(KEYS))
    stored = AwsCredentials("AKIDSTORED", "secret-stored", "tok")
    assert await scene.of(replace(SPEC, credential="env:KEYS")) == stored
    await scene.of(replace(ASSUMING, credential="env:KEYS"))
    await scene.of(replace(ASSUMING, credential="env:KEYS"))
    assert scene.given == 1
    assert b"AKIDSTORED/" in (find(scene.sts.sent[0].headers, b"authorization") or b"")


async def test_any_other_secret_is_sent_as_it_is() -> None:
    scene = Scene(KEY="bedrock-api-key-x", JSON='{"not": "keys"}')
    assert await scene.of(replace(SPEC, credential="env:KEY")) == "bedrock-api-key-x"
    anthropic = ProviderSpec("main", "anthropic", "env:JSON")
    assert await scene.of(anthropic) == '{"not": "keys"}'


@pytest.mark.parametrize("secret", ['{"access_key_id": "AKIDCANARY"}', '{"canary": '])
async def test_keys_that_cannot_be_read_are_refused_without_being_quoted(secret: str) -> None:
    scene = Scene(KEYS=secret)
    with pytest.raises(CredentialUnavailable, match="access_key_id and secret_access_key") as raised:
        await scene.of(replace(SPEC, credential="env:KEYS"))
    told = f"{raised.value.message} {raised.value.__cause__}".lower()
    assert "canary" not in told


async def test_a_process_without_keys_says_so() -> None:
    with pytest.raises(CredentialUnavailable, match="no AWS credentials of its own"):
        await Scene(own=None).of(SPEC)


def test_sts_is_where_the_environment_says() -> None:
    assert sts_origin({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"})("x") == Origin("http", "127.0.0.1", 4566)
    own = {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_STS": "https://sts.internal"}
    assert sts_origin(own)("x") == Origin("https", "sts.internal", 443)
