"""Claude Code with a Portkey user's settings.json, in which only the URL and the key are other ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.journeys.claude_code import QUIET, ClaudeCode
from tests.journeys.scene import CREDENTIAL, MODEL, gateway_before
from tests.support.gateway_process import GatewayProcess
from tests.support.upstream import ScriptedUpstream, error_reply, sse_message, usage

pytestmark = pytest.mark.journey

RESILIENT = {
    "strategy": {"mode": "fallback", "on_status_codes": [429, 500, 529]},
    "targets": [{"provider": "@anthropic-test", "retry": {"attempts": 1}}, {"provider": "@spare"}],
}


def configured(folder: Path, gateway: GatewayProcess, *portkey_headers: str) -> ClaudeCode:
    """Write the settings that Portkey's page for Claude Code shows, with our URL and key."""
    home, project = folder / "home", folder / "project"
    for made in (home / ".claude", project):
        made.mkdir(parents=True)
    headers = [f"x-portkey-api-key: {gateway.gateway_key}", *portkey_headers]
    settings = {
        "env": {
            "ANTHROPIC_BASE_URL": gateway.base_url,
            "ANTHROPIC_AUTH_TOKEN": gateway.gateway_key,
            "ANTHROPIC_CUSTOM_HEADERS": "\n".join(headers),
        },
        "model": MODEL,
    }
    (home / ".claude" / "settings.json").write_text(json.dumps(settings))
    return ClaudeCode(folder, {"PATH": os.environ["PATH"], "HOME": str(home), **QUIET})


def test_the_provider_header_of_a_portkey_user_works_unchanged(tmp_path: Path) -> None:
    script = [sse_message("Hello.", usage=usage(input_tokens=3, output_tokens=2))]
    with ScriptedUpstream(script) as upstream, gateway_before(tmp_path, upstream) as gateway:
        told = configured(
            tmp_path / "claude",
            gateway,
            "x-portkey-provider: @anthropic-test",
            'x-portkey-metadata: {"_user": "ann", "team": "core"}',
            "x-portkey-trace-id: trace-of-ann",
        ).say("Hi.")
        assert (told.status, told.text.strip()) == (0, "Hello.")
        (row,) = gateway.rows("requests")
        assert (row["provider"], row["trace_id"]) == ("anthropic-test", "trace-of-ann")
        assert row["metadata"] == {"_user": "ann", "team": "core"}
        (received,) = upstream.requests
        assert received.header("x-api-key") == CREDENTIAL.encode()
        assert gateway.gateway_key.encode() not in repr(received.headers).encode() + received.body


def test_the_config_header_of_a_portkey_user_falls_back_unseen_also_beside_a_provider(tmp_path: Path) -> None:
    script = [
        error_reply(529, "overloaded_error", "Overloaded"),
        error_reply(529, "overloaded_error", "Overloaded"),
        sse_message("From the spare.", usage=usage(input_tokens=3, output_tokens=2)),
    ]
    with ScriptedUpstream(script) as upstream:
        own = {"type": "anthropic", "credential": "env:CANARY", "base_url": upstream.base_url}
        providers = [{"slug": slug, **own} for slug in ("anthropic-test", "spare")]
        configs = [{"slug": "pc-resili-4f2a91", "config": RESILIENT}]
        with gateway_before(tmp_path, upstream, providers=providers, configs=configs) as gateway:
            both = ("x-portkey-provider: @anthropic-test", "x-portkey-config: pc-resili-4f2a91")
            told = configured(tmp_path / "claude", gateway, *both).say("Hi.")
            assert (told.status, told.text.strip()) == (0, "From the spare.")
            (row,) = gateway.rows("requests")
            assert (row["provider"], row["attempts"], row["outcome"]) == ("spare", 3, "finished")
            assert gateway.run("ledger", "verify").returncode == 0
