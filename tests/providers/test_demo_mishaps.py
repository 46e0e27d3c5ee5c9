"""The demo model fails, stalls, errs and cuts exactly when asked to, as the transport seam promises."""

from __future__ import annotations

import asyncio
import json

import pytest

from farebox.domain.config import ProviderSpec
from farebox.domain.errors import UpstreamCut, UpstreamTimeout
from farebox.domain.plan import CallerCredential
from farebox.providers.base import Call
from farebox.providers.demo import DemoProvider, DemoTransport
from farebox.wire.http import HttpRequest, Origin, Silence, Timeouts
from tests.providers.demo_client import FakeSleep, asking, events, failure, parsed, post


async def played(
    body: bytes, *, timeouts: Timeouts | None = None, silence_ms: int | None = None
) -> tuple[list[bytes | type[Exception]], list[float]]:
    """Receive to the end, or to the first fault, and give what came and every time slept."""
    sleep = FakeSleep()
    answer = await DemoTransport(sleep=sleep, delta_ms=20).send(
        post(body), timeouts or Timeouts(), silence_ms=silence_ms
    )
    seen: list[bytes | type[Exception]] = []
    while True:
        try:
            data = await answer.receive()
        except Silence:
            seen.append(Silence)
            continue
        except (UpstreamCut, UpstreamTimeout) as fault:
            return [*seen, type(fault)], sleep.slept_s
        if not data:
            return seen, sleep.slept_s
        seen.append(data)


async def test_a_cut_comes_in_the_middle_and_stays() -> None:
    seen, _ = await played(asking("demo: cut", stream=True))
    kinds = [event["type"] for event in parsed(b"".join(item for item in seen if isinstance(item, bytes)))]
    assert seen[-1] is UpstreamCut
    assert kinds[-1] == "content_block_delta"
    answer = await DemoTransport(sleep=FakeSleep()).send(post(asking("demo: cut")), Timeouts())
    assert int(dict(answer.headers)[b"content-length"]) > 2 * len(await answer.receive()) - 2
    for _ in range(2):
        with pytest.raises(UpstreamCut):
            await answer.receive()


async def test_an_error_event_comes_in_the_middle_and_ends_the_stream() -> None:
    found = await events(asking("demo: error", stream=True))
    assert found[-1]["type"] == "error"
    assert found[-1]["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    assert found[-2]["type"] == "content_block_delta"
    assert await failure(asking("demo: error")) == (529, "overloaded_error", "Overloaded")


async def test_a_stream_is_paced_a_delta_at_a_time() -> None:
    _, slept_s = await played(asking("demo: long 40", stream=True))
    assert [pause for pause in slept_s if pause] == [0.02] * 11


async def test_a_stall_is_reported_as_often_as_was_asked_for_and_then_goes_on() -> None:
    seen, slept_s = await played(asking("demo: stall 20", stream=True), silence_ms=9_000)
    assert [item for item in seen if item is Silence] == [Silence] * 2
    assert [pause for pause in slept_s if pause > 1] == [9.0, 9.0, pytest.approx(2.02)]
    found = parsed(b"".join(item for item in seen if isinstance(item, bytes)))
    assert found == await events(asking("demo: stall 20", stream=True))


async def test_a_stall_without_a_stream_comes_before_the_body() -> None:
    seen, slept_s = await played(asking("demo: stall 3"))
    assert (len(seen), slept_s) == (1, [3.02])


@pytest.mark.parametrize("silence_ms", [None, 4_000])
@pytest.mark.parametrize("timeouts", [Timeouts(idle_ms=10_000), Timeouts(total_ms=10_000)])
async def test_a_stall_longer_than_a_timeout_times_out(timeouts: Timeouts, silence_ms: int | None) -> None:
    seen, slept_s = await played(
        asking("demo: stall 20", stream=True), timeouts=timeouts, silence_ms=silence_ms
    )
    assert seen[-1] is UpstreamTimeout
    in_the_stall = sum(slept_s) - (0 if timeouts.total_ms == 10_000 else 0.02 * (slept_s.count(0.02)))
    assert in_the_stall == pytest.approx(10.0)


async def test_an_abort_wakes_a_waiting_receive() -> None:
    answer = await DemoTransport(delta_ms=3_600_000).send(post(asking(stream=True)), Timeouts(idle_ms=10**8))
    waiting = asyncio.create_task(answer.receive())
    await asyncio.sleep(0)
    answer.abort()
    answer.abort()
    with pytest.raises(UpstreamCut):
        await waiting
    with pytest.raises(UpstreamCut):
        await answer.receive()


async def test_a_cancelled_receive_may_be_repeated() -> None:
    answer = await DemoTransport(sleep=FakeSleep()).send(post(asking(stream=True)), Timeouts())
    waiting = asyncio.create_task(answer.receive())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await answer.receive()).startswith(b"event: message_start\n")


ERROR_TYPES = [
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (402, "billing_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (413, "request_too_large"),
    (418, "invalid_request_error"),
    (429, "rate_limit_error"),
    (500, "api_error"),
    (504, "timeout_error"),
    (529, "overloaded_error"),
]


@pytest.mark.parametrize(("status", "kind"), ERROR_TYPES)
async def test_it_fails_with_the_status_that_was_asked_for(status: int, kind: str) -> None:
    message = f"The demo model was asked to fail with {status}."
    assert await failure(asking(f"demo: fail {status}", stream=True)) == (status, kind, message)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "The request body is not valid JSON: Input data was truncated"),
        (b'"\xff"', 400, None),
        (b"[" * 100_000, 400, None),
        (b"[]", 400, "Expected `object`, got `array`"),
        (b"{}", 400, "Object missing required field `model`"),
        (asking(max_tokens=None), 400, "max_tokens: Field required"),
        (asking(max_tokens=0), 400, "max_tokens: Input should be greater than or equal to 1"),
        (asking(messages=[]), 400, "messages: at least one message is required"),
        (asking(messages=[{"role": "user", "content": 1}]), 400, "Expected `array`, got `int`"),
        (asking(messages=[{"role": "user", "content": [1]}]), 400, "Expected `object`, got `int`"),
        (
            asking(messages=[{"role": "robot", "content": ""}]),
            400,
            "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        ),
        (asking(model="claude-opus-5-5"), 404, "model: claude-opus-5-5"),
    ],
)
async def test_a_malformed_request_is_refused_as_anthropic_would(
    body: bytes, status: int, message: str | None
) -> None:
    found_status, kind, found_message = await failure(body)
    assert (found_status, kind) == (status, "not_found_error" if status == 404 else "invalid_request_error")
    assert message is None or found_message == message


async def test_another_route_is_not_found() -> None:
    assert await failure(asking(), b"/v1/complete") == (404, "not_found_error", "Not found")


def test_nothing_of_the_callers_credential_reaches_the_demo_model() -> None:
    credential = CallerCredential(b"x-api-key", b"sk-ant-api03-secret")
    call = Call(
        operation="count_tokens",
        query=b"beta=true",
        headers=[(b"x-api-key", b"sk-ant-api03-secret"), (b"anthropic-version", b"2023-06-01")],
        body=asking(model="@demo/claude-demo"),
        is_stream=False,
        model="claude-demo",
        secret="also secret",
        caller_credential=credential,
    )
    request = DemoProvider().request(ProviderSpec("demo", "demo"), call)
    assert request == HttpRequest(
        method=b"POST",
        origin=Origin("http", "demo", 80),
        target=b"/v1/messages/count_tokens?beta=true",
        headers=[(b"anthropic-version", b"2023-06-01")],
        body=request.body,
    )
    assert json.loads(request.body) == json.loads(asking())
