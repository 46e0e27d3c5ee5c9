"""Lets the admin plane answer every refusal and fault as `http/errors.py` words it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from msgspec.structs import replace
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farebox.domain.errors import (
    BodyTooLarge,
    ConfigInvalid,
    FareboxError,
    KeyRefused,
    RouteUnknown,
    StoreFault,
)
from farebox.domain.routing.finding import Finding, refusal
from farebox.http.clients.connection import SCOPE_REQUEST_ID
from farebox.http.errors import error_answer
from farebox.http.policy_document import detail_text, path_text
from farebox.http.policy_text import TEXT_BYTES_MAX

_log = logging.getLogger("farebox.admin")

ADMIN_KEY_REFUSED = (
    "This needs a valid farebox admin key: send Authorization: Bearer fba-... or x-portkey-api-key."
)
"""The same for a missing, unknown, revoked and expired key."""


class BoundedBodies:
    """Refuses a body beyond the bound, declared or grown. The framework's own bound answers in plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        length = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        if length.isdecimal() and int(length[:20]) > TEXT_BYTES_MAX:
            await _response(BodyTooLarge(TEXT_BYTES_MAX), scope)(scope, receive, send)
        else:
            await self._app(scope, _bounded(receive), send)


def _bounded(receive: Receive) -> Receive:
    size = 0

    async def receiving() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > TEXT_BYTES_MAX:
            raise HTTPException(413)  # any other exception in here becomes the framework's 400
        return message

    return receiving


def install_error_handlers(app: FastAPI) -> None:
    """Answer whatever goes wrong in the one shape, a body that is too large included."""
    app.add_middleware(BoundedBodies)
    for kind in (FareboxError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, StoreFault):
        _log.error("%s %s: %s", request.method, request.url.path, error)
    return _response(_named(request, error), request.scope, is_let_in=hasattr(request.state, "actor"))


def _response(error: Exception, scope: Scope, *, is_let_in: bool = False) -> Response:
    told = error_answer(error)
    if is_let_in and isinstance(error, StoreFault):
        told = replace(told, message=str(error))
    if isinstance(error, KeyRefused):
        told = replace(told, message=ADMIN_KEY_REFUSED)
    headers = {name.decode(): value.decode() for name, value in told.headers}
    if told.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(told.body(scope.get(SCOPE_REQUEST_ID)), told.status, headers, "application/json")


def _named(request: Request, error: Exception) -> Exception:
    """Give what the framework raises a name of ours."""
    if isinstance(error, RequestValidationError):
        return refusal([Finding(_field(each["loc"]), detail_text(each)) for each in error.errors()])
    if isinstance(error, HTTPException):
        if error.status_code == 413:
            return BodyTooLarge(TEXT_BYTES_MAX)
        if error.status_code in (404, 405):
            return RouteUnknown(request.method, request.url.path)
        return ConfigInvalid("", str(error.detail))
    return error


def _field(location: Sequence[int | str]) -> str:
    """Name the field alone, not whether it was in body, query or path."""
    where, *rest = location
    return path_text(rest) if rest and isinstance(rest[0], str) else str(where)
