"""The way out for Bedrock's clients: an ASGI `send` in front of the server's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from farebox.gateway.incoming import BEDROCK
from farebox.http.clients.bedrock_answers import (
    FrameWriter,
    is_event_stream,
    sized,
    stream_headers,
    whole_answer,
)
from farebox.http.clients.paths import Route
from farebox.providers.base import COUNT_TOKENS

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def answering(send: Send, route: Route) -> Send:
    """Let answers of the Messages API leave as the client's API has them. Vertex gives Claude's answers, and
    errors about them, as Anthropic does.
    """
    return _BedrockSend(send, is_count=route.operation == COUNT_TOKENS).send if route.api == BEDROCK else send


class _BedrockSend:
    """Of an answer in one piece, the first message with a body has all of it."""

    def __init__(self, send: Send, *, is_count: bool) -> None:
        self._send, self._is_count = send, is_count
        self._start: Message | None = None
        self._writer: FrameWriter | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not is_event_stream(message["headers"]):
                self._start = message
                return
            self._writer = FrameWriter()
            await self._send({**message, "headers": stream_headers(message["headers"])})
        elif self._writer is not None:
            await self._send_frames(self._writer, message)
        elif self._start is not None:
            start, self._start = self._start, None
            status, headers = start["status"], start["headers"]
            headers, body = whole_answer(status, headers, message["body"], is_count=self._is_count)
            await self._send({**start, "headers": sized(headers, body)})
            await self._send({**message, "body": body})
        else:
            await self._send(message)

    async def _send_frames(self, writer: FrameWriter, message: Message) -> None:
        is_last = not message.get("more_body", False)
        frames = writer.feed(message["body"])
        if is_last:
            frames += writer.end()
        if frames or is_last:
            await self._send({**message, "body": frames})
