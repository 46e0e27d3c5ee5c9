"""What reaches the provider: every byte of the body, and every header but those docs/headers.md tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.header_page import Headers, to_the_provider
from tests.support.laptop import HOST, PROVIDER_SECRET, Laptop, RawClient, a_policy, asking
from tests.support.upstream import (
    Received,
    Reply,
    ScriptedUpstream,
    json_message,
    json_reply,
    sse_message,
    usage,
)

RECORDED = Path(__file__).resolve().parents[1] / "recorded/claude_code"
MODEL = "claude-sonnet-4-5"
OAUTH_TOKEN = "sk-ant-oat01-of-the-caller"


@dataclass(frozen=True, slots=True)
class Recording:
    """A real request of Claude Code, with secrets and long texts taken out of it."""

    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def signed(self, key: str, *, bearer: str | None = None) -> list[tuple[str, str]]:
        """Put our key where the recording had a secret, and `bearer` where Authorization was."""
        filled = []
        for name, value in self.headers:
            secret = bearer if bearer and name == "Authorization" else key
            filled.append((name, value.replace("<redacted>", secret)))
        return filled


def recording(path: Path) -> Recording:
    document = json.loads(path.read_bytes())
    body = json.dumps(document["body"], ensure_ascii=False, separators=(",", ":")).encode()
    query = f"?{document['query']}" if document["query"] else ""
    headers = [(name, value) for name, value in document["headers"] if name not in ("Host", "Content-Length")]
    return Recording(document["path"] + query, headers, body)


def is_native(path: Path) -> bool:
    document = json.loads(path.read_bytes())
    return document["method"] == "POST" and "/v1/messages" in document["path"]


NATIVE = sorted(path for path in RECORDED.glob("*.json") if is_native(path))


@dataclass(slots=True)
class Scene:
    """One gateway before one upstream, for all examples of a module."""

    laptop: Laptop
    upstream: ScriptedUpstream

    def sent(self, body: bytes, **options: Any) -> Received:
        """Ask through the gateway and give what arrived upstream."""
        answer = self.laptop.ask(body, **options)
        assert answer.status == 200, answer
        return self.upstream.requests[-1]


def reply_to(received: Received) -> Reply:
    if received.target.partition(b"?")[0].endswith(b"count_tokens"):
        return json_reply({"input_tokens": 11})
    asks_for_stream = json.loads(received.body).get("stream")
    return (sse_message if asks_for_stream else json_message)(usage=usage(input_tokens=3, output_tokens=2))


def policy_with_callers(upstream: ScriptedUpstream) -> dict[str, object]:
    """Add a provider for callers' own credentials, one behind a path, and the config of a recording."""
    base = upstream.base_url
    stored = {"type": "anthropic", "credential": "env:UPSTREAM_KEY"}
    return a_policy(
        upstream,
        providers=[
            {"slug": "anthropic", "base_url": base, **stored},
            {"slug": "own-login", "type": "anthropic", "credential": "caller", "base_url": base},
            {"slug": "behind-a-path", "base_url": f"{base}/some/prefix/", **stored},
        ],
        configs=[{"slug": "pc-abc", "config": {"provider": "@anthropic"}}],
    )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("data")
    with ScriptedUpstream(reply_to) as upstream, Laptop(folder, policy_with_callers(upstream)) as laptop:
        yield Scene(laptop, upstream)


def on_the_wire(headers: list[tuple[str, str]]) -> Headers:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def expected_headers(
    scene: Scene, sent: Headers, body: bytes, *, credential: tuple[bytes, bytes], coding: bytes
) -> Headers:
    """Give what the page promises, around the headers that travel on."""
    return [
        (b"host", f"{HOST}:{scene.upstream.port}".encode()),
        *to_the_provider().travelling(sent),
        (b"accept-encoding", coding),
        credential,
        (b"content-length", str(len(body)).encode()),
    ]


def replay(scene: Scene, asked: Recording, headers: list[tuple[str, str]]) -> Received:
    with RawClient(scene.laptop.port) as client:
        client.request("POST", asked.target, headers, asked.body)
        assert client.read_answer().status == 200
    return scene.upstream.requests[-1]


def test_there_are_recordings_to_replay() -> None:
    assert len(NATIVE) == 13


@pytest.mark.parametrize("path", NATIVE, ids=lambda path: path.stem)
def test_a_recorded_request_arrives_as_claude_code_sent_it(path: Path, scene: Scene) -> None:
    asked = recording(path)
    headers = asked.signed(scene.laptop.key)
    received = replay(scene, asked, headers)
    route = "/v1/messages" + asked.target.partition("/v1/messages")[2]
    is_stream = json.loads(asked.body).get("stream")
    assert (received.method, received.target, received.body) == (b"POST", route.encode(), asked.body)
    assert received.headers == expected_headers(
        scene,
        on_the_wire(headers),
        asked.body,
        credential=(b"x-api-key", PROVIDER_SECRET.encode()),
        coding=b"identity" if is_stream else b"gzip",
    )


@pytest.mark.parametrize("path", NATIVE[:2], ids=lambda path: path.stem)
def test_a_recorded_request_with_the_callers_own_login_arrives_untouched(path: Path, scene: Scene) -> None:
    asked = recording(path)
    own = [("x-farebox-key", scene.laptop.key), ("x-farebox-provider", "@own-login")]
    headers = [*asked.signed("", bearer=OAUTH_TOKEN), *own]
    received = replay(scene, asked, headers)
    assert received.body == asked.body
    assert received.headers == expected_headers(
        scene,
        on_the_wire(headers),
        asked.body,
        credential=(b"authorization", f"Bearer {OAUTH_TOKEN}".encode()),
        coding=b"identity",
    )


