"""Tokens of Microsoft Entra: how they are asked for, for how long they serve, and what a refusal tells."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace

from farebox.adapters.clouds.credentials import ProviderCredentials, sts_origin
from farebox.adapters.clouds.entra import entra_origin
from farebox.adapters.local.secrets import LocalSecrets
from farebox.compose.google import google_credentials
from farebox.domain.config import CloudSettings, ProviderSpec
from farebox.domain.errors import ConfigInvalid, CredentialUnavailable, UpstreamUnreachable
from farebox.ports.bearer import BearerToken
from farebox.wire.headers import find
from farebox.wire.http import HttpRequest, Origin
from tests.gateway.peers import ScriptedTransport
from tests.support.builders import FixedClock
from tests.support.upstream_replies import Reply

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRET = "s3cr~t+canary/="
JSON = (("Content-Type", "application/json; charset=utf-8"),)
SPEC = ProviderSpec(
    "azure",
    "foundry",
    "env:AZURE_SECRET",
    cloud=CloudSettings(resource="ours", tenant_id=TENANT, client_id=CLIENT),
)


def given(token: str, life_s: object = 3599) -> Reply:
    """Answer as Entra does."""
    document = {"token_type": "Bearer", "expires_in": life_s, "ext_expires_in": life_s, "access_token": token}
    return Reply(200, JSON, (json.dumps(document).encode(),))


def refused(status: int = 401, code: str = "AADSTS7000215") -> Reply:
    document = {
        "error": "invalid_client",
        "error_description": f"{code}: Invalid client secret provided ... added to app '{CLIENT}'."
        " Trace ID: 0a1b Correlation ID: 2c3d Timestamp: 2026-11-28 09:00:00Z",
        "error_codes": [7000215],
    }
    return Reply(status, JSON, (json.dumps(document).encode(),))


class Scene:
    """Credentials over a scripted Entra, which numbers the tokens it gives."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.entra = ScriptedTransport()
        self.entra.script = self._answer
        self.environment = {"AZURE_SECRET": SECRET}
        self.credentials = ProviderCredentials(
            LocalSecrets(self.environment),
            None,
            google_credentials({}, None, self.entra, self.clock),
            transport=self.entra,
            clock=self.clock,
            sts_origin=sts_origin({}),
        )

    def _answer(self, _: HttpRequest) -> Reply:
        return given(f"token-{len(self.entra.sent)}")

    async def token(self, spec: ProviderSpec = SPEC) -> BearerToken:
        found = await self.credentials.of(spec)
        assert isinstance(found, BearerToken)
        return found


async def test_an_application_asks_for_a_token_for_foundry_in_its_tenant() -> None:
    scene = Scene()
    assert (await scene.token()).text == "token-1"
    [asked] = scene.entra.sent
    assert asked.origin == Origin("https", "login.microsoftonline.com", 443)
    assert (asked.method, asked.target) == (b"POST", f"/{TENANT}/oauth2/v2.0/token".encode())
    assert find(asked.headers, b"content-type") == b"application/x-www-form-urlencoded"
    assert parse_qs(asked.body.decode(), strict_parsing=True) == {
        "grant_type": ["client_credentials"],
        "client_id": [CLIENT],
        "client_secret": [SECRET],
        "scope": ["https://ai.azure.com/.default"],
    }


async def test_a_token_serves_until_five_minutes_before_its_end() -> None:
    scene = Scene()
    await scene.token()
    scene.clock.advance(timedelta(minutes=54, seconds=58))
    assert (await scene.token()).text == "token-1"
    scene.clock.advance(timedelta(seconds=2))
    assert (await scene.token()).text == "token-2"


async def test_what_is_left_of_a_token_serves_while_entra_is_away() -> None:
    scene = Scene()
    await scene.token()
    scene.entra.script = lambda _: Reply(503, JSON, (b'{"error":"temporarily_unavailable"}',))
    scene.clock.advance(timedelta(minutes=58))
    assert (await scene.token()).text == "token-1"
    scene.clock.advance(timedelta(minutes=2))
    with pytest.raises(CredentialUnavailable, match="temporarily_unavailable"):
        await scene.token()


