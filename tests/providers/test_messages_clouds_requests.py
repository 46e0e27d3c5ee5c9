"""What Foundry and Claude Platform on AWS are asked: as the SDK asks, signed as botocore signs."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import AnthropicAWS, AnthropicFoundry
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.domain.config import CloudSettings, ProviderSpec
from farebox.domain.errors import ConfigInvalid
from farebox.ports.bearer import BearerToken, Credential
from farebox.providers.base import COUNT_TOKENS, MESSAGES, Call
from farebox.providers.registry import PROVIDERS, Providers
from farebox.wire.headers import find
from farebox.wire.http import HttpRequest, Timeouts
from farebox.wire.sigv4 import AwsCredentials
from tests.gateway.peers import ScriptedTransport
from tests.support.builders import NOON, FixedClock
from tests.support.laptop import HOST, Laptop, a_policy
from tests.support.upstream import ScriptedUpstream, json_message, usage

MODEL = "claude-opus-5-5"
MESSAGE: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi."}]}
PLATFORM = ProviderSpec(
    "p", "anthropic-aws", "aws", region="us-west-2", cloud=CloudSettings(workspace_id="wrkspc_01Ab")
)
FOUNDRY = ProviderSpec("f", "foundry", "env:KEY", cloud=CloudSettings(resource="ours"))
KEYS = AwsCredentials("AKIDEXAMPLE", "secret/of+ours", "session/token+text==")

bodies = st.dictionaries(
    st.text(max_size=8), st.text(max_size=30) | st.integers() | st.booleans(), max_size=4
)
own_headers = st.dictionaries(
    st.sampled_from([b"user-agent", b"x-app", b"anthropic-beta", b"x-stainless-lang", b"traceparent"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).map(str.encode),
)


async def asked(spec: ProviderSpec, call: Call, now: datetime = NOON) -> HttpRequest:
    transport = ScriptedTransport()
    await Providers(transport, {}, Timeouts(), FixedClock(now)).send(spec, call)
    return transport.sent[0]


def a_call(secret: Credential, operation: str = MESSAGES, **changes: Any) -> Call:
    body = json.dumps({**MESSAGE, "max_tokens": 5}).encode()
    return Call(operation, b"", [(b"content-type", b"application/json")], body, False, None, secret, None)


@given(
    fields=bodies,
    headers=own_headers,
    workspace=st.none() | st.from_regex(r"wrkspc_[A-Za-z0-9]{1,20}", fullmatch=True),
    region=st.sampled_from(["us-west-2", "eu-central-1", "us-gov-east-1"]),
    token=st.none() | st.text("abc/+=", min_size=1, max_size=20),
    operation=st.sampled_from([MESSAGES, COUNT_TOKENS]),
    query=st.sampled_from([b"", b"beta=true"]),
    moment=st.integers(0, 10**9),
)
async def test_any_request_to_claude_platform_on_aws_is_signed_as_botocore_signs_it(
    fields: dict[str, Any],
    headers: dict[bytes, bytes],
    workspace: str | None,
    region: str,
    token: str | None,
    operation: str,
    query: bytes,
    moment: int,
) -> None:
    keys = AwsCredentials(KEYS.access_key_id, KEYS.secret_access_key, token)
    spec = ProviderSpec("p", "anthropic-aws", region=region, cloud=CloudSettings(workspace_id=workspace))
    body = json.dumps({**fields, **MESSAGE}).encode()
    sent = [(b"content-type", b"application/json"), *headers.items()]
    now = NOON + timedelta(seconds=moment)
    request = await asked(spec, Call(operation, query, sent, body, False, None, keys, None), now)
    names = (find(request.headers, b"authorization") or b"").decode().partition("SignedHeaders=")[2]
    assert find(request.headers, b"authorization") == as_botocore_signs(request, keys, region).encode()
    assert ("anthropic-workspace-id" in names.partition(",")[0].split(";")) == (workspace is not None)


def as_botocore_signs(request: HttpRequest, keys: AwsCredentials, region: str) -> str:
    url = f"https://{request.origin.host}{request.target.decode()}"
    theirs = AWSRequest(request.method.decode(), url, data=request.body)
    for name, value in request.headers:
        if name not in (b"authorization", b"x-amz-security-token"):
            theirs.headers[name.decode()] = value.decode("latin-1")
    theirs.context["timestamp"] = (find(request.headers, b"x-amz-date") or b"").decode()
    credentials = BotoCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    if keys.session_token is not None:
        theirs.headers["X-Amz-Security-Token"] = keys.session_token
    signer = SigV4Auth(credentials, "aws-external-anthropic", region)
    text = signer.string_to_sign(theirs, signer.canonical_request(theirs))
    signer._inject_signature_to_request(theirs, signer.signature(text, theirs))
    signed: str = theirs.headers["Authorization"]
    return signed


def sdk_request(client_type: type[AnthropicAWS] | type[AnthropicFoundry], **settings: Any) -> httpx2.Request:
    """Give what the SDK's client sends for a message, up to the network."""
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={"id": "m", "type": "message", "role": "assistant", "content": []})

    http_client = httpx2.Client(transport=httpx2.MockTransport(answer))
    with client_type(**settings, http_client=http_client, max_retries=0) as client:
        client.messages.create(**MESSAGE, max_tokens=5)
    return seen[0]


