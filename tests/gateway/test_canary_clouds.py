"""Secrets of the clouds and prompts on the clouds' own paths: none of them is kept, shown or logged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from tests.support.bedrock import bedrock_error, bedrock_json, bedrock_stream, exception_frame, framed
from tests.support.builders import a_secret
from tests.support.canary import (
    ANSWER,
    FOREIGN,
    PROMPT,
    SYSTEM,
    TOOL,
    Case,
    Seen,
    a_body,
    ask,
    read_admin,
    read_store,
)
from tests.support.gateway_process import GatewayProcess
from tests.support.upstream import (
    Ending,
    Framing,
    Received,
    Reply,
    ScriptedUpstream,
    error_reply,
    json_message,
    json_reply,
    sse_message,
    usage,
)

AWS_SECRET, AWS_SESSION = "aws/secret+canary", "aws/session+canary=="
ROLE_SECRET, ROLE_SESSION = "role/secret+canary", "role/session+canary=="
BEDROCK_KEY, FOUNDRY_KEY, PLATFORM_KEY = "bedrock-key-canary", "foundry-key-canary", "platform-key-canary"
ENTRA_SECRET, ENTRA_TOKEN = "entra~secret.canary", "entra.token-canary"
CLIENTS_SIGNATURE, CLIENTS_SESSION = "clients-signature-canary", "clients-session-canary"
UNKNOWN_KEY = a_secret(424243)
ROLE = "arn:aws:iam::123456789012:role/farebox-canary"
REFUSED_ROLE, REFUSED_CLIENT = f"{ROLE}-refused", "00000000-0000-0000-0000-000000000000"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRETS = [
    *(AWS_SECRET, AWS_SESSION, ROLE_SECRET, ROLE_SESSION, BEDROCK_KEY, FOUNDRY_KEY, PLATFORM_KEY),
    *(ENTRA_SECRET, ENTRA_TOKEN, CLIENTS_SIGNATURE, CLIENTS_SESSION, UNKNOWN_KEY),
    *(PROMPT, SYSTEM, TOOL, ANSWER, FOREIGN),
]
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": AWS_SECRET, "session_token": AWS_SESSION}
ENVIRONMENT = {
    "AWS_KEYS": json.dumps(KEYS),
    "BROKEN_KEYS": json.dumps({"access_key_id": AWS_SECRET, "session_token": AWS_SESSION}),
    "BEDROCK_KEY": BEDROCK_KEY,
    "FOUNDRY_KEY": FOUNDRY_KEY,
    "PLATFORM_KEY": PLATFORM_KEY,
    "ENTRA_SECRET": ENTRA_SECRET,
}
ENTRA = {"type": "foundry", "credential": "env:ENTRA_SECRET", "tenant_id": "ours.example"}
BEDROCK = {"type": "bedrock", "region": "eu-central-1", "credential": "env:AWS_KEYS"}
PLATFORM = {"type": "anthropic-aws", "region": "us-west-2", "workspace_id": "wrkspc_1"}
PROVIDERS: dict[str, dict[str, str]] = {
    "bedrock": BEDROCK,
    "bedrock-key": {**BEDROCK, "credential": "env:BEDROCK_KEY"},
    "bedrock-role": {**BEDROCK, "role_arn": ROLE},
    "mantle": {**BEDROCK, "endpoint": "mantle"},
    "foundry": {"type": "foundry", "credential": "env:FOUNDRY_KEY"},
    "entra": {**ENTRA, "client_id": CLIENT},
    "platform": {**PLATFORM, "credential": "env:AWS_KEYS"},
    "platform-key": {**PLATFORM, "credential": "env:PLATFORM_KEY"},
}
WITHOUT_CREDENTIAL: dict[str, dict[str, str]] = {
    "refused-role": {**BEDROCK, "role_arn": REFUSED_ROLE},
    "refused-client": {**ENTRA, "client_id": REFUSED_CLIENT},
    "broken-keys": {**BEDROCK, "credential": "env:BROKEN_KEYS"},
    "no-keys": {**PLATFORM, "credential": "aws"},
}
MODEL = "us.anthropic.claude-opus-5-5"
TEXT = f"{ANSWER} and {PROMPT}"
USED = usage(input_tokens=3, output_tokens=2)


def answer(received: Received) -> Reply:
    """Play the clouds and who gives tokens; `user-agent` says how an answer ends, and each holds canaries."""
    target = received.target.decode()
    if target.endswith("/oauth2/v2.0/token"):
        return entra(received)
    if target == "/":
        return sts(received)
    play = (received.header("user-agent") or b"").decode()
    is_bedrock = target.startswith("/model/")
    if play == "error":
        return (
            bedrock_error(400, "ValidationException", TEXT)
            if is_bedrock
            else error_reply(400, "invalid_request_error", TEXT)
        )
    if play == "refused":
        return json_reply({"message": f"{TEXT} {ROLE}"}, status=403)
    if play == "garbage":
        return Reply(framing=Framing.RAW, pieces=(f"{TEXT} is not HTTP\r\n\r\n".encode(), Ending.CLOSE))
    if "count" in target:
        return bedrock_json(json.dumps({"inputTokens": 3, "input_tokens": 3, "x": TEXT}).encode())
    stream = sse_message(TEXT, usage=USED)
    if is_bedrock:
        return of_bedrock(target, stream, play)
    if play == "cut":
        return stream.cut_after(500)
    return stream if json.loads(received.body).get("stream") else json_message(TEXT, usage=USED)


def of_bedrock(target: str, stream: Reply, play: str) -> Reply:
    if target.endswith("/invoke"):
        return bedrock_json(json_message(TEXT, usage=USED).body)
    whole = bedrock_stream(stream)
    if play == "cut":
        return framed([*whole.pieces[:3], exception_frame("modelStreamErrorException", TEXT)])
    return whole


def entra(received: Received) -> Reply:
    if REFUSED_CLIENT.encode() in received.body:
        told = {"error": "invalid_client", "error_description": f"AADSTS7000215: {ENTRA_SECRET} is wrong"}
        return json_reply(told, status=401)
    return json_reply({"token_type": "Bearer", "expires_in": 3599, "access_token": ENTRA_TOKEN})


def sts(received: Received) -> Reply:
    if quote(REFUSED_ROLE, safe="").encode() in received.body:
        told = f"<Error><Code>AccessDenied</Code><Message>{AWS_SECRET} {AWS_SESSION}</Message></Error>"
        return Reply(403, (), (told.encode(),))
    until = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    given = {"AccessKeyId": "ASIAROLE", "SecretAccessKey": ROLE_SECRET, "SessionToken": ROLE_SESSION}
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in {**given, "Expiration": until}.items())
    return Reply(200, (("Content-Type", "text/xml"),), (f"<Credentials>{fields}</Credentials>".encode(),))


def policy(upstream: ScriptedUpstream) -> str:
    providers = [
        {"slug": slug, "base_url": upstream.base_url, **settings}
        for slug, settings in {**PROVIDERS, **WITHOUT_CREDENTIAL}.items()
    ]
    everyone = {"name": "everyone", "scope": {"key": "*"}, "usd": 1000, "period": "day"}
    nothing = {"name": "nothing", "scope": {"metadata.team": "broke"}, "usd": 0, "period": "day"}
    return json.dumps(
        {"providers": providers, "budgets": [nothing, everyone], "keys": [{"name": "haiku", "models": ["x"]}]}
    )


Placed = tuple[str, Case]
"""The path that a case is asked at."""

ENDINGS: dict[str, int | None] = {"good": 200, "error": 400, "refused": 403, "garbage": 502, "cut": 200}
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"


def outward_cases(key: str) -> Iterator[Placed]:
    for slug in PROVIDERS:
        ours = [("x-farebox-key", key), ("x-farebox-provider", f"@{slug}")]
        for play, status in ENDINGS.items():
            yield MESSAGES, (f"{slug} {play}", status, a_body(), [*ours, ("user-agent", play)])
        yield MESSAGES, (f"{slug} whole", 200, a_body(stream=False), ours)
        yield COUNT, (f"{slug} count", 200, a_body(), ours)
    for slug in WITHOUT_CREDENTIAL:
        ours = [("x-farebox-key", key), ("x-farebox-provider", f"@{slug}")]
        yield MESSAGES, (f"{slug} message", 500, a_body(), ours)
        yield COUNT, (f"{slug} count", 500, a_body(), ours)


def inward_cases(key: str) -> Iterator[Placed]:
    fields = {name: value for name, value in json.loads(a_body()).items() if name not in ("model", "stream")}
    bodies = {
        "bedrock": json.dumps({"anthropic_version": "bedrock-2023-05-31", **fields}).encode(),
        "vertex": json.dumps({"anthropic_version": "vertex-2023-10-16", "stream": True, **fields}).encode(),
    }
    models = "/v1/projects/p/locations/global/publishers/anthropic/models"
    paths = {
        "bedrock": f"/model/{MODEL}/invoke-with-response-stream",
        "vertex": f"{models}/claude-opus-5-5:streamRawPredict",
    }
    bearer = [("authorization", f"Bearer {key}")]
    signature = "AWS4-HMAC-SHA256 Credential=AKIACLIENT/20261128/us-east-1/bedrock/aws4_request, "
    signed = [
        ("authorization", f"{signature}SignedHeaders=host, Signature={CLIENTS_SIGNATURE}"),
        ("x-amz-security-token", CLIENTS_SESSION),
    ]
    for api, path in paths.items():
        body = bodies[api]
        for play, status in ENDINGS.items():
            headers = [*bearer, ("x-farebox-provider", "@foundry"), ("user-agent", play)]
            yield path, (f"in {api} {play}", status, body, headers)
        yield path, (f"in {api} signed and keyed", 200, body, [*signed, ("x-farebox-key", key)])
        yield path, (f"in {api} signed", 401, body, signed)
        yield path, (f"in {api} unknown", 401, body, [("authorization", f"Bearer {UNKNOWN_KEY}")])
        broke = ("x-farebox-metadata", '{"team": "broke"}')
        yield path, (f"in {api} budget", 402, body, [*bearer, broke])
        yield path, (f"in {api} not JSON", 400, f"{{{PROMPT}".encode(), bearer)
        yield path, (f"in {api} wrong", 400, json.dumps({**fields, "tools": PROMPT}).encode(), bearer)
    yield f"/model/{MODEL}/invoke", ("in bedrock whole", 200, bodies["bedrock"], bearer)
    yield f"/model/{MODEL}/converse", ("in bedrock converse", 404, bodies["bedrock"], bearer)
    counted = json.dumps({"model": "claude-opus-5-5", "messages": fields["messages"]}).encode()
    yield f"{models}/count-tokens:rawPredict", ("in vertex count", 200, counted, bearer)


def is_relayed(name: str) -> bool:
    """Whether what the client is told are a provider's words."""
    return name.endswith((" error", " refused"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, Seen]]:
    """Ask everything of one gateway, and collect everything that it wrote or said."""
    folder, seen = tmp_path_factory.mktemp("canary-clouds"), Seen()
    with ScriptedUpstream(answer) as upstream:
        environment = {
            **ENVIRONMENT,
            "AZURE_AUTHORITY_HOST": upstream.base_url,
            "AWS_ENDPOINT_URL_STS": upstream.base_url,
        }
        file = policy(upstream)
        # The first start shows the new keys, once and on purpose.
        with GatewayProcess(folder, config=file, environment=environment):
            pass
        with GatewayProcess(folder, config=file, environment=environment) as gateway:
            for target, case in placed(gateway):
                relayed = frozenset({case[0]} if is_relayed(case[0]) else ())
                ask(gateway, case, seen, target=target, relayed=relayed)
            read_admin(gateway, seen)
            read_store(gateway, seen, "while running")
        read_store(gateway, seen, "after the end")
        seen.texts["standard output"] = "".join(gateway.output).encode()
        seen.texts["standard error"] = "".join(gateway.errors).encode()
        yield gateway, seen


def placed(gateway: GatewayProcess) -> list[Placed]:
    return [*outward_cases(gateway.gateway_key), *inward_cases(gateway.gateway_key)]


def test_every_request_ended_as_it_was_meant_to(scene: tuple[GatewayProcess, Seen]) -> None:
    gateway, seen = scene
    cases = [case for _, case in placed(gateway)]
    assert {name: seen.statuses[name] for name, *_ in cases} == {name: status for name, status, *_ in cases}
    logged = seen.texts["standard output"].count(b'"event":"request"')
    assert logged >= len([case for case in cases if case[1] == 200 and "count" not in case[0]])


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_nowhere_but_where_it_belongs(secret: str, scene: tuple[GatewayProcess, Seen]) -> None:
    assert scene[1].with_secret(secret) == []


def test_no_gateway_key_that_came_as_a_clouds_is_kept(scene: tuple[GatewayProcess, Seen]) -> None:
    gateway, seen = scene
    assert seen.with_secret(gateway.gateway_key) == []
    assert seen.with_secret(gateway.admin_key) == []
