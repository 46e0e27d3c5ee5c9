"""Asking the demo model in tests: requests, whole answers, events folded as a client folds them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from farebox.providers.demo import DemoTransport
from farebox.wire.http import HttpRequest, Origin, Timeouts

Json = dict[str, Any]

MARK: Json = {"cache_control": {"type": "ephemeral"}}
HOUR: Json = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
BASH: Json = {"name": "Bash", "input_schema": {"type": "object"}}


@dataclass
class FakeSleep:
    """Lets no time pass and remembers how much was asked for."""

    slept_s: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.slept_s.append(seconds)


def asking(text: str = "Hi.", **fields: object) -> bytes:
    document: Json = {
        "model": "claude-demo",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }
    return json.dumps(document).encode()


def post(body: bytes, path: bytes = b"/v1/messages?beta=true") -> HttpRequest:
    return HttpRequest(b"POST", Origin("http", "demo", 80), path, [], body)


async def reading(request: HttpRequest) -> tuple[int, Mapping[bytes, bytes], bytes]:
    answer = await DemoTransport(sleep=FakeSleep(), delta_ms=0).send(request, Timeouts())
    received = b""
    while data := await answer.receive():
        received += data
    assert await answer.receive() == b""
    await answer.aclose()
    return answer.status, dict(answer.headers), received


async def whole(body: bytes, path: bytes = b"/v1/messages") -> Json:
    status, headers, received = await reading(post(body, path))
    assert (status, headers[b"content-type"]) == (200, b"application/json")
    assert headers[b"content-length"] == str(len(received)).encode()
    document: Json = json.loads(received)
    return document


async def failure(body: bytes, path: bytes = b"/v1/messages") -> tuple[int, str, str]:
    status, headers, received = await reading(post(body, path))
    document = json.loads(received)
    assert document["request_id"].encode() == headers[b"request-id"]
    assert document["type"] == "error"
    return status, document["error"]["type"], document["error"]["message"]


async def events(body: bytes) -> list[Json]:
    status, headers, received = await reading(post(body))
    assert (status, headers[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
    return parsed(received)


def parsed(stream: bytes) -> list[Json]:
    frames = [frame.split("\n") for frame in stream.decode().removesuffix("\n\n").split("\n\n")]
    found = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [event for event, _ in frames] == [f"event: {data['type']}" for data in found]
    return found


def folded(found: list[Json]) -> Json:
    """Put a streamed message together as a client does."""
    message: Json = dict(found[0]["message"])
    blocks: list[Json] = []
    for event in found[1:]:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(blocks)
                blocks.append({**event["content_block"], "partial_json": ""})
            case "content_block_delta":
                for name, value in event["delta"].items():
                    if name != "type":
                        blocks[event["index"]][name] += value
            case "message_delta":
                message |= event["delta"]
                message["usage"] = message["usage"] | event["usage"]
    for block in blocks:
        if written := block.pop("partial_json"):
            block["input"] = json.loads(written)
    return {**message, "content": blocks}


def without_digests(message: Json) -> Json:
    """Drop the part of every id that depends on the request's bytes."""
    bare: Json = json.loads(re.sub("demo_[0-9a-f]{24}", "demo", json.dumps(message)))
    return bare
