"""What the errors of Google's APIs are called, what they mean, and what of them clients are not told.

Sources: google.rpc.Code and google.rpc.RetryInfo; "Errors", cloud.google.com/apis/design; what users saw of
Vertex (Aider-AI/aider#1912, cline/cline#651, yym68686/uni-api#41, anthropics/claude-code#1440). Read 2026-11.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from farebox.providers.clouds.errors import (
    API,
    CREDENTIAL,
    INVALID,
    NOT_FOUND,
    OVERLOADED,
    RATE_LIMIT,
    TIMEOUT,
    UNSUPPORTED,
    CloudError,
    Kind,
    text_of,
)
from farebox.wire.headers import find
from farebox.wire.http import JSON_FAULTS, Headers, HttpAnswer

NOT_ENABLED = "MODEL_NOT_ENABLED"
"""Our name for what Google calls FAILED_PRECONDITION, as it does much else."""

GOOGLE_ERRORS: Mapping[str, Kind] = {
    "ABORTED": OVERLOADED,
    "CANCELLED": API,
    "DATA_LOSS": API,
    "DEADLINE_EXCEEDED": TIMEOUT,
    "FAILED_PRECONDITION": INVALID,
    "INTERNAL": API,
    "INVALID_ARGUMENT": INVALID,
    NOT_ENABLED: NOT_FOUND,
    "NOT_FOUND": NOT_FOUND,
    "OUT_OF_RANGE": INVALID,
    "PERMISSION_DENIED": CREDENTIAL,
    "RESOURCE_EXHAUSTED": RATE_LIMIT,
    "UNAUTHENTICATED": CREDENTIAL,
    "UNAVAILABLE": OVERLOADED,
    "UNIMPLEMENTED": UNSUPPORTED,
    "UNKNOWN": API,
}
RETRY_AFTER_S_MAX = 3_600
WORDS_MAX = 2_000

_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_CODE = re.compile(r"[A-Z][A-Z_]{0,63}")
_NOT_ENABLED = re.compile(r"is not allowed to use Publisher Model", re.I)
_PROJECTS = re.compile(
    r"(\bprojects?(?:[_ ](?:id|number))?(?:[/:=] ?| ?[`'\"]| (?=\d{6})))[a-z0-9][a-z0-9.:-]*[a-z0-9]", re.I
)
_ACCOUNTS = re.compile(r"[\w.+-]+@[\w.-]+\.[a-z]{2,}", re.I)
_any = msgspec.json.Decoder().decode


def google_error(answer: HttpAnswer, body: bytes, project: str | None) -> CloudError:
    """Read an error, in whatever form it comes; a page of HTML says no more than its status."""
    found = google_error_in(body, project)
    if found is not None:
        return replace(found, status=answer.status)
    words = body[: 4 * WORDS_MAX].decode("utf-8", "replace").strip()
    if words.startswith("<"):
        words = f"Google answered with a page (HTTP status {answer.status}); is there Vertex in the region?"
    return CloudError(answer.status, "", without_names(words, project))


def google_error_in(body: bytes, project: str | None) -> CloudError | None:
    """Find an error of Google's in an answer, with the status that it names itself."""
    error = _error_of(body)
    if error is None:
        return None
    status = error.get("code")
    code, words = text_of(error, "status"), text_of(error, "message")
    if _NOT_ENABLED.search(words):
        code = NOT_ENABLED
    elif not _CODE.fullmatch(code):
        code = ""
    number = status if isinstance(status, int) and 400 <= status <= 599 else 500
    return CloudError(number, code, without_names(words, project))


def told_headers(headers: Headers, body: bytes) -> Headers:
    """Give the answer's headers with the wait that the error itself asks for, unless a header does."""
    if find(headers, b"retry-after") is not None:
        return headers
    seconds = _retry_after_s(body)
    return headers if seconds is None else [*headers, (b"retry-after", b"%d" % seconds)]


def without_names(words: str, project: str | None) -> str:
    """Take out whose project and which accounts an error speaks of: developers are told what is wrong, not
    where the company keeps it.
    """
    plain = _PROJECTS.sub(r"\1...", _ACCOUNTS.sub("...", words[:WORDS_MAX]))
    return plain.replace(project, "...") if project else plain


def _error_of(body: bytes) -> Mapping[str, object] | None:
    """Find `error` in an object, or in the first object of a list, as streams begin."""
    try:
        document = _any(body)
    except JSON_FAULTS:
        return None
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else None


def _retry_after_s(body: bytes) -> int | None:
    details = (_error_of(body) or {}).get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("@type") == _RETRY_INFO:
            found = _DURATION.fullmatch(text_of(detail, "retryDelay"))
            if found is not None:
                return min(math.ceil(float(found[1])), RETRY_AFTER_S_MAX)
    return None