@pytest.mark.parametrize(
    ("spec", "secret", "client_type", "settings"),
    [
        (
            PLATFORM,
            KEYS,
            AnthropicAWS,
            {
                "aws_access_key": KEYS.access_key_id,
                "aws_secret_key": KEYS.secret_access_key,
                "aws_session_token": KEYS.session_token,
                "aws_region": "us-west-2",
                "workspace_id": "wrkspc_01Ab",
            },
        ),
        (
            PLATFORM,
            "platform-key",
            AnthropicAWS,
            {"api_key": "platform-key", "aws_region": "us-west-2", "workspace_id": "wrkspc_01Ab"},
        ),
        (FOUNDRY, "azure-key", AnthropicFoundry, {"api_key": "azure-key", "resource": "ours"}),
        (
            FOUNDRY,
            "entra-token",
            AnthropicFoundry,
            {"azure_ad_token_provider": lambda: "entra-token", "resource": "ours"},
        ),
    ],
    ids=["signed", "platform key", "azure key", "entra token"],
)
async def test_a_cloud_is_asked_as_the_sdks_own_client_asks_it(
    spec: ProviderSpec,
    secret: Credential,
    client_type: type[AnthropicAWS] | type[AnthropicFoundry],
    settings: dict[str, Any],
) -> None:
    theirs = sdk_request(client_type, **settings)
    if "azure_ad_token_provider" in settings:
        secret = BearerToken(str(secret), no_other)
    ours = await asked(spec, a_call(secret))
    assert (ours.origin.scheme, ours.origin.host) == (theirs.url.scheme, theirs.url.host)
    assert ours.target.decode() == theirs.url.raw_path.decode()
    for name in ("x-api-key", "api-key", "anthropic-workspace-id", "content-type"):
        value = find(ours.headers, name.encode())
        assert (value.decode() if value else None) == theirs.headers.get(name), name
    told = (find(ours.headers, b"authorization") or b"").decode()
    # A signature is another one for each moment and set of headers; who signs for what is the same.
    assert (
        told.partition(" Credential=")[0]
        == theirs.headers.get("authorization", "").partition(" Credential=")[0]
    )
    if isinstance(secret, AwsCredentials):
        assert credential_scope(told)[2:] == credential_scope(theirs.headers["authorization"])[2:]
    assert json.loads(ours.body) == json.loads(theirs.content)


async def no_other() -> BearerToken | None:
    return None


def credential_scope(authorization: str) -> list[str]:
    """Give the key, region, service and ending of what signs, without the day."""
    key, _, *scope = authorization.partition("Credential=")[2].partition(",")[0].split("/")
    return [key, *scope]


@pytest.mark.parametrize(
    ("client_type", "credential"),
    [
        (AnthropicFoundry, "api_key"),
        (AnthropicFoundry, "azure_ad_token_provider"),
        (AnthropicAWS, "api_key"),
    ],
    ids=["foundry with a key", "foundry with a token", "platform"],
)
def test_the_sdks_clients_of_clouds_can_be_pointed_here_with_a_gateway_key(
    tmp_path: Path, client_type: type[AnthropicAWS] | type[AnthropicFoundry], credential: str
) -> None:
    told = usage(input_tokens=3, output_tokens=2)
    script = [json_message("Hi.", usage=told, model=MODEL)]
    with ScriptedUpstream(script) as upstream, Laptop(tmp_path, a_policy(upstream)) as gateway:
        key = gateway.key
        settings: dict[str, Any] = {credential: (lambda: key) if credential != "api_key" else key}
        if client_type is AnthropicAWS:
            settings |= {"aws_region": "us-west-2", "workspace_id": "wrkspc_01Ab"}
        url = f"http://{HOST}:{gateway.port}"
        with client_type(base_url=url, max_retries=0, **settings) as client:
            message = client.messages.create(**MESSAGE, max_tokens=5)
        assert message.usage.output_tokens == 2
        [row] = gateway.settled(1)
        assert key not in repr(upstream.requests[0].headers)
    assert (row.key, row.usage.input_tokens) == ("alice", 3)


@pytest.mark.parametrize("spec", [PLATFORM, FOUNDRY])
async def test_a_credential_of_the_caller_does_not_travel_on(spec: ProviderSpec) -> None:
    call = a_call("cloud-key")
    own = [
        (b"authorization", b"Bearer sk-ant-oat01-mine"),
        (b"x-api-key", b"sk-ant-api03-mine"),
        (b"api-key", b"mine"),
        (b"anthropic-workspace-id", b"wrkspc_mine"),
    ]
    sent = [*call.headers, *own]
    request = PROVIDERS[spec.type].request(
        spec, Call(MESSAGES, b"", sent, call.body, False, None, "cloud-key", None)
    )
    shown = repr(request.headers)
    assert "sk-ant" not in shown
    assert ("wrkspc_mine" in shown) == (spec is FOUNDRY)
    assert "cloud-key" in shown


async def test_no_token_of_entra_goes_to_a_host_that_a_caller_chose() -> None:
    spec = replace(FOUNDRY, base_url="https://elsewhere.example", is_host_chosen=True)
    with pytest.raises(ConfigInvalid, match="no token of provider 'f' goes to another host"):
        await asked(spec, a_call(BearerToken("entra-token", no_other)))
    assert (await asked(spec, a_call("azure-key"))).origin.is_chosen
