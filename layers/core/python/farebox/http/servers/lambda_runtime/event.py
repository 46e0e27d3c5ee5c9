"""A function URL's event, payload format 2.0, as an ASGI scope and a body.

Source: Lambda developer guide, "Invoking Lambda function URLs", read 2026-11.
"""

from __future__ import annotations

import binascii
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

import msgspec

from farebox.wire.http import Headers

HTTPS_PORT = 443


class EventUnknown(Exception):
    """The function was invoked with something that is no HTTP request."""


class _Http(msgspec.Struct, rename="camel"):
    method: str
    protocol: str = "HTTP/1.1"
    source_ip: str = ""


class _Context(msgspec.Struct, rename="camel"):
    http: _Http
    domain_name: str = ""


class _UrlEvent(msgspec.Struct, rename="camel"):
    raw_path: str
    request_context: _Context
    raw_query_string: str = ""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    body: str | None = None
    is_base64_encoded: bool = False


_decoder = msgspec.json.Decoder(_UrlEvent)


def read_event(event: bytes) -> tuple[MutableMapping[str, Any], bytes]:
    """Give the ASGI scope of an event, and the body of the request. Raises `EventUnknown`."""
    try:
        told = _decoder.decode(event)
        body = (told.body or "").encode()
        if told.is_base64_encoded:
            body = binascii.a2b_base64(body, strict_mode=True)
        return _scope(told), body
    except (msgspec.DecodeError, ValueError) as flaw:
        # Its words name fields, never their values.
        what = str(flaw) if isinstance(flaw, msgspec.DecodeError) else "its body or a header is malformed"
        raise EventUnknown(f"not a function URL's event, payload format 2.0: {what}") from None


def _scope(told: _UrlEvent) -> MutableMapping[str, Any]:
    http = told.request_context.http
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": http.protocol.removeprefix("HTTP/"),
        "method": http.method,
        "scheme": "https",
        "path": unquote(told.raw_path),
        "raw_path": told.raw_path.encode(),
        "query_string": told.raw_query_string.encode(),
        "root_path": "",
        "headers": _headers(told),
        "client": (http.source_ip, 0),
        "server": (told.request_context.domain_name, HTTPS_PORT),
    }


def _headers(told: _UrlEvent) -> Headers:
    headers = [(name.lower().encode("ascii"), _octets(value)) for name, value in told.headers.items()]
    if told.cookies and "cookie" not in told.headers:
        headers.append((b"cookie", _octets("; ".join(told.cookies))))
    return headers


def _octets(value: str) -> bytes:
    """Give back the octets of a header, of which JSON made characters."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()