async def test_a_secret_that_was_changed_asks_for_the_next_token() -> None:
    scene = Scene()
    await scene.token()
    scene.environment["AZURE_SECRET"] = "another"
    scene.clock.advance(timedelta(hours=2))
    await scene.token()
    assert parse_qs(scene.entra.sent[-1].body.decode())["client_secret"] == ["another"]


async def test_applications_do_not_share_tokens_and_providers_of_one_do() -> None:
    scene = Scene()
    other = replace(SPEC, slug="other", cloud=replace(SPEC.cloud, client_id=TENANT))
    again = replace(SPEC, slug="again", cloud=replace(SPEC.cloud, resource="theirs"))
    found = [(await scene.token(spec)).text for spec in (SPEC, other, again)]
    assert found == ["token-1", "token-2", "token-1"]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (refused(), r"invalid_client \(AADSTS7000215\)"),
        (Reply(502, (), (b"<html>bad gateway</html>",)), "HTTP 502"),
        (Reply(400, JSON, (b'{"error":"Speak, friend"}',)), "HTTP 400"),
        (Reply(200, JSON, (b'{"access_token":"canary"}',)), "an answer without one"),
        (Reply(200, JSON, (b'\xff"canary"',)), "an answer without one"),
        (given("canary two lines"), "an answer without one"),
        (given(""), "an answer without one"),
        (given("canary", 0), "an answer without one"),
        (given("canary", -5), "an answer without one"),
    ],
)
async def test_a_refusal_names_the_provider_and_entras_code_and_no_secret(reply: Reply, told: str) -> None:
    scene = Scene()
    scene.entra.script = lambda _: reply
    with pytest.raises(CredentialUnavailable, match=told) as raised:
        await scene.token()
    assert raised.value.provider == "azure"
    shown = f"{raised.value.message} {raised.value!r} {raised.value.__cause__!r}"
    assert [word for word in (SECRET, "canary", CLIENT) if word in shown] == []


async def test_an_entra_that_cannot_be_reached_is_no_credential() -> None:
    scene = Scene()

    def fail(_: HttpRequest) -> Reply:
        raise UpstreamUnreachable("login.microsoftonline.com", "no route")

    scene.entra.script = fail
    with pytest.raises(CredentialUnavailable, match="no route"):
        await scene.token()


async def test_a_secret_that_is_not_there_is_named_by_its_reference() -> None:
    scene = Scene()
    scene.environment.clear()
    with pytest.raises(CredentialUnavailable, match="there is no credential here"):
        await scene.token()
    assert scene.entra.sent == []


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("body", [b'{"error": "\xff", "access_token": "\xff"}', b'{"a": ' + b"[" * 100_000])
async def test_an_answer_that_cannot_be_read_is_no_token(status: int, body: bytes) -> None:
    scene = Scene()
    scene.entra.script = lambda _: Reply(status, (), (body,))
    with pytest.raises(CredentialUnavailable, match="Microsoft Entra gives no token"):
        await scene.token()


async def test_lives_as_text_are_read_and_impossible_ones_are_bounded() -> None:
    scene = Scene()
    scene.entra.script = lambda _: given(f"token-{len(scene.entra.sent)}", "3599")
    await scene.token()
    scene.entra.script = lambda _: given(f"token-{len(scene.entra.sent)}", 10**15)
    scene.clock.advance(timedelta(hours=1))
    assert (await scene.token()).text == "token-2"
    scene.clock.advance(timedelta(days=1))
    assert (await scene.token()).text == "token-3"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("login.microsoftonline.us", Origin("https", "login.microsoftonline.us", 443)),
        ("https://login.example:8443/", Origin("https", "login.example", 8443)),
        ("http://127.0.0.1:9000", Origin("http", "127.0.0.1", 9000)),
    ],
)
def test_the_authority_is_where_azures_own_variable_says(host: str, origin: Origin) -> None:
    assert entra_origin({"AZURE_AUTHORITY_HOST": host}) == origin


@pytest.mark.parametrize("host", ["http://login.example", "https://", "ftp://login.example"])
def test_no_secret_travels_in_clear_to_another_machine(host: str) -> None:
    with pytest.raises(ConfigInvalid, match="AZURE_AUTHORITY_HOST"):
        entra_origin({"AZURE_AUTHORITY_HOST": host})
