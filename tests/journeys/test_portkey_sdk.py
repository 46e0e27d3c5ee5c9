"""The official `portkey-ai` SDK, unchanged, with a gateway's URL and key: headers, configs, admin API."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.journeys.scene import CREDENTIAL, MODEL, gateway_before
from tests.support.apart import environment_apart
from tests.support.gateway_process import GatewayProcess
from tests.support.upstream import (
    Received,
    Reply,
    ScriptedUpstream,
    error_reply,
    json_message,
    sse_message,
    usage,
)

pytestmark = pytest.mark.journey

USED = {"input_tokens": 7, "output_tokens": 5}
ASKED: dict[str, Any] = {
    "url": "/messages",
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello."}],
}
TARGETS: list[dict[str, Any]] = [{"provider": "@first", "retry": {"attempts": 0}}, {"provider": "@second"}]
FALLBACK: dict[str, Any] = {
    "strategy": {"mode": "fallback", "on_status_codes": [429, 529]},
    "targets": TARGETS,
    "cache": {"mode": "simple"},
    "request_timeout": 60_000,
}
STREAM = sse_message("Streamed.", usage=usage(**USED))


def answer(received: Received) -> Reply:
    """Be overloaded where the path says so."""
    if received.target.startswith(b"/overloaded"):
        return error_reply(529, "overloaded_error", "Overloaded")
    return STREAM if json.loads(received.body).get("stream") else json_message("Hi.", usage=usage(**USED))


@dataclass(frozen=True)
class Laptop:
    """A running gateway, and Portkey's SDK before it."""

    gateway: GatewayProcess
    upstream: ScriptedUpstream
    sdk: subprocess.Popen[str]

    def ask(self, *, call: str = "post", arguments: dict[str, Any] | None = None, **client: Any) -> Any:
        """Make one client, call one method, and give what came of it."""
        own = {"base_url": f"{self.gateway.base_url}/v1", "api_key": self.gateway.gateway_key}
        step = {
            "client": {**own, **client},
            "call": call,
            "arguments": ASKED if arguments is None else arguments,
        }
        assert self.sdk.stdin is not None
        assert self.sdk.stdout is not None
        self.sdk.stdin.write(json.dumps(step) + "\n")
        self.sdk.stdin.flush()
        return json.loads(self.sdk.stdout.readline())

    def administer(self, call: str, **arguments: Any) -> Any:
        """Call a method of the admin API."""
        told = self.ask(call=call, arguments=arguments, api_key=self.gateway.admin_key)
        return told["answer"]


@pytest.fixture(scope="module")
def sdk() -> Iterator[subprocess.Popen[str]]:
    python, client = environment_apart("portkey") / "python", Path(__file__).with_name("portkey_client.py")
    command = [str(python), "-P", str(client)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory, sdk: subprocess.Popen[str]) -> Iterator[Laptop]:
    with ScriptedUpstream(answer) as upstream:
        own = {"type": "anthropic", "credential": "env:CANARY"}
        providers = [
            {"slug": "first", "base_url": f"{upstream.base_url}/overloaded", **own},
            {"slug": "second", "base_url": upstream.base_url, **own},
        ]
        with gateway_before(tmp_path_factory.mktemp("portkey"), upstream, providers=providers) as gateway:
            yield Laptop(gateway, upstream, sdk)


def test_its_headers_name_provider_trace_and_metadata(laptop: Laptop) -> None:
    told = laptop.ask(provider="@second", trace_id="trace-7", metadata={"team": "core", "_user": "ann"})
    assert told["answer"]["content"][0]["text"] == "Hi."
    headers = told["headers"]
    assert headers["x-portkey-trace-id"] == "trace-7"
    assert headers["x-portkey-provider"] == "second"
    assert headers["x-portkey-last-used-option-index"] == "config"
    assert headers["x-portkey-retry-attempt-count"] == "0"
    row = laptop.gateway.rows("requests", "--limit", "1")[0]
    assert (row["trace_id"], row["metadata"]) == ("trace-7", {"team": "core", "_user": "ann"})
    received = laptop.upstream.requests[-1]
    assert received.header("x-api-key") == CREDENTIAL.encode()
    assert not [name for name, _ in received.headers if name.lower().startswith(b"x-portkey")]
    assert laptop.gateway.gateway_key not in repr(received.headers)


def test_an_older_virtual_key_and_a_model_name_the_provider_alike(laptop: Laptop) -> None:
    for told in (
        laptop.ask(virtual_key="second"),
        laptop.ask(arguments={**ASKED, "model": f"@second/{MODEL}"}),
    ):
        assert told["headers"]["x-portkey-provider"] == "second"
        assert json.loads(laptop.upstream.requests[-1].body)["model"] == MODEL


