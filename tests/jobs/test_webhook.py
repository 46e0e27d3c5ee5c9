"""A crossing posted: what arrives, what is tried again, and what never shows."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from farebox.domain.budget.alert import Crossing, crossings
from farebox.domain.errors import UpstreamTimeout, UpstreamUnreachable
from farebox.jobs.notify import NotTold, crossing_document
from farebox.jobs.webhook import Webhook
from farebox.wire.http import HttpRequest, Origin
from farebox.wire.http1 import Http1Transport
from tests.gateway.peers import ScriptedTransport
from tests.support.builders import NOON, a_budget
from tests.support.upstream import Reply, ScriptedUpstream, json_reply

SECRET_URL = "https://hooks.example/services/T0/B0/SECRETPATH?x=1"
AT_ONCE = (0.0, 0.0)


def a_crossing() -> Crossing:
    budget = a_budget(usd=10, alerts=(50,))
    (crossing,) = crossings(budget, "", budget.window_at(NOON), 6_000_000_000_000, NOON)
    return crossing


def scripted(*replies: int | Exception) -> ScriptedTransport:
    transport, waiting = ScriptedTransport(), list(replies)

    def script(_: HttpRequest) -> Reply:
        reply = waiting.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return Reply(reply, (), ())

    transport.script = script
    return transport


async def test_a_crossing_is_posted_as_json_to_the_whole_url() -> None:
    transport = scripted(200)
    await Webhook(SECRET_URL, transport)(a_crossing())
    (sent,) = transport.sent
    assert (sent.method, sent.origin) == (b"POST", Origin("https", "hooks.example", 443))
    assert sent.target == b"/services/T0/B0/SECRETPATH?x=1"
    assert sent.headers == [(b"content-type", b"application/json"), (b"user-agent", b"farebox")]
    assert json.loads(sent.body) == crossing_document(a_crossing())


async def test_it_arrives_over_a_real_connection() -> None:
    with ScriptedUpstream([json_reply({"ok": True})]) as peer:
        transport = Http1Transport()
        await Webhook(f"{peer.base_url}/hook", transport)(a_crossing())
        await transport.aclose()
        (received,) = peer.requests
    assert (received.method, received.target) == (b"POST", b"/hook")
    assert json.loads(received.body)["text"] == a_crossing().text


@pytest.mark.parametrize(
    "failure",
    [500, 503, 429, 408, UpstreamUnreachable("hooks.example", "x"), UpstreamTimeout("h", "total", 1)],
)
async def test_what_may_pass_is_tried_again(failure: int | Exception) -> None:
    transport = scripted(failure, failure, 204)
    await Webhook(SECRET_URL, transport, AT_ONCE)(a_crossing())
    assert len(transport.sent) == 3


@pytest.mark.parametrize(
    ("replies", "tries", "told"),
    [
        ((500, 500, 502), 3, "the webhook answered with status 502"),
        ((404,), 1, "the webhook answered with status 404"),
        ((302,), 1, "the webhook answered with status 302"),
        ((UpstreamUnreachable("h", "SECRETPATH"),) * 3, 3, "could not be reached (UpstreamUnreachable)"),
    ],
)
async def test_it_gives_up_in_the_end_and_never_shows_where_it_posts(
    replies: tuple[int | Exception, ...], tries: int, told: str
) -> None:
    transport = scripted(*replies)
    webhook = Webhook(SECRET_URL, transport, AT_ONCE)
    with pytest.raises(NotTold) as given_up:
        await webhook(a_crossing())
    assert len(transport.sent) == tries
    assert told in str(given_up.value)
    assert "SECRETPATH" not in str(given_up.value) + repr(webhook)


async def test_a_name_from_outside_cannot_call_a_whole_channel() -> None:
    transport = scripted(200)
    crossing = replace(a_crossing(), label="<!channel> & co")
    await Webhook(SECRET_URL, transport)(crossing)
    told = json.loads(transport.sent[0].body)
    assert "(&lt;!channel&gt; &amp; co)" in told["text"]
    assert told["bucket"] == "<!channel> & co"


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("http://127.0.0.1:9/x", Origin("http", "127.0.0.1", 9), b"/x"),
        ("http://[::1]", Origin("http", "::1", 80), b"/"),
    ],
)
async def test_a_port_and_a_path_are_optional(url: str, origin: Origin, target: bytes) -> None:
    transport = scripted(200)
    await Webhook(url, transport)(a_crossing())
    assert (transport.sent[0].origin, transport.sent[0].target) == (origin, target)
