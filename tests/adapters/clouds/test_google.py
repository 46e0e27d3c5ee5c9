"""Google's tokens: what is shown for them, to whom, how long they serve, what is told if there are none."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from msgspec.structs import replace

from farebox.adapters.aws.dynamodb.credentials import StaticCredentials
from farebox.adapters.clouds.credentials import ProviderCredentials, sts_origin
from farebox.adapters.clouds.google.grants import subject_token
from farebox.adapters.clouds.google.login import read_login
from farebox.adapters.local.secrets import LocalSecrets
from farebox.compose.google import google_credentials
from farebox.domain.config import CloudSettings, ProviderSpec
from farebox.domain.errors import CredentialUnavailable, UpstreamUnreachable
from farebox.ports.bearer import BearerToken
from farebox.wire.headers import find
from farebox.wire.http import HttpRequest, Origin
from farebox.wire.sigv4 import AwsCredentials, Signer
from tests.gateway.peers import ScriptedTransport
from tests.support.builders import FixedClock
from tests.support.google import (
    AUDIENCE,
    a_pair,
    claims_of,
    external_account_file,
    form_of,
    google_signs,
    granted,
    header_of,
    impersonated,
    login_file,
    refused,
    service_account_file,
)
from tests.support.upstream_replies import Reply
from tests.support.vertex import ACCOUNT, PROJECT, google_error

OWN = AwsCredentials("AKIDOWN", "secret-of-ours", "session-of-ours")
PLACE = CloudSettings(project=PROJECT)
BY_KEY = ProviderSpec("vertex prod", "vertex", "env:KEY", region="global", cloud=PLACE)
FEDERATED = replace(BY_KEY, credential="google", cloud=replace(PLACE, audience=AUDIENCE))
ACTING = replace(FEDERATED, cloud=replace(FEDERATED.cloud, service_account=ACCOUNT))
BY_LOGIN = replace(BY_KEY, credential="google")
OTHER = f"other@{PROJECT}.iam.gserviceaccount.com"


class Scene:
    """Credentials over scripted token services, which give `token-1`, `token-2` and so on."""

    def __init__(
        self, folder: Path | None = None, *, key: str = "", own: AwsCredentials | None = OWN, region: str = ""
    ) -> None:
        self.clock = FixedClock()
        self.google = ScriptedTransport()
        self.google.script = self._answer
        self.given = 0
        environment = {"KEY": key or service_account_file(), "HOME": str(folder)}
        source = None if own is None else StaticCredentials(own)
        self.credentials = ProviderCredentials(
            LocalSecrets(environment),
            source,
            google_credentials(
                {"AWS_REGION": region},
                source,
                self.google,
                self.clock,
                read_login=lambda: read_login(environment),
            ),
            transport=self.google,
            clock=self.clock,
            sts_origin=sts_origin({}),
        )

    def _answer(self, request: HttpRequest) -> Reply:
        self.given += 1
        if request.target.endswith(b":generateAccessToken"):
            until = self.clock.now().replace(microsecond=0) + timedelta(hours=1)
            return impersonated(f"token-{self.given}", until.isoformat().replace("+00:00", "Z"))
        return granted(f"token-{self.given}")

    async def of(self, spec: ProviderSpec = BY_KEY) -> str:
        found = await self.credentials.of(spec)
        return found.text if isinstance(found, BearerToken) else str(found)


async def test_a_key_signs_an_assertion_that_googles_own_library_verifies() -> None:
    scene = Scene()
    assert await scene.of() == "token-1"
    [asked] = scene.google.sent
    assert (asked.origin, asked.target) == (Origin("https", "oauth2.googleapis.com", 443), b"/token")
    form = form_of(asked.body)
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    now = int(scene.clock.now().timestamp())
    assert claims_of(form["assertion"]) == {
        "iss": ACCOUNT,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": now,
        "exp": now + 3_600,
    }
    assert header_of(form["assertion"]) == {"alg": "RS256", "typ": "JWT", "kid": "5ca1ab1e"}


async def test_a_token_serves_until_it_is_nearly_over() -> None:
    scene = Scene()
    first = await scene.of()
    scene.clock.advance(timedelta(minutes=54, seconds=58))
    assert await scene.of() == first
    scene.clock.advance(timedelta(seconds=2))
    assert (await scene.of(), scene.given) == ("token-2", 2)


async def test_many_that_ask_at_once_wait_for_one_token() -> None:
    scene = Scene()
    assert set(await asyncio.gather(*(scene.of() for _ in range(20)))) == {"token-1"}
    assert scene.given == 1


async def test_a_process_that_was_frozen_beyond_the_hour_asks_anew() -> None:
    scene = Scene()
    await scene.of()
    scene.clock.advance(timedelta(hours=9))
    assert await scene.of() == "token-2"


@pytest.mark.parametrize(("expires_in", "asked"), [(10**15, 1), (-5, 2), (0, 2)])
async def test_an_absurd_life_of_a_token_is_bounded(expires_in: int, asked: int) -> None:
    scene = Scene()
    scene.google.script = lambda _: granted("t", expires_in=expires_in)
    assert [await scene.of(), await scene.of()] == ["t", "t"]
    assert len(scene.google.sent) == asked
    scene.clock.advance(timedelta(hours=25))
    await scene.of()
    assert len(scene.google.sent) == asked + 1


async def test_a_refused_token_is_replaced_once_for_all_that_had_it_unless_it_is_new() -> None:
    scene = Scene()
    held = [await scene.credentials.of(BY_KEY) for _ in range(10)]
    tokens = [each for each in held if isinstance(each, BearerToken)]
    assert await tokens[0].another() is None
    scene.clock.advance(timedelta(minutes=2))
    others = await asyncio.gather(*(token.another() for token in tokens))
    assert ([each and each.text for each in others], scene.given) == (["token-2"] * 10, 2)


async def test_what_is_left_of_a_token_serves_while_google_is_away() -> None:
    scene = Scene()
    first = await scene.of()

    def away(_: HttpRequest) -> Reply:
        raise UpstreamUnreachable("oauth2.googleapis.com", "no route")

    scene.google.script = away
    scene.clock.advance(timedelta(minutes=57))
    for _ in range(5):
        assert await scene.of() == first
    scene.clock.advance(timedelta(minutes=3))
    with pytest.raises(CredentialUnavailable, match=r"oauth2\.googleapis\.com gives no token: .*no route"):
        await scene.of()


@pytest.mark.parametrize("status", [500, 503])
async def test_a_service_that_fails_is_asked_once_more(status: int) -> None:
    scene = Scene()
    replies = [google_error(status, "UNAVAILABLE", "later"), granted("second")]
    scene.google.script = lambda _: replies.pop(0)
    assert await scene.of() == "second"
    scene.clock.advance(timedelta(hours=2))
    scene.google.script = lambda _: google_error(status, "UNAVAILABLE", "later")
    with pytest.raises(CredentialUnavailable, match="no token: UNAVAILABLE"):
        await scene.of()
    assert len(scene.google.sent) == 4


async def test_a_rotated_key_and_another_account_are_other_tokens() -> None:
    scene = Scene()
    other = replace(BY_KEY, cloud=replace(PLACE, service_account=OTHER))
    assert await scene.of() == "token-1"
    assert await scene.of(other) == "token-3"
    assert [request.target for request in scene.google.sent] == [
        b"/token",
        b"/token",
        f"/v1/projects/-/serviceAccounts/{OTHER}:generateAccessToken".encode(),
    ]


async def test_aws_says_who_we_are_and_google_gives_a_token_for_it() -> None:
    scene = Scene(region="eu-central-1")
    assert await scene.of(FEDERATED) == "token-1"
    [asked] = scene.google.sent
    assert (asked.origin, asked.target) == (Origin("https", "sts.googleapis.com", 443), b"/v1/token")
    form = form_of(asked.body)
    subject = json.loads(unquote(form.pop("subject_token")))
    assert form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": AUDIENCE,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
    }
    assert subject["url"] == (
        "https://sts.eu-central-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    )
    told = {each["key"]: each["value"] for each in subject["headers"]}
    assert told["x-goog-cloud-target-resource"] == AUDIENCE
    assert "x-goog-cloud-target-resource" in told["Authorization"]
    assert OWN.secret_access_key not in json.dumps(subject)


@pytest.mark.parametrize("session", ["session/+=of ours", None])
def test_the_subject_token_is_signed_as_botocore_signs(session: str | None) -> None:
    credentials = dataclasses.replace(OWN, session_token=session)
    token = subject_token(AUDIENCE, credentials, "us-east-1", datetime(2026, 11, 28, 9, 5, 7, tzinfo=UTC))
    subject = json.loads(unquote(token))
    told = {each["key"]: each["value"] for each in subject["headers"]}
    keys = BotoCredentials(credentials.access_key_id, credentials.secret_access_key, session)
    signer = SigV4Auth(keys, "sts", "us-east-1")
    unsigned = {name: value for name, value in told.items() if name != "Authorization"}
    request = AWSRequest("POST", subject["url"].replace("?", "/?"), data=b"", headers=unsigned)
    request.context["timestamp"] = told["x-amz-date"]
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert told["Authorization"].endswith(f"Signature={signer.signature(text, request)}")


@pytest.mark.parametrize("session", ["session/+=of ours", None])
def test_the_subject_token_has_the_form_and_the_signature_of_googles_library(session: str | None) -> None:
    credentials = dataclasses.replace(OWN, session_token=session)
    theirs = google_signs(credentials)  # at its own moment, and without the target
    moment = datetime.strptime(theirs["headers"]["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    subject = json.loads(unquote(subject_token(AUDIENCE, credentials, "us-east-1", moment)))
    told = {each["key"]: each["value"] for each in subject["headers"]}
    assert (subject["url"], subject["method"]) == (theirs["url"], theirs["method"])
    assert set(told) == {*theirs["headers"], "x-goog-cloud-target-resource"}
    for name in theirs["headers"].keys() - {"Authorization"}:
        assert told[name] == theirs["headers"][name]
    origin = Origin("https", "sts.us-east-1.amazonaws.com", 443)
    request = HttpRequest(b"POST", origin, b"/?Action=GetCallerIdentity&Version=2011-06-15", [], b"")
    signed = Signer("us-east-1", "sts").sign(request, credentials, moment)
    assert find(signed, b"authorization") == theirs["headers"]["Authorization"].encode()


async def test_a_federated_identity_may_act_as_a_service_account() -> None:
    scene = Scene()
    assert await scene.of(ACTING) == "token-2"
    exchanged, acted = scene.google.sent
    assert exchanged.origin.host == "sts.googleapis.com"
    assert acted.origin == Origin("https", "iamcredentials.googleapis.com", 443)
    assert acted.target == f"/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken".encode()
    assert find(acted.headers, b"authorization") == b"Bearer token-1"
    assert json.loads(acted.body) == {
        "scope": ["https://www.googleapis.com/auth/cloud-platform"],
        "lifetime": "3600s",
    }
    scene.clock.advance(timedelta(minutes=56))
    assert await scene.of(ACTING) == "token-4"


async def test_a_file_of_gclouds_for_aws_serves_and_says_nothing_of_where_to_send_anything() -> None:
    elsewhere = external_account_file(
        token_url="https://evil.example/token",
        credential_source={"environment_id": "aws1", "url": "http://169.254.169.254/latest"},
    )
    scene = Scene(key=elsewhere)
    assert await scene.of() == "token-2"
    hosts = [request.origin.host for request in scene.google.sent]
    assert hosts == ["sts.googleapis.com", "iamcredentials.googleapis.com"]
    assert b"/serviceAccounts/farebox@" in scene.google.sent[1].target


async def test_the_login_of_whoever_runs_the_gateway_serves_and_is_read_anew(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    file = folder / "application_default_credentials.json"
    file.write_text(login_file())
    scene = Scene(tmp_path)
    assert await scene.of(BY_LOGIN) == "token-1"
    assert form_of(scene.google.sent[0].body) == {
        "grant_type": "refresh_token",
        "client_id": "client-1",
        "client_secret": "secret-of-gcloud",
        "refresh_token": "1//refresh-canary",
    }
    file.write_text(login_file(refresh_token="1//another"))
    scene.clock.advance(timedelta(hours=1))
    assert await scene.of(BY_LOGIN) == "token-2"
    assert form_of(scene.google.sent[1].body)["refresh_token"] == "1//another"


async def test_without_a_login_the_ways_to_a_credential_are_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialUnavailable, match="name a workload identity provider as audience"):
        await Scene(tmp_path).of(BY_LOGIN)


def test_a_login_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert read_login({"HOME": str(tmp_path)}) is None
    file = tmp_path / "named.json"
    file.write_text("{}")
    assert read_login({"GOOGLE_APPLICATION_CREDENTIALS": str(file)}) == "{}"
    gone = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "gone")}
    with pytest.raises(Exception, match="cannot be read"):
        read_login(gone)


async def test_a_secret_that_is_no_json_is_a_token_already() -> None:
    scene = Scene(key="ya29.by-hand")
    assert await scene.of() == "ya29.by-hand"
    assert await scene.credentials.of(BY_KEY) == "ya29.by-hand"
    assert scene.google.sent == []


async def test_a_process_without_aws_credentials_cannot_be_federated() -> None:
    with pytest.raises(CredentialUnavailable, match="no AWS credentials to show to Google"):
        await Scene(own=None).of(FEDERATED)


CANARY = "canary-of-the-key"
UNFIT = {
    "quotes around it": (
        f"'{json.dumps(json.loads(service_account_file(private_key=CANARY)))}'",
        "neither a JSON file of Google's nor an access token",
    ),
    "a list": (f'["{CANARY}"]', "neither a JSON file of Google's nor an access token"),
    "no JSON": ('{"canary-of-the-key": ', "is not a JSON object"),
    "another type": (json.dumps({"type": CANARY}), "no type that is served: service_account,"),
    "no key": (service_account_file(private_key=None), "the JSON has no private_key"),
    "a key that is none": (
        service_account_file(private_key=f"-----BEGIN {CANARY}"),
        "private key cannot be read",
    ),
    "somebody else's token service": (
        service_account_file(token_uri=f"https://{CANARY}.example/token"),
        "token_uri is not Google's",
    ),
    "another universe": (
        service_account_file(universe_domain=CANARY),
        "universe_domain is not googleapis.com",
    ),
    "an identity that is not AWS's": (
        external_account_file(subject_token_type="urn:ietf:params:oauth:token-type:jwt"),
        "is not one of AWS",
    ),
    "an audience of another form": (external_account_file(audience=f"//{CANARY}"), "audience must be //iam."),
    "somebody else's account service": (
        external_account_file(service_account_impersonation_url=f"https://{CANARY}.example/a"),
        "service_account_impersonation_url is not Google's",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
async def test_a_credential_that_is_unfit_is_named_without_being_quoted_or_sent(name: str) -> None:
    text, told = UNFIT[name]
    scene = Scene(key=text)
    with pytest.raises(CredentialUnavailable, match=told) as raised:
        await scene.of()
    assert raised.value.provider == "vertex prod"
    said = f"{raised.value.message} {raised.value.__cause__!r}"
    assert CANARY not in said
    assert scene.google.sent == []


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (
            refused("invalid_grant", "Invalid JWT Signature."),
            r"no token: invalid_grant \(is the credential",
        ),
        (google_error(403, "PERMISSION_DENIED", "x"), r"PERMISSION_DENIED \(grant roles/iam"),
        (refused("invalid_target", "no"), r"invalid_target \(is audience"),
        (Reply(502, (), (b"<html>bad gateway</html>",)), "no token: HTTP 502"),
        (Reply(200, (), (b"{}",)), "answered without an access token"),
        (granted("two\nlines"), "answered without an access token"),
        (
            Reply(200, (), (b'{"access_token": "\xff", "expires_in": 9}',)),
            "answered without an access token",
        ),
        (Reply(200, (), (b'{"more": ' + b"[" * 100_000,)), "answered without an access token"),
        (Reply(403, (), (b'{"error": "\xff"}',)), "no token: HTTP 403"),
    ],
)
async def test_a_refusal_of_google_names_the_service_and_the_next_step(reply: Reply, told: str) -> None:
    scene = Scene()
    scene.google.script = lambda _: reply
    with pytest.raises(CredentialUnavailable, match=told):
        await scene.of()


async def test_a_service_that_quotes_what_it_was_sent_is_not_repeated() -> None:
    scene = Scene()
    scene.google.script = lambda request: refused(request.body.decode(), request.body.decode())
    with pytest.raises(CredentialUnavailable) as raised:
        await scene.of()
    said = f"{raised.value.message} {raised.value.__cause__!r}"
    assert "assertion" not in said
    assert "no token: HTTP 400" in said


async def test_google_may_be_reached_at_another_address() -> None:
    clock, google = FixedClock(), ScriptedTransport()
    google.script = lambda _: granted("t")
    credentials = google_credentials({}, None, google, clock, endpoint="http://127.0.0.1:9000")
    token = await credentials.of(BY_KEY, service_account_file())
    assert isinstance(token, BearerToken)
    assert token.header == (b"authorization", b"Bearer t")
    [asked] = google.sent
    assert asked.origin == Origin("http", "127.0.0.1", 9000)
    assert urlsplit(str(claims_of(parse_qs(asked.body.decode())["assertion"][0])["aud"])).hostname == (
        "oauth2.googleapis.com"
    )


def test_no_secret_shows_when_what_holds_it_is_printed() -> None:
    pem = a_pair().private.splitlines()[1]
    scene = Scene()
    assert pem not in repr(scene.credentials) + repr(scene.credentials.__dict__)