def test_a_config_object_falls_back_and_says_where_it_went(laptop: Laptop) -> None:
    told = laptop.ask(config=FALLBACK)
    assert told["answer"]["content"][0]["text"] == "Hi."
    assert told["headers"]["x-portkey-last-used-option-index"] == "config.targets[1]"
    assert told["headers"]["x-portkey-provider"] == "second"
    assert laptop.gateway.rows("requests", "--limit", "1")[0]["attempts"] == 2


def test_a_stream_of_anthropics_sdk_with_its_headers_arrives_byte_for_byte(laptop: Laptop) -> None:
    """Its own `post` does not stream: `createHeaders` beside Anthropic's SDK is how Portkey shows it."""
    wanted = {"api_key": laptop.gateway.gateway_key, "config": FALLBACK, "trace_id": "trace-8"}
    headers = laptop.ask(call="createHeaders", arguments=wanted)["answer"]
    with (
        anthropic.Anthropic(
            base_url=laptop.gateway.base_url, api_key="unused", default_headers=headers, max_retries=0
        ) as client,
        client.messages.with_streaming_response.create(
            model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello."}], stream=True
        ) as told,
    ):
        body = b"".join(told.iter_bytes())
    assert body == b"".join(piece for piece in STREAM.pieces if isinstance(piece, bytes))
    assert told.headers["x-portkey-last-used-option-index"] == "config.targets[1]"
    assert told.headers["x-portkey-trace-id"] == "trace-8"
    assert laptop.upstream.requests[-1].header("x-api-key") == CREDENTIAL.encode()


def test_conditions_read_the_metadata_that_the_sdk_sends(laptop: Laptop) -> None:
    config = {
        "strategy": {
            "mode": "conditional",
            "conditions": [{"query": {"metadata.plan": {"$in": ["paid"]}}, "then": "good"}],
            "default": "bad",
        },
        "targets": [{"name": "bad", "provider": "@first"}, {"name": "good", "provider": "@second"}],
    }
    paid, free = (laptop.ask(config=config, metadata={"plan": plan}) for plan in ("paid", "free"))
    assert paid["headers"]["x-portkey-provider"] == "second"
    assert (free["status"], "Overloaded" in free["message"]) == (529, True)


def test_a_saved_config_is_made_changed_and_used_by_its_slug_and_versions(laptop: Laptop) -> None:
    made = laptop.administer("configs.create", name="Team A", config=FALLBACK)
    slug = made["slug"]
    assert (slug[:10], made["version_id"]) == ("pc-team-a-", f"{slug}@1")
    assert laptop.ask(config=slug)["headers"]["x-portkey-last-used-option-index"] == "config.targets[1]"
    changed = laptop.administer("configs.update", slug=slug, config={"provider": "@second"})
    assert changed["version_id"] == f"{slug}@2"
    paths = [
        laptop.ask(config=name)["headers"]["x-portkey-last-used-option-index"]
        for name in (slug, f"{slug}@1", f"{slug}@2")
    ]
    assert paths == ["config", "config.targets[1]", "config"]
    found = laptop.administer("configs.retrieve", slug=slug)
    assert (found["name"], found["config"], found["status"]) == ("Team A", {"provider": "@second"}, "active")
    listed = laptop.administer("configs.list")
    assert (listed["total"], [each["slug"] for each in listed["data"]]) == (1, [slug])
    laptop.administer("configs.delete", slug=slug)
    assert laptop.ask(config=slug)["message"] == f"Error code: 400 - There is no config '{slug}'."


def test_a_config_with_a_mistake_is_refused_with_its_place(laptop: Laptop) -> None:
    seen = len(laptop.upstream.requests)
    told = laptop.ask(config={"targets": [{"provider": "@second", "retry": {"attemps": 2}}]})
    assert (told["error"], told["status"]) == ("BadRequestError", 400)
    assert "config.targets[0].retry.attemps: unknown field; did you mean 'attempts'?" in told["message"]
    assert len(laptop.upstream.requests) == seen


def test_further_headers_of_the_sdk_are_followed_or_refused(laptop: Laptop) -> None:
    laptop.ask(provider="@second", anthropic_beta="context-1m-2025-08-07", request_timeout=60_000)
    assert laptop.upstream.requests[-1].header("anthropic-beta") == b"context-1m-2025-08-07"
    told = laptop.ask(provider="@second", forward_headers=["x-team"], x_team="core")
    assert told["answer"]["content"][0]["text"] == "Hi."
    assert laptop.upstream.requests[-1].header("x-team") == b"core"
    refused = laptop.ask(provider="@second", custom_host="https://models.example.com")
    assert (refused["status"], "lets callers name" in refused["message"]) == (400, True)


def test_models_are_listed(laptop: Laptop) -> None:
    told = laptop.ask(call="models.list", arguments={})
    assert MODEL in [model["id"] for model in told["answer"]["data"]]


def test_a_key_that_nobody_knows_is_an_authentication_error(laptop: Laptop) -> None:
    told = laptop.ask(api_key="pk-of-portkey")
    assert (told["error"], told["status"]) == ("AuthenticationError", 401)
