"""Posts crossings to a webhook, in the shape that Slack's incoming webhooks take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from farebox.domain.budget.alert import Crossing
from farebox.domain.errors import Fault, Refusal
from farebox.jobs.notify import NotTold, crossing_document
from farebox.wire.http import HttpRequest, Timeouts, Transport, is_success, origin_of

BACKOFF_S = (1.0, 5.0, 25.0)
"""Pauses between tries: one try more than there are pauses."""

TIMEOUTS = Timeouts(connect_ms=5_000, first_byte_ms=10_000, idle_ms=5_000, total_ms=15_000)

# Slack reads these three in `text`: <!channel> in the name of a bucket would call everybody.
# Source: https://docs.slack.dev/messaging/formatting-message-text, read 2026-11.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_TRY_AGAIN = frozenset((408, 425, 429))


def chat_text(text: str) -> str:
    """Give a text as chat programs take it: nothing in it calls anybody."""
    return text.translate(_ESCAPES)


@dataclass(frozen=True, slots=True, repr=False)
class Webhook:
    """`url` is as secret as a password: whoever has it can post. Redirects are not followed."""

    url: str
    transport: Transport
    backoff_s: Sequence[float] = BACKOFF_S

    async def __call__(self, crossing: Crossing) -> None:
        """Post a crossing, several times if need be. Raises `NotTold`, which never shows the URL."""
        request = _request(self.url, crossing)
        for pause_s in (*self.backoff_s, None):
            failure, is_final = await self._post(request)
            if failure is None:
                return
            if is_final or pause_s is None:
                raise NotTold(f"the webhook {failure}")
            await asyncio.sleep(pause_s)

    async def _post(self, request: HttpRequest) -> tuple[str | None, bool]:
        """Give what went wrong, if anything, and whether trying again is in vain."""
        try:
            answer = await self.transport.send(request, TIMEOUTS)
        except (Fault, Refusal) as error:
            return f"could not be reached ({type(error).__name__})", False
        status = answer.status
        answer.abort()
        await answer.aclose()
        if is_success(status):
            return None, True
        return f"answered with status {status}", status < 500 and status not in _TRY_AGAIN


def _request(url: str, crossing: Crossing) -> HttpRequest:
    parts = urlsplit(url)
    document = crossing_document(crossing)
    document["text"] = chat_text(crossing.text)
    return HttpRequest(
        method=b"POST",
        origin=origin_of(url),
        target=((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode("ascii"),
        headers=[(b"content-type", b"application/json"), (b"user-agent", b"farebox")],
        body=msgspec.json.encode(document),
    )
