"""What a cloud's error becomes: Anthropic's envelope, in the words that Claude Code mends itself by.

The cloud's own code and words stay in the envelope as `provider_error`. Wordings were seen with Bedrock and
Vertex; what the client recognises was read in Claude Code 2.1.330. Read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from farebox.providers.clouds.answers import WholeAnswer
from farebox.wire.headers import find
from farebox.wire.http import JSON_FAULTS, Headers

NO_RETRY = (b"x-should-retry", b"false")
NOT_SUPPORTED = "not_supported"

_object = msgspec.json.Decoder(dict[str, object])
_EXTRANEOUS = re.compile(r"#(?P<path>[\w/]*): extraneous key \[(?P<key>\w+)\] is not permitted")
_MODEL_ERRORS = "The model returned the following errors: "
_TOO_LONG = re.compile(
    r"input is too long|prompt is too long|exceeds the maximum (?:number of )?tokens", re.I
)
# What begins with a field's path is about that field, which no compaction of the conversation makes shorter.
_OF_A_FIELD = re.compile(r"[a-z_]+(?:[._]\w+)+: ")
_NO_SUCH_MODEL = re.compile(
    r"model identifier is invalid|could not resolve the foundation model|"
    r"publisher model .* (?:was )?not found|is not (?:servable|found) in region",
    re.I,
)
_NO_COUNTING = re.compile(r"(?:support|enable).{0,20}(?:count|counting)[ -]?tokens?", re.I)


class Kind(Struct, frozen=True):
    """How one kind of error is told. `is_final` says that trying again does not help."""

    status: int
    type: str
    is_final: bool = False


RATE_LIMIT = Kind(429, "rate_limit_error")
OVERLOADED = Kind(529, "overloaded_error")
INVALID = Kind(400, "invalid_request_error")
NOT_FOUND = Kind(404, "not_found_error")
API = Kind(500, "api_error")
TIMEOUT = Kind(504, "timeout_error")
# farebox's own credential is refused: the caller's key is good, so it is not told to log in again.
CREDENTIAL = Kind(403, "permission_error", is_final=True)
TOO_LARGE = Kind(413, "request_too_large", is_final=True)
UNSUPPORTED = Kind(501, NOT_SUPPORTED, is_final=True)

BY_STATUS: Mapping[int, Kind] = {
    400: INVALID,
    401: CREDENTIAL,
    403: CREDENTIAL,
    404: NOT_FOUND,
    408: TIMEOUT,
    413: TOO_LARGE,
    424: API,
    429: RATE_LIMIT,
    503: OVERLOADED,
    504: TIMEOUT,
    529: OVERLOADED,
}


class CloudError(Struct, frozen=True):
    """An error as a cloud said it. `code` is its own name for it."""

    status: int
    code: str
    message: str

    def told_as(self, kinds: Mapping[str, Kind]) -> tuple[Kind, str]:
        """Give kind and words for the client; the words decide where the code says too little."""
        kind = kinds.get(self.code) or BY_STATUS.get(self.status)
        if kind is None:
            kind = INVALID if self.status < 500 else API
        return _by_words(kind, _plain(self.message) or self.code or f"HTTP status {self.status}")

    def envelope(self, kinds: Mapping[str, Kind], request_id: str | None = None) -> dict[str, object]:
        """Write Anthropic's envelope."""
        kind, message = self.told_as(kinds)
        theirs = {"status": self.status, "code": self.code, "message": self.message}
        error = {"type": kind.type, "message": message, "provider_error": theirs}
        envelope: dict[str, object] = {"type": "error", "error": error}
        return envelope if request_id is None else {**envelope, "request_id": request_id}

    def answer(self, kinds: Mapping[str, Kind], headers: Headers, request_id: str | None) -> WholeAnswer:
        """Answer with the envelope, keeping what the cloud says about trying again."""
        kind, _ = self.told_as(kinds)
        told: Headers = [(b"content-type", b"application/json")]
        if request_id is not None:
            told.append((b"request-id", request_id.encode("latin-1")))
        retry_after = find(headers, b"retry-after")
        if retry_after is not None:
            told.append((b"retry-after", retry_after))
        if kind.is_final:
            told.append(NO_RETRY)
        return WholeAnswer(kind.status, told, msgspec.json.encode(self.envelope(kinds, request_id)))


def is_anthropic_envelope(body: bytes) -> bool:
    """Whether an error is Anthropic's own already: such are relayed as they came."""
    document = read_document(body)
    error = document.get("error")
    return document.get("type") == "error" and isinstance(error, dict) and "type" in error


def read_document(body: bytes) -> Mapping[str, object]:
    """Read a JSON object; anything else is none."""
    try:
        return _object.decode(body)
    except JSON_FAULTS:
        return {}


def text_of(document: Mapping[str, object], *names: str) -> str:
    """Give the first of some fields that is text."""
    return next((value for name in names if isinstance(value := document.get(name), str)), "")


def _plain(message: str) -> str:
    """Unwrap words that came as JSON in JSON, or behind a phrase of the cloud's own."""
    words = message.strip().removeprefix(_MODEL_ERRORS)
    for _ in range(2):
        if not words.startswith("{"):
            break
        document = read_document(words.encode())
        inner = document.get("error")
        found = text_of(inner if isinstance(inner, dict) else document, "message", "Message")
        words = found or words
    extraneous = _EXTRANEOUS.search(words)
    if extraneous is not None:
        path = ".".join(part for part in (*extraneous["path"].split("/"), extraneous["key"]) if part)
        return f"{path}: Extra inputs are not permitted"
    return words


def _by_words(kind: Kind, words: str) -> tuple[Kind, str]:
    if kind.status not in (400, 404, 413, 424, 500):
        return kind, words
    if _TOO_LONG.search(words) and not _OF_A_FIELD.match(words):
        return INVALID, words if "prompt is too long" in words.lower() else f"prompt is too long: {words}"
    if _NO_COUNTING.search(words):
        return UNSUPPORTED, words
    return (NOT_FOUND, words) if _NO_SUCH_MODEL.search(words) else (kind, words)
