"""How a gateway comes by Google's tokens: once an hour, anew after a refusal, and no secret is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from farebox.compose.settings import Settings
from farebox.domain.record import Outcome
from farebox.wire.headers import find
from farebox.wire.http import HttpRequest
from tests.gateway.stage import Stage, a_file, a_provider, a_stage
from tests.gateway.stage import asking as staged
from tests.support.google import a_pair, claims_of, form_of, granted, refused, service_account_file
from tests.support.laptop import Laptop, asking
from tests.support.upstream import Received, Reply, ScriptedUpstream, sse_message, usage
from tests.support.vertex import ACCOUNT, PROJECT, google_error

ANSWER = sse_message("A few words.", usage=usage(input_tokens=30, output_tokens=20))
REFUSED = google_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
PLACE = {"region": "global", "project": PROJECT}


def vertex(**fields: Any) -> dict[str, object]:
    return a_provider("vertex", type="vertex", credential="env:KEY", **PLACE, **fields)


def test_a_key_in_a_file_is_traded_once_and_nothing_of_it_is_kept_or_said(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text(service_account_file())
    asked: list[str] = []

    def google(received: Received) -> Reply:
        if received.target == b"/token":
            asked.append(form_of(received.body)["assertion"])
            return granted(f"ya29.canary-{len(asked)}")
        assert received.header("authorization") == b"Bearer ya29.canary-1"
        return ANSWER

    data = tmp_path / "data"
    data.mkdir()
    with ScriptedUpstream(google) as upstream:
        provider = {"slug": "vertex", "type": "vertex", "credential": f"file:{key}", **PLACE}
        policy = {"providers": [{**provider, "base_url": upstream.base_url}], "keys": [{"name": "alice"}]}
        settings = Settings(drain_s=1, google_endpoint_url=upstream.base_url)
        with Laptop(data, policy, settings=settings) as gateway:
            for _ in range(3):
                answer = gateway.ask(asking(stream=True))
                assert (answer.status, answer.body) == (200, ANSWER.body)
            gateway.settled(3)
            said = "".join(gateway.log).encode()
    assert [claims_of(assertion)["iss"] for assertion in asked] == [ACCOUNT]
    kept = b"".join(path.read_bytes() for path in data.iterdir())
    for secret in (a_pair().private.splitlines()[1], "ya29.canary", asked[0], ACCOUNT):
        assert secret.encode() not in kept + said


def google_of(stage: Stage, vertex_says: Callable[[str], Reply]) -> list[str]:
    """Let the stage's peer give `token-1`, `token-2` and so on, and answer by the token that it is shown."""
    given: list[str] = []

    def script(request: HttpRequest) -> Reply:
        if request.origin.host == "oauth2.googleapis.com":
            given.append(f"token-{len(given) + 1}")
            return granted(given[-1])
        shown = (find(request.headers, b"authorization") or b"").decode().removeprefix("Bearer ")
        return vertex_says(shown)

    stage.environment["KEY"] = service_account_file()
    stage.upstream.script = script
    return given


async def test_a_token_that_google_refuses_before_its_time_is_renewed_and_the_client_sees_none_of_it(
    tmp_path: Path,
) -> None:
    async with a_stage(tmp_path, a_file(providers=[vertex()])) as stage:
        given = google_of(stage, lambda shown: REFUSED if shown == "token-1" else ANSWER)
        told = await stage.ask(staged())
        assert told.status == 403  # a token of this minute is not refused for its age
        stage.clock.advance(timedelta(minutes=2))
        told = await stage.ask(staged())
        assert (told.status, told.body, given) == (200, ANSWER.body, ["token-1", "token-2"])
        failed, finished = await stage.rows()
    assert (failed.outcome, failed.charged_picodollars) == (Outcome.UPSTREAM_ERROR, 0)
    assert (finished.outcome, len(finished.attempts)) == (Outcome.FINISHED, 1)


async def test_a_refusal_of_every_token_is_told_after_one_more_and_does_not_log_the_caller_out(
    tmp_path: Path,
) -> None:
    async with a_stage(tmp_path, a_file(providers=[vertex()])) as stage:
        given = google_of(stage, lambda shown: REFUSED)
        assert (await stage.ask(staged())).status == 403
        stage.clock.advance(timedelta(minutes=2))
        told = await stage.ask(staged())
        assert told.error[:2] == (403, "permission_error")
        assert (told.header("x-should-retry"), given) == ("false", ["token-1", "token-2"])
        counted = await stage.ask(staged(), path="/v1/messages/count_tokens")
        assert counted.status == 403


async def test_no_token_is_our_fault_and_leaves_nothing_held(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_file(providers=[vertex()])) as stage:
        stage.environment["KEY"] = service_account_file()
        stage.upstream.script = lambda _: refused(
            "invalid_grant", f"Invalid grant: account {ACCOUNT} not found"
        )
        status, kind, message = (await stage.ask(staged())).error
        assert (status, kind) == (500, "api_error")
        assert "oauth2.googleapis.com gives no token: invalid_grant (is the credential still good" in message
        assert ACCOUNT not in message
        assert await stage.held() == 0


async def test_no_token_at_one_target_is_the_next_ones_turn(tmp_path: Path) -> None:
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [{"provider": "@vertex"}, {"provider": "@anthropic"}],
    }
    async with a_stage(tmp_path, a_file(providers=[vertex(), a_provider()])) as stage:
        stage.environment["KEY"] = service_account_file()
        stage.upstream.script = lambda request: (
            ANSWER if request.origin.host == "anthropic.example" else refused("invalid_grant", "gone")
        )
        told = await stage.ask(staged(), x_portkey_config=json.dumps(config))
        assert (told.status, told.body) == (200, ANSWER.body)
        [row] = await stage.rows()
        assert (row.provider, row.outcome) == ("anthropic", Outcome.FINISHED)


async def test_no_token_goes_to_a_host_that_a_caller_chose(tmp_path: Path) -> None:
    workspace = {"slug": "default", "custom_hosts": ["*.example.com"]}
    async with a_stage(tmp_path, a_file(providers=[vertex()], workspaces=[workspace])) as stage:
        stage.environment["KEY"] = "ya29.by-hand"
        told = await stage.ask(staged(), x_portkey_custom_host="https://evil.example.com/v1")
        assert told.status >= 400
        assert "no access token of provider 'vertex' goes to another host" in told.error[2]
        assert stage.upstream.sent == []


@pytest.mark.parametrize("credential", ["aws", "caller"])
async def test_a_credential_of_another_kind_is_refused_or_named(tmp_path: Path, credential: str) -> None:
    provider = {**vertex(), "credential": credential}
    if credential == "aws":
        with pytest.raises(Exception, match="credential 'aws' fits only"):
            async with a_stage(tmp_path, a_file(providers=[provider])):
                pass
        return
    async with a_stage(tmp_path, a_file(providers=[provider])) as stage:
        status, kind, _ = (await stage.ask(staged(), authorization="Bearer sk-ant-oat01-mine")).error
        assert (status, kind) == (401, "authentication_error")
        assert stage.upstream.sent == []
