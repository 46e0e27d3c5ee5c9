"""`farebox doctor`: every finding with its mend, in the end against a gateway that really runs."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from farebox import __version__
from farebox.cli.access.entrance import Entrance, find_entrance
from farebox.cli.access.probe import Reply
from farebox.cli.doctor import (
    Check,
    State,
    check_environment,
    check_prices,
    check_provider,
    judge_credential,
    judge_stream,
)
from farebox.compose.prices import load_prices
from tests.cli.gateway import Gateway, run
from tests.support.builders import FixedClock
from tests.support.gateway_process import GatewayProcess

BASE_URL = "http://127.0.0.1:8787"
HINTS = {"CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"}
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
OF_PROVIDER = {"x-farebox-provider": "anthropic"}


def stream(body: bytes = PING + STOP, at_ms: tuple[int, ...] = (0, 100, 200, 300, 400)) -> Reply:
    return Reply(200, OF_PROVIDER, body, at_ms)


def refusal(status: int, message: str, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, json.dumps({"error": {"message": message}}).encode(), (0,))


def environment_findings(**environment: str) -> list[tuple[State, str]]:
    return [(check.state, check.mend) for check in check_environment(environment, BASE_URL)]


class _Provider(BaseHTTPRequestHandler):
    """Answers like Anthropic's edge, and knows one good key."""

    date = ""

    def do_HEAD(self) -> None:
        self.send_response_only(404)
        if self.date:
            self.send_header("Date", self.date)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        is_good = self.headers["x-api-key"] == "sk-ant-good"
        told = {"input_tokens": 8} if is_good else {"error": {"message": "invalid x-api-key"}}
        body = json.dumps(told).encode()
        self.send_response_only(200 if is_good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def provider(date: str = "") -> Iterator[str]:
    handler = type("Provider", (_Provider,), {"date": date})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_events_that_arrive_one_by_one_are_a_stream() -> None:
    assert judge_stream(stream()) == Check(
        "streaming", State.OK, "unbuffered: 5 pieces over 400 ms; pings pass"
    )


@pytest.mark.parametrize("at_ms", [(400,), (0, 1, 2, 3, 4), (0, 400)])
def test_events_that_arrive_together_were_buffered(at_ms: tuple[int, ...]) -> None:
    found = judge_stream(stream(at_ms=at_ms))
    assert (found.state, found.found) == (
        State.FAIL,
        f"buffered: {len(at_ms)} piece{'' if len(at_ms) == 1 else 's'} within {at_ms[-1] - at_ms[0]} ms",
    )


def test_a_stream_without_its_end_or_its_ping_fails() -> None:
    assert judge_stream(stream(PING)).found == "the stream ended before message_stop"
    assert judge_stream(stream(STOP)).found == "pings do not arrive"


def test_a_stream_that_was_refused_was_not_checked() -> None:
    found = judge_stream(refusal(402, "Budget 'day' is\nexhausted."))
    assert (found.state, found.found) == (State.WARN, "not checked: Budget 'day' is exhausted.")


@pytest.mark.parametrize(
    ("status", "is_of_provider", "state", "found"),
    [
        (200, True, State.OK, "the provider takes env:KEY"),
        (404, True, State.OK, "the provider takes env:KEY"),
        (429, True, State.OK, "the provider takes env:KEY"),
        (401, True, State.FAIL, "the provider refuses env:KEY: M"),
        (403, True, State.FAIL, "the provider refuses env:KEY: M"),
        (529, True, State.WARN, "the provider fails: M"),
        (401, False, State.WARN, "not proven: M"),
        (400, False, State.WARN, "not proven: M"),
        (502, False, State.FAIL, "M"),
        (500, False, State.FAIL, "M"),
    ],
)
def test_a_credential_is_told_from_the_network_and_from_our_own_refusals(
    status: int, is_of_provider: bool, state: State, found: str
) -> None:
    headers = {"x_farebox_provider": "anthropic"} if is_of_provider else {}
    check = judge_credential("provider x", "env:KEY", refusal(status, "M", **headers))
    assert (check.state, check.found) == (state, found)
    assert (check.mend == "") == (state is State.OK)


def test_an_answer_that_is_no_error_envelope_is_told_by_its_status() -> None:
    assert Reply(502, {}, b"<html>", (0,)).message == "HTTP status 502"


def test_a_type_that_this_version_does_not_serve_is_a_warning() -> None:
    row = {"slug": "other", "type": "openai", "credential": "env:KEY"}
    assert [*check_provider(row, Entrance(BASE_URL, "fb-x"), FixedClock())] == [
        Check(
            "provider other",
            State.WARN,
            "type 'openai' is not served by this version",
            "remove it from the policy file, or wait for a version that does",
        )
    ]


def test_a_provider_whose_clock_differs_is_a_warning() -> None:
    with provider("Thu, 01 Jan 1970 00:00:00 GMT") as url:
        row = {"slug": "a", "type": "anthropic", "credential": "caller", "base_url": url}
        found = [*check_provider(row, Entrance(BASE_URL, None), FixedClock())]
    assert [(check.name, check.state) for check in found] == [
        ("provider a", State.OK),
        ("provider a, clock", State.WARN),
        ("provider a, credential", State.OK),
    ]


def test_models_without_a_price_are_named() -> None:
    rows = [
        {"model": "claude-opus-5-5", "cost_status": "priced", "outcome": "finished"},
        {"model": "claude-new", "cost_status": "unpriced", "outcome": "finished"},
    ]
    found = check_prices(load_prices(), rows, FixedClock().now())
    assert (found.state, found.found) == (State.WARN, "no price for claude-new")
    known = "known for Claude Code's defaults"
    refused = {"model": "claude-newer", "cost_status": "priced", "outcome": "refused"}
    for seen, found_text in (
        ([], known),
        ([refused], known),
        ([rows[0], refused], f"{known}, and for 1 model used lately"),
    ):
        found = check_prices(load_prices(), seen, FixedClock().now())
        assert (found.state, found.found) == (State.OK, found_text)


@pytest.mark.parametrize(
    ("reference", "step"), [("aws", "AWS_PROFILE"), ("google", "gcloud auth application-default login")]
)
def test_the_credential_of_a_cloud_is_mended_by_a_login_and_not_by_a_key(reference: str, step: str) -> None:
    assert step in judge_credential("provider x", reference, refusal(500, "M")).mend
    refused = judge_credential("provider x", reference, refusal(403, "M", **{"x-farebox-provider": "x"}))
    assert "valid key" not in refused.mend


def test_a_credential_that_a_laptop_cannot_read_fails_without_being_tried() -> None:
    with provider() as url:
        row = {"slug": "a", "type": "anthropic", "credential": "secretsmanager:x", "base_url": url}
        *_, found = check_provider(row, Entrance("http://127.0.0.1:9", "fb-x"), FixedClock())
    assert found == Check(
        "provider a, credential",
        State.FAIL,
        "a gateway on a laptop cannot read secretsmanager:x",
        "put the credential in env:NAME or file:PATH",
    )


def test_a_deployment_is_judged_by_what_it_can_reach_and_read_and_not_by_this_machine() -> None:
    unknown = Entrance("", None, is_deployed=True)
    row = {
        "slug": "a",
        "type": "anthropic",
        "credential": "secretsmanager:x",
        "base_url": "http://127.0.0.1:9",
    }
    [found] = check_provider(row, unknown, FixedClock())
    assert (found.state, "ANTHROPIC_BASE_URL" in found.mend) == (State.WARN, True)
    [found] = check_provider({**row, "credential": "env:X"}, unknown, FixedClock())
    assert found == Check(
        "provider a, credential",
        State.FAIL,
        "a deployed gateway cannot read env:X",
        "put the credential in secretsmanager:farebox/STAGE/NAME",
    )


def test_the_credential_of_a_deployment_is_proven_through_its_own_entrance() -> None:
    row = {"slug": "a", "type": "anthropic", "credential": "secretsmanager:x"}
    with provider() as url:
        told = {"ANTHROPIC_BASE_URL": f"{url}/", "ANTHROPIC_AUTH_TOKEN": "fb-x"}
        entrance = find_entrance("https://admin.example.com", None, told, is_alone=True)
        assert entrance == Entrance(url, "fb-x", is_deployed=True)
        [found] = check_provider(row, entrance, FixedClock())
    assert "invalid x-api-key" in found.found + found.mend


def test_an_admin_plane_that_is_alone_is_a_deployments(gateway: Gateway) -> None:
    credentials = json.loads((gateway.data / "credentials.json").read_text())
    told = {"FAREBOX_URL": gateway.url, "FAREBOX_ADMIN_KEY": credentials["admin_key"]}
    ran = run("doctor", "--json", **told, ANTHROPIC_BASE_URL="", ANTHROPIC_AUTH_TOKEN="")
    named = {row["name"]: row for row in ran.json["rows"]}
    assert (ran.status, named["gateway"]["state"]) == (0, "ok"), ran.out
    assert "is the admin plane of a deployment" in named["gateway"]["found"]


def test_an_environment_that_agrees_is_fine() -> None:
    assert environment_findings() == [(State.OK, "")]
    assert environment_findings(ANTHROPIC_BASE_URL=BASE_URL, ANTHROPIC_AUTH_TOKEN="fb-x", **HINTS) == [
        (State.OK, "")
    ]


@pytest.mark.parametrize(
    ("environment", "state", "mend"),
    [
        ({"CLAUDE_CODE_USE_BEDROCK": "1"}, State.FAIL, "unset CLAUDE_CODE_USE_BEDROCK"),
        ({"ANTHROPIC_AUTH_TOKEN": "fb-x"}, State.FAIL, f"export ANTHROPIC_BASE_URL={BASE_URL}"),
        (
            {"ANTHROPIC_CUSTOM_HEADERS": "x-team: core\nX-Farebox-Key: fb-x"},
            State.FAIL,
            f"export ANTHROPIC_BASE_URL={BASE_URL}",
        ),
        (
            {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "ANTHROPIC_AUTH_TOKEN": "fb-x", **HINTS},
            State.WARN,
            f"export ANTHROPIC_BASE_URL={BASE_URL}",
        ),
        (
            {"ANTHROPIC_BASE_URL": f"{BASE_URL}/", **HINTS},
            State.FAIL,
            'eval "$(farebox claude --print-env)"',
        ),
        (
            {"ANTHROPIC_API_KEY": "sk-ant-x", "ANTHROPIC_AUTH_TOKEN": "sk-ant-oat01-y"},
            State.WARN,
            "unset ANTHROPIC_API_KEY, unless it is to pay a provider with credential `caller`",
        ),
        (
            {
                "ANTHROPIC_BASE_URL": BASE_URL,
                "ANTHROPIC_AUTH_TOKEN": "fb-x",
                "ANTHROPIC_CUSTOM_HEADERS": "x-farebox-key: fb-x",
                **HINTS,
            },
            State.WARN,
            "unset ANTHROPIC_AUTH_TOKEN",
        ),
        (
            {"ANTHROPIC_BASE_URL": BASE_URL, "ANTHROPIC_AUTH_TOKEN": "fb-x"},
            State.WARN,
            "export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1",
        ),
    ],
)
def test_variables_that_fight_are_found(environment: dict[str, str], state: State, mend: str) -> None:
    assert environment_findings(**environment) == [(state, mend)]


def test_findings_about_the_environment_repeat_no_secret() -> None:
    secrets = {"ANTHROPIC_API_KEY": "sk-ant-CANARY", "ANTHROPIC_AUTH_TOKEN": "fb-CANARY"}
    assert "CANARY" not in repr(check_environment(secrets, BASE_URL))


def test_without_a_gateway_it_fails_and_still_looks_at_the_environment(tmp_path: Path) -> None:
    ran = run("doctor", "--data", str(tmp_path), "--json", CLAUDE_CODE_USE_VERTEX="1")
    assert ran.status == 1
    assert [(row["name"], row["state"]) for row in ran.json["rows"]][:2] == [
        ("gateway", "fail"),
        ("environment", "fail"),
    ]


def test_an_admin_key_that_is_refused_is_told(gateway: Gateway) -> None:
    ran = run("doctor", "--json", FAREBOX_URL=gateway.url, FAREBOX_ADMIN_KEY="fba-wrong")
    named = {row["name"]: row for row in ran.json["rows"]}
    assert (ran.status, named["admin key"]["state"]) == (1, "fail")
    assert "FAREBOX_ADMIN_KEY" in named["admin key"]["mend"]


@pytest.mark.parametrize(("key", "state"), [("sk-ant-good", "ok"), ("sk-ant-bad", "fail")])
def test_a_running_gateway_is_examined_from_end_to_end(tmp_path: Path, key: str, state: str) -> None:
    with provider() as url:
        config = f"""
providers:
  - {{slug: main, type: anthropic, credential: env:MAIN_KEY, base_url: "{url}"}}
  - {{slug: demo, type: demo}}
"""
        with GatewayProcess(tmp_path, config=config, environment={"MAIN_KEY": key}) as gateway:
            done = gateway.run("doctor", "--json")
            told = gateway.run("doctor")
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert [(row["name"], row["state"]) for row in answer["rows"]] == [
        ("gateway", "ok"),
        ("admin key", "ok"),
        ("gateway key", "ok"),
        ("provider main", "ok"),
        ("provider main, credential", state),
        ("provider demo", "ok"),
        ("prices", "ok"),
        ("streaming", "ok"),
        ("environment", "ok"),
    ]
    assert answer["rows"][0]["found"] == f"{gateway.base_url} answers, version {__version__}"
    is_ok = state == "ok"
    assert (answer["ok"], done.returncode) == (is_ok, 0 if is_ok else 1)
    assert ("-> put a valid key behind env:MAIN_KEY" in told.stdout) is not is_ok
    assert key not in done.stdout + told.stdout
    streaming = next(row["found"] for row in answer["rows"] if row["name"] == "streaming")
    assert re.search(r"; booked as a demo request of \$0\.00[0-9]+$", streaming)


def test_a_gateway_key_that_is_not_valid_is_told_with_its_mend_which_works(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        warned = gateway.run("keys", "revoke", "laptop")
        assert (warned.returncode, warned.stdout) == (0, "revoked default/laptop\n")
        assert "WARNING this was the gateway key in .farebox/credentials.json; " in warned.stderr
        failed = {row["name"]: row for row in json.loads(gateway.run("doctor", "--json").stdout)["rows"]}
        assert (failed["gateway key"]["state"], failed["gateway key"]["mend"]) == (
            "fail",
            "make a new one: farebox keys create --name NAME --save",
        )
        made = gateway.run("keys", "create", "--name", "laptop", "--save")
        assert made.returncode == 0
        mended = json.loads(gateway.run("doctor", "--json").stdout)["rows"]
    assert {row["name"]: row["state"] for row in mended}["gateway key"] == "ok"
