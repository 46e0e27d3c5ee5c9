"""Asks a gateway or a provider once, directly, and keeps when each piece of the answer came."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from farebox import __version__
from farebox.compose.clock import system_clock
from farebox.domain.errors import FareboxError
from farebox.ports import Clock
from farebox.providers.base import split_base_url

ANSWER_S = 30.0
CONNECT_S = 10.0
HEALTH_S = 2.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the data plane said. `at_ms` has the moment at which each piece of the body arrived."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    at_ms: tuple[int, ...]

    @property
    def is_of_provider(self) -> bool:
        """Whether a provider said it. What the gateway says by itself names our own request in its body."""
        own_id = self.headers.get("x-farebox-request-id", "")
        return "x-farebox-provider" in self.headers and not (own_id and own_id.encode() in self.body)

    @property
    def message(self) -> str:
        """Give the words of an error, on one line."""
        try:
            return " ".join(str(json.loads(self.body)["error"]["message"]).split())
        except (ValueError, KeyError, TypeError):
            return f"HTTP status {self.status}"


def ask(
    clock: Clock,
    url: str,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    connect_s: float = CONNECT_S,
    answer_s: float = ANSWER_S,
) -> Reply:
    """Ask once. Raises `OSError`, `HTTPException`, and `ConfigInvalid` for a URL that is none."""
    origin, prefix = split_base_url(url)
    connection = _connection(urlsplit(url).scheme, origin.host, origin.port, connect_s)
    try:
        connection.connect()
        connection.sock.settimeout(answer_s)
        connection.request(
            method,
            prefix + path,
            None if body is None else json.dumps(body),
            {"content-type": "application/json", "user-agent": f"farebox/{__version__}"}
            | dict(headers or {}),
        )
        answer = connection.getresponse()
        pieces, at_ms = [], []
        while piece := answer.read1(65_536):
            pieces.append(piece)
            at_ms.append(clock.monotonic_ms())
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, named, b"".join(pieces), tuple(at_ms))
    finally:
        connection.close()


def is_farebox(url: str) -> bool:
    """Say whether a farebox gateway answers there now."""
    try:
        reply = ask(system_clock(), url, "GET", "/healthz", connect_s=HEALTH_S, answer_s=HEALTH_S)
    except (OSError, http.client.HTTPException, FareboxError):
        return False
    return reply.status == 200 and "x-farebox-request-id" in reply.headers


def _connection(scheme: str, host: str, port: int, connect_s: float) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=connect_s, context=context)
    return http.client.HTTPConnection(host, port, timeout=connect_s)
