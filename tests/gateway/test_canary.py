"""Secrets in every place that takes one, and in places that do not: none of them is kept, shown or logged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

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
from tests.support.google import a_pair, form_of, granted, login_file, refused, service_account_file
from tests.support.laptop import RawClient
from tests.support.upstream import (
    Ending,
    Framing,
    Received,
    Reply,
    ScriptedUpstream,
    ToolCall,
    error_reply,
    json_message,
    json_reply,
    sse_message,
    sse_reply,
    usage,
)

STORED = "sk-ant-api03-canary-stored"
IN_FILE = "sk-ant-api03-canary-file"
OAUTH = "sk-ant-oat01-canary-login"
CALLERS = "sk-ant-api03-canary-caller"
TOKEN, REFRESH = "ya29.canary-token", "1//canary-refresh"
UNKNOWN_KEY = a_secret(424242)
USED = usage(input_tokens=3, output_tokens=2)
ABSURD = usage(input_tokens=2**53 - 1, output_tokens=2**53 - 1)


def answer(received: Received) -> Reply:
    """Play what the request asks for in `user-agent`; an answer always holds the canary."""
    if received.target == b"/token":
        form = form_of(received.body)
        return granted(TOKEN) if "assertion" in form else refused(REFRESH, json.dumps(form))
    play = (received.header("user-agent") or b"").decode()
    text = f"{ANSWER} and {PROMPT}"
    if play == "error":
        return error_reply(400, "invalid_request_error", text)
    if play == "garbage":
        return Reply(framing=Framing.RAW, pieces=(f"{text} is not HTTP\r\n\r\n".encode(), Ending.CLOSE))
    if play == "garbage-header":
        head = f"HTTP/1.1 200 OK\r\n{text}\r\nX: \x00{ANSWER}\r\n\r\n"
        return Reply(framing=Framing.RAW, pieces=(head.encode(), Ending.CLOSE))
    if play == "cut":
        return sse_message(text, usage=USED).cut_after(500)
    if play == "odd-events":
        return sse_reply([f"event: {ANSWER}\ndata: {ANSWER}\n\n".encode(), f"data: {ANSWER}".encode()])
    if play == "odd-json":
        return json_reply({"usage": ANSWER, "model": {"x": ANSWER}, "content": ANSWER})
    if play == "absurd":
        return json_message(text, usage=ABSURD)
    tool = ToolCall("Bash", {"command": TOOL})
    is_stream = json.loads(received.body).get("stream")
    return (sse_message if is_stream else json_message)(text, usage=USED, tool=tool)


def policy(upstream: ScriptedUpstream, folder: Path) -> dict[str, object]:
    (folder / "credential").write_text(f"{IN_FILE}\n")
    (folder / "two-lines").write_text(f"{IN_FILE}\n{STORED}\n")
    credentials = {
        "stored": "env:CANARY",
        "mine": "caller",
        "filed": f"file:{folder / 'credential'}",
        "broken": f"file:{folder / 'two-lines'}",
        "unset": "env:UNSET",
    }
    providers = [
        {"slug": slug, "type": "anthropic", "credential": credential, "base_url": upstream.base_url}
        for slug, credential in credentials.items()
    ]
    for slug in ("google", "google-login", "google-broken"):
        place = {"type": "vertex", "region": "global", "project": "our-project-123"}
        credential = f"env:{slug.upper().replace('-', '_')}"
        providers.append({"slug": slug, **place, "credential": credential, "base_url": upstream.base_url})
    nothing = {"name": "nothing", "scope": {"metadata.team": "broke"}, "usd": 0, "period": "day"}
    everyone = {"name": "everyone", "scope": {"key": "*"}, "usd": 1000, "period": "day"}
    return {
        "providers": providers,
        "budgets": [nothing, everyone],
        "keys": [{"name": "haiku", "models": ["x"]}],
    }


def good_cases(key: str) -> list[Case]:
    ours = ("x-farebox-key", key)
    tags = ("x-farebox-metadata", '{"ticket": "FB-7"}')
    return [
        ("stream", 200, a_body(), [ours, tags]),
        ("whole", 200, a_body(stream=False), [("x-portkey-api-key", key)]),
        ("bearer", 200, a_body(), [("authorization", f"Bearer {key}"), ("x-api-key", CALLERS)]),
        ("x-api-key", 200, a_body(), [("x-api-key", key), ("authorization", f"Bearer {OAUTH}")]),
        ("file", 200, a_body(), [ours, ("x-farebox-provider", "@filed")]),
        (
            "login",
            200,
            a_body(),
            [ours, ("x-farebox-provider", "@mine"), ("authorization", f"Bearer {OAUTH}")],
        ),
        ("google", 200, a_body(), [ours, ("x-farebox-provider", "@google")]),
        ("own key", 200, a_body(), [ours, ("x-farebox-provider", "@mine"), ("x-api-key", CALLERS)]),
        ("cookie", 200, a_body(), [ours, ("cookie", f"session={FOREIGN}"), ("x-mine", FOREIGN)]),
        ("odd metadata", 200, a_body(metadata={"user_id": [PROMPT]}), [ours]),
    ]


def inline_config() -> str:
    return json.dumps({"provider": "@stored", "api_key": FOREIGN})


def wrong_configs() -> list[dict[str, object]]:
    """Write configs with a secret where another value belongs."""
    query = {"metadata.a": {"$regex": f"{FOREIGN}("}}
    strategy = {"mode": "conditional", "conditions": [{"query": query, "then": "x"}]}
    return [
        {"provider": f"{FOREIGN}\n"},
        {"provider": "@stored", "cache": FOREIGN},
        {"provider": "@stored", "retry": {"attempts": FOREIGN}},
        {"provider": "@stored", "override_params": FOREIGN},
        {"provider": "@stored", "aws_secret_access_key": FOREIGN},
        {"strategy": {"mode": FOREIGN}, "targets": [{"provider": "@stored"}]},
        {"strategy": strategy, "targets": [{"name": "x", "provider": "@stored"}]},
    ]


def refused_cases(key: str) -> list[Case]:
    ours = ("x-farebox-key", key)
    return [
        ("unknown key", 401, a_body(), [("x-farebox-key", UNKNOWN_KEY)]),
        ("login as key", 401, a_body(), [("x-farebox-key", OAUTH)]),
        ("no key", 401, a_body(), [("authorization", f"Bearer {OAUTH}"), ("x-api-key", CALLERS)]),
        ("no credential", 401, a_body(), [ours, ("x-farebox-provider", "@mine"), ("x-api-key", FOREIGN)]),
        ("budget", 402, a_body(), [ours, ("x-farebox-metadata", '{"team": "broke"}')]),
        ("provider", 400, a_body(model="@nobody/x"), [ours]),
        ("metadata", 400, a_body(), [ours, ("x-farebox-metadata", f'{{"a": ["{FOREIGN}"]}}')]),
        ("metadata text", 400, a_body(), [ours, ("x-farebox-metadata", FOREIGN)]),
        ("long metadata", 400, a_body(), [ours, ("x-farebox-metadata", json.dumps({"a": FOREIGN * 9}))]),
        ("inline config", 400, a_body(), [ours, ("x-portkey-config", inline_config())]),
        ("config", 400, a_body(), [ours, ("x-farebox-config", f'{{"api_key": "{FOREIGN}"')]),
        *[
            (f"wrong config {index}", 400, a_body(), [ours, ("x-portkey-config", json.dumps(config))])
            for index, config in enumerate(wrong_configs())
        ],
        ("timeout", 400, a_body(), [ours, ("x-portkey-request-timeout", FOREIGN)]),
        ("unset", 500, a_body(), [ours, ("x-farebox-provider", "@unset")]),
        ("google-login", 500, a_body(), [ours, ("x-farebox-provider", "@google-login")]),
        ("google-broken", 500, a_body(), [ours, ("x-farebox-provider", "@google-broken")]),
        ("broken", 500, a_body(), [ours, ("x-farebox-provider", "@broken")]),
        ("not JSON", 400, f"{{{PROMPT}".encode(), [ours]),
        ("not an object", 400, json.dumps([PROMPT]).encode(), [ours]),
        ("bad UTF-8", 400, a_body().replace(b"canary", b"canary\xff", 1), [ours]),
        ("twice", 400, a_body().replace(b"{", f'{{"model":"{PROMPT}",'.encode(), 1), [ours]),
        *[
            (f"wrong {name}", 400, a_body(**{name: value}), [ours])
            for name, value in {
                "model": {"id": PROMPT},
                "max_tokens": PROMPT,
                "stream": PROMPT,
                "tools": PROMPT,
                "speed": {"x": PROMPT},
            }.items()
        ],
    ]


def failing_cases(key: str) -> list[Case]:
    plays: list[tuple[str, int | None, bytes]] = [
        ("garbage", 502, a_body()),
        ("garbage-header", 502, a_body()),
        ("odd-json", 200, a_body(stream=False)),
        ("odd-events", 200, a_body()),
        ("error", 400, a_body()),
        ("cut", 200, a_body()),
    ]
    return [
        (play, status, body, [("x-farebox-key", key), ("user-agent", play)]) for play, status, body in plays
    ]


RELAYED = frozenset({"error"})


def leave_midway(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port) as client:
        client.send(
            f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-farebox-key: {gateway.gateway_key}\r\n"
            f"Content-Length: 9999\r\n\r\n{PROMPT}".encode()
        )
    with RawClient(gateway.port) as client:
        client.send(f"{PROMPT} {OAUTH}\r\n\r\n".encode())
        client.socket.recv(1000)


def ask_admin(gateway: GatewayProcess, seen: Seen) -> None:
    read_admin(gateway, seen)
    misplaced = [
        ("/v1/api-keys", {"name": [PROMPT], "secret": FOREIGN}, gateway.admin_key, 400),
        ("/v1/apply", {"providers": [{"slug": "p", "type": "anthropic", "credential": STORED}]}, None, 401),
        *[
            ("/v1/configs", {"slug": "wrong", "config": config}, gateway.admin_key, 400)
            for config in [json.loads(inline_config()), *wrong_configs()]
        ],
        ("/v1/api-keys", {"name": "n"}, gateway.gateway_key, 401),
        ("/v1/api-keys", {"name": "n"}, OAUTH, 401),
    ]
    for target, document, key, status in misplaced:
        headers = [("authorization", f"Bearer {key or FOREIGN}"), ("content-type", "application/json")]
        with RawClient(gateway.port) as client:
            client.request("POST", target, headers, json.dumps(document).encode())
            told = client.read_answer()
        assert told.status == status, (target, told.body)
        seen.texts[f"admin refusal of {document}"] = told.body


def put_a_credential_in_the_wrong_place(gateway: GatewayProcess, folder: Path, seen: Seen) -> None:
    file = folder / "wrong.yaml"
    provider = {"slug": "p", "type": "anthropic", "credential": STORED}
    file.write_text(json.dumps({"providers": [provider]}))
    done = gateway.run("apply", str(file))
    assert done.returncode != 0
    seen.texts["a refused apply"] = (done.stdout + done.stderr).encode()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, Seen]]:
    """Ask everything of one gateway, and collect everything that it wrote or said."""
    folder, seen = tmp_path_factory.mktemp("canary"), Seen()
    with ScriptedUpstream(answer) as upstream:
        file = json.dumps(policy(upstream, folder))
        environment = {
            "CANARY": STORED,
            "GOOGLE": service_account_file(),
            "GOOGLE_LOGIN": login_file(refresh_token=REFRESH),
            "GOOGLE_BROKEN": service_account_file(private_key=f"-----BEGIN {STORED}"),
            "FAREBOX_GOOGLE_ENDPOINT_URL": upstream.base_url,
        }
        # The first start shows the new keys, once and on purpose.
        with GatewayProcess(folder, config=file, environment=environment):
            pass
        with GatewayProcess(folder, config=file, environment=environment) as gateway:
            key = gateway.gateway_key
            for case in [*good_cases(key), *refused_cases(key), *failing_cases(key)]:
                ask(gateway, case, seen, relayed=RELAYED)
            absurd = [("x-farebox-key", key), ("user-agent", "absurd")]
            ask(gateway, ("absurd", None, a_body(stream=False), absurd), seen)
            leave_midway(gateway)
            ask_admin(gateway, seen)
            put_a_credential_in_the_wrong_place(gateway, folder, seen)
            read_store(gateway, seen, "while running")
        read_store(gateway, seen, "after the end")
        seen.texts["standard output"] = "".join(gateway.output).encode()
        seen.texts["standard error"] = "".join(gateway.errors).encode()
        yield gateway, seen


def test_every_request_ended_as_it_was_meant_to(scene: tuple[GatewayProcess, Seen]) -> None:
    gateway, seen = scene
    key = gateway.gateway_key
    cases = [*good_cases(key), *refused_cases(key), *failing_cases(key)]
    assert {name: seen.statuses[name] for name, *_ in cases} == {name: status for name, status, *_ in cases}
    logged = seen.texts["standard output"].count(b'"event":"request"')
    assert logged >= len([case for case in cases if case[1] != 401])
    assert seen.texts["farebox.db-wal while running"]


SECRETS = [STORED, IN_FILE, OAUTH, CALLERS, TOKEN, REFRESH, UNKNOWN_KEY]


@pytest.mark.parametrize("secret", [*SECRETS, PROMPT, SYSTEM, TOOL, ANSWER, FOREIGN])
def test_a_secret_is_nowhere_but_where_it_belongs(secret: str, scene: tuple[GatewayProcess, Seen]) -> None:
    assert scene[1].with_secret(secret) == []


def test_a_service_accounts_key_is_nowhere(scene: tuple[GatewayProcess, Seen]) -> None:
    assert scene[1].with_secret(a_pair().private.splitlines()[1]) == []


def test_our_own_keys_are_kept_as_hashes_alone(scene: tuple[GatewayProcess, Seen]) -> None:
    gateway, seen = scene
    for key in (gateway.gateway_key, gateway.admin_key):
        assert seen.with_secret(key) == []
        assert key[:9].encode() in seen.texts["farebox.db after the end"]


def test_the_search_would_find_a_secret(scene: tuple[GatewayProcess, Seen]) -> None:
    gateway, seen = scene
    with sqlite3.connect(gateway.data / "farebox.db") as store:
        [(name,)] = store.execute("SELECT name FROM key WHERE name = 'haiku'").fetchall()
    store.close()
    assert "farebox.db after the end" in seen.with_secret(name)
    assert "admin /v1/api-keys" in seen.with_secret(name)
