"""A request as a function URL hands it to its function: payload format 2.0.

Source: Lambda developer guide, "Invoking Lambda function URLs", read 2026-11.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.support.cloud.http import Head

DOMAIN = "abcdefghij.lambda-url.us-east-1.on.aws"
SOURCE_IP = "203.0.113.7"
_TEXT = re.compile(r"text/.*|application/(.*\+)?(json|xml)|application/javascript").fullmatch
_FRAMING = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "host", "cookie"})


def url_event(head: Head, body: bytes, request_id: str) -> dict[str, Any]:
    """Give the event of one request. Headers of the same name are joined, cookies stand apart."""
    method, target, _ = head.start.split(" ")
    path, _, query = target.partition("?")
    text = _text_of(head, body)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": _joined(head, len(body)),
        "requestContext": _context(head, method, path, request_id),
        "isBase64Encoded": text is None,
    }
    if cookies := [cookie for value in head.values("cookie") for cookie in value.split("; ")]:
        event["cookies"] = cookies
    if query:
        pairs = (pair.partition("=") for pair in query.split("&"))
        event["queryStringParameters"] = {name: value for name, _, value in pairs}
    if body:
        event["body"] = base64.b64encode(body).decode() if text is None else text
    return event


def event_bytes(event: Mapping[str, Any]) -> bytes:
    """Write an event as the Runtime API hands it over."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _text_of(head: Head, body: bytes) -> str | None:
    """Give the body where Lambda takes it for text; what is compressed or unnamed is not."""
    kind = (head.value("content-type") or "").partition(";")[0].strip().lower()
    if not _TEXT(kind) or head.value("content-encoding"):
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _joined(head: Head, body_bytes: int) -> dict[str, str]:
    names = dict.fromkeys(name for name, _ in head.headers if name not in _FRAMING)
    length = {"content-length": str(body_bytes)} if body_bytes else {}
    return {
        **{name: ",".join(head.values(name)) for name in names},
        **length,
        "host": DOMAIN,
        "x-forwarded-for": SOURCE_IP,
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
        "x-amzn-trace-id": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e",
    }


def _context(head: Head, method: str, path: str, request_id: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "accountId": "anonymous",
        "apiId": DOMAIN.partition(".")[0],
        "domainName": DOMAIN,
        "domainPrefix": DOMAIN.partition(".")[0],
        "http": {
            "method": method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": SOURCE_IP,
            "userAgent": head.value("user-agent") or "",
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now.timestamp() * 1_000),
    }