JSON_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | JSON_TEXT,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(JSON_TEXT, values, max_size=4),
    max_leaves=12,
)
READ_BY_US = ("model", "stream", "max_tokens", "tools", "metadata", "speed", "inference_geo", "messages")


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Write a request with fields that nobody knows, in an order and with white space that nobody uses."""
    unknown = draw(
        st.dictionaries(JSON_TEXT.filter(lambda name: name not in READ_BY_US), JSON_VALUE, max_size=5)
    )
    known = {"model": MODEL, "max_tokens": 100, "stream": draw(st.booleans()), "messages": draw(JSON_VALUE)}
    fields = draw(st.permutations([*known.items(), *unknown.items()]))
    text = json.dumps(
        dict(fields),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 0, 3, "\t"])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", " :\t")])),
    )
    space = st.sampled_from(["", " ", "\n", "\r\n\t"])
    return (draw(space) + text + draw(space)).encode()


@settings(max_examples=60)
@given(body=bodies())
def test_any_body_arrives_byte_for_byte(scene: Scene, body: bytes) -> None:
    assert scene.sent(body).body == body


@pytest.mark.parametrize("size", [65_536, 65_537, 1_000_000, 8_000_000])
def test_a_large_body_arrives_byte_for_byte(size: int, scene: Scene) -> None:
    body = asking("0123456789abcdef" * (size // 16))
    assert scene.sent(body).body == body


def test_a_chunked_body_arrives_byte_for_byte_and_with_its_length(scene: Scene) -> None:
    body = asking("in pieces")
    with RawClient(scene.laptop.port) as client:
        key = ("x-farebox-key", scene.laptop.key)
        client.request("POST", "/v1/messages", [key, ("Transfer-Encoding", "chunked")])
        for piece in (body[:1], body[1:40], body[40:]):
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        assert client.read_answer().status == 200
    received = scene.upstream.requests[-1]
    assert (received.body, received.header("content-length")) == (body, str(len(body)).encode())
    assert received.header("transfer-encoding") is None


HEADER_NAME = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!#$%&'*+^`|~", min_size=1
)
HEADER_VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(str.strip)
# Headers that change what farebox or the connection does, which is other tests' matter.
TAKEN = ("content-length", "transfer-encoding", "expect", "upgrade", "connection", "host", "authorization")


@settings(max_examples=60)
@given(
    extra=st.lists(
        st.tuples(
            HEADER_NAME.filter(lambda name: name.lower() not in TAKEN)
            .filter(lambda name: not name.lower().startswith(("x-farebox-", "x-portkey-")))
            .map(lambda name: name[:40]),
            HEADER_VALUE,
        ),
        max_size=8,
    )
)
def test_headers_that_nobody_knows_travel_on_in_their_place(
    scene: Scene, extra: list[tuple[str, str]]
) -> None:
    body = asking()
    sent = [("x-farebox-key", scene.laptop.key), ("Content-Type", "application/json"), *extra]
    codings = [value for name, value in extra if name.lower() == "accept-encoding"]
    assert scene.sent(body, headers=extra).headers == expected_headers(
        scene,
        on_the_wire(sent),
        body,
        credential=(b"x-api-key", PROVIDER_SECRET.encode()),
        coding=b"gzip" if codings[:1] == ["gzip"] else b"identity",
    )


@pytest.mark.parametrize(
    ("target", "arrived"),
    [
        ("/v1/messages", b"/v1/messages"),
        ("/v1/messages/", b"/v1/messages"),
        ("/v1/messages?beta=true", b"/v1/messages?beta=true"),
        ("/v1/messages?a=%2F%20&a=b&&c=%C3%BC;d", b"/v1/messages?a=%2F%20&a=b&&c=%C3%BC;d"),
        ("/any/prefix/v1/messages?beta=true", b"/v1/messages?beta=true"),
        ("/v1/messages/count_tokens?beta=true", b"/v1/messages/count_tokens?beta=true"),
        ("/any/v1/messages/count_tokens", b"/v1/messages/count_tokens"),
    ],
)
def test_the_query_travels_on_under_any_prefix(target: str, arrived: bytes, scene: Scene) -> None:
    assert scene.sent(asking(), target=target).target == arrived


@pytest.mark.parametrize("route", ["/v1/messages", "/v1/messages/count_tokens"])
def test_the_path_of_the_providers_base_url_is_kept(route: str, scene: Scene) -> None:
    received = scene.sent(
        asking(), target=f"{route}?beta=true", headers=[("x-farebox-provider", "@behind-a-path")]
    )
    assert received.target == f"/some/prefix{route}?beta=true".encode()


@pytest.mark.parametrize("route", ["/v1/messages", "/v1/messages/count_tokens"])
def test_naming_a_provider_in_the_model_changes_the_model_and_nothing_else(route: str, scene: Scene) -> None:
    before = '{"a":"\\u0061","model":"'
    after = (
        '","max_tokens":100,"messages":[{"role":"user","content":"ü \\u00fc @anthropic/x"}],"z":[1.0, {}]}'
    )
    arrived = scene.sent(f"{before}@anthropic/{MODEL}{after}".encode(), target=route).body
    assert arrived == f"{before}{MODEL}{after}".encode()


@settings(max_examples=40)
@given(body=bodies())
def test_naming_a_provider_in_the_model_keeps_every_value_and_its_place(scene: Scene, body: bytes) -> None:
    named = body.replace(MODEL.encode(), b"@anthropic/" + MODEL.encode(), 1)
    arrived = scene.sent(named).body
    assert list(json.loads(arrived).items()) == list(json.loads(body).items())
