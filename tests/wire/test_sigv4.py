"""Our signatures are botocore's, and they are kept to a day and a secret."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from farebox.wire.headers import find
from farebox.wire.http import Headers, HttpRequest, Origin
from farebox.wire.sigv4 import AwsCredentials, Signer

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STATIC = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SESSION = AwsCredentials("ASIAEXAMPLE", "secret", "session/token+text==")

segments = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/."), min_size=1, max_size=8), max_size=4
)
queries = st.lists(
    st.tuples(st.text("abAB01-_~ é", min_size=1, max_size=5), st.text("xyz 1/+&=", max_size=5))
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip)


def botocore_authorization(request: HttpRequest, credentials: AwsCredentials, now: datetime) -> str:
    origin = request.origin
    port = "" if origin.port in (80, 443) else f":{origin.port}"
    url = f"{origin.scheme}://{origin.host}{port}{request.target.decode()}"
    theirs = AWSRequest(request.method.decode(), url, data=request.body)
    for name, value in request.headers:
        theirs.headers[name.decode()] = value.decode()
    theirs.context["timestamp"] = f"{now:%Y%m%dT%H%M%SZ}"
    theirs.headers["X-Amz-Date"] = theirs.context["timestamp"]
    if credentials.session_token:
        theirs.headers["X-Amz-Security-Token"] = credentials.session_token
    auth = SigV4Auth(
        Credentials(credentials.access_key_id, credentials.secret_access_key, credentials.session_token),
        "bedrock",
        "eu-west-1",
    )
    text = auth.string_to_sign(theirs, auth.canonical_request(theirs))
    auth._inject_signature_to_request(theirs, auth.signature(text, theirs))
    authorization: str = theirs.headers["Authorization"]
    return authorization


def a_request(target: str = "/", headers: Headers | None = None, body: bytes = b"{}") -> HttpRequest:
    origin = Origin("https", "dynamodb.eu-west-1.amazonaws.com", 443)
    return HttpRequest(b"POST", origin, target.encode(), headers or [], body)


def authorization(request: HttpRequest, credentials: AwsCredentials, now: datetime = NOON) -> str:
    value = find(Signer("eu-west-1", "bedrock").sign(request, credentials, now), b"authorization")
    assert value is not None
    return value.decode()


@given(
    path=segments,
    query=queries,
    values=st.dictionaries(
        st.sampled_from(["x-amz-target", "content-type", "a-b", "user-agent"]), header_values
    ),
    body=st.binary(max_size=60),
    credentials=st.sampled_from([STATIC, SESSION]),
    port=st.sampled_from([443, 8443]),
    moment=st.integers(0, 10**9),
)
def test_any_request_is_signed_as_botocore_signs_it(
    path: list[str],
    query: list[tuple[str, str]],
    values: dict[str, str],
    body: bytes,
    credentials: AwsCredentials,
    port: int,
    moment: int,
) -> None:
    target = "/" + "/".join(quote(segment, safe="") for segment in path)
    if query:
        target += "?" + "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    request = HttpRequest(
        b"POST",
        Origin("https", "runtime.example.com", port),
        target.encode(),
        [(name.encode(), value.encode()) for name, value in values.items()],
        body,
    )
    now = NOON + timedelta(seconds=moment)
    assert authorization(request, credentials, now) == botocore_authorization(request, credentials, now)


def test_what_was_there_stays_and_what_signs_is_added() -> None:
    signed = Signer("eu-west-1", "dynamodb").sign(a_request(headers=[(b"a", b"b")]), SESSION, NOON)
    assert signed[:-1] == [
        (b"a", b"b"),
        (b"x-amz-date", b"20261123T120000Z"),
        (b"x-amz-security-token", b"session/token+text=="),
    ]
    assert signed[-1][1].startswith(b"AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE/20261123/eu-west-1/dynamodb/")


def test_one_signer_follows_the_day_and_the_secret() -> None:
    signer = Signer("eu-west-1", "bedrock")
    for credentials in (STATIC, SESSION, STATIC):
        for day in range(3):
            now = NOON + timedelta(days=day)
            signed = find(signer.sign(a_request(), credentials, now), b"authorization")
            assert signed == botocore_authorization(a_request(), credentials, now).encode()


@pytest.mark.parametrize("secret", [STATIC.secret_access_key, SESSION.session_token])
def test_credentials_never_show_their_secrets(secret: str) -> None:
    assert secret not in repr(STATIC) + repr(SESSION)
