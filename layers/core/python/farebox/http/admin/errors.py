"""Lets the admin plane answer every refusal and fault as `http/errors.py` words it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from farebox.domain.errors import BodyTooLarge, ConfigInvalid, FareboxError, KeyRefused, RouteUnknown
from farebox.http.errors import error_answer
from farebox.http.policy_document import detail_text, path_text, refusal
from farebox.http.policy_routing import Finding
from farebox.http.policy_text import TEXT_BYTES_MAX

ADMIN_KEY_REFUSED = (
    "This needs a valid farebox admin key: send Authorization: Bearer fba-... or x-portkey-api-key."
)
"""The same for a missing, unknown, revoked and expired key."""


def install_error_handlers(app: FastAPI) -> None:
    """Answer whatever goes wrong in the one shape."""
    for kind in (FareboxError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    told = error_answer(_named(request, error))
    if isinstance(error, KeyRefused):
        told = replace(told, message=ADMIN_KEY_REFUSED)
    headers = {name.decode(): value.decode() for name, value in told.headers}
    if told.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(told.body(), told.status, headers, "application/json")


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
