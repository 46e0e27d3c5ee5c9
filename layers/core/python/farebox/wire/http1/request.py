"""The head of an HTTP/1.1 request as bytes, refused if anything in it could be read as more than it says."""

from __future__ import annotations

import re

from farebox.domain.errors import RequestMalformed
from farebox.wire.http import DEFAULT_PORTS, HttpRequest, Origin

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_TARGET = re.compile(rb"[\x21-\x7e]+").fullmatch
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
_HOST = re.compile(r"[0-9A-Za-z._~%:-]+").fullmatch
_OURS = frozenset({b"host", b"content-length", b"transfer-encoding"})
_ALWAYS_SIZED = frozenset({b"POST", b"PUT", b"PATCH"})


def host_header(origin: Origin) -> bytes:
    """The value the transport will send, for those who sign it. IPv6 in brackets, a default port left out."""
    if not _HOST(origin.host):
        raise RequestMalformed(f"'{origin.host!r}' is not a host name.")
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    if origin.port != DEFAULT_PORTS.get(origin.scheme):
        host = f"{host}:{origin.port}"
    return host.encode("ascii")


def request_head(request: HttpRequest, *, is_chunked: bool = False) -> bytes:
    """Everything up to and with the empty line."""
    if not _TOKEN(request.method):
        raise RequestMalformed(f"{request.method!r} is not an HTTP method.")
    if not _TARGET(request.target):
        raise RequestMalformed(f"{request.target!r} is not a request target.")
    lines = [
        b"%b %b HTTP/1.1" % (request.method, request.target),
        b"host: " + host_header(request.origin),
    ]
    for name, value in request.headers:
        if not _TOKEN(name) or not _VALUE(value):
            raise RequestMalformed(f"The header {name!r} cannot be sent as HTTP.")
        if name.lower() in _OURS:
            raise RequestMalformed(f"The header {name!r} is the transport's to set.")
        lines.append(name + b": " + value)
    if is_chunked:
        lines.append(b"transfer-encoding: chunked")
    elif request.body or request.method in _ALWAYS_SIZED:
        lines.append(b"content-length: %d" % len(request.body))
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
