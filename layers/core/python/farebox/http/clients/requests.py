"""A request of Bedrock's or Vertex's clients as the Messages request that it is. Values keep their bytes."""

from __future__ import annotations

import binascii
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from farebox.domain.errors import PolicyRefused, RequestMalformed
from farebox.gateway.incoming import BEDROCK, IncomingRequest
from farebox.http.clients.paths import Route
from farebox.providers.base import COUNT_TOKENS
from farebox.wire.headers import find
from farebox.wire.http import Headers
from farebox.wire.request_body.top_level import JsonObject, read_object

ANTHROPIC_VERSION = (b"anthropic-version", b"2023-06-01")
BETA_HEADER = b"anthropic-beta"

# They speak of the platform, or of the form that its answers have.
_PLATFORM_HEADERS = frozenset((b"accept", b"anthropic-version", BETA_HEADER, b"content-type"))
_GUARDRAIL_PREFIX = b"x-amzn-bedrock-guardrail"
_PLATFORM_PREFIXES = (b"x-amz-", b"x-amzn-", b"amz-sdk-", b"x-goog-")
# An InvokeModel body that is counted has these, and a token count of Anthropic's takes none of them.
_NOT_COUNTED = ("max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "metadata")

_texts = msgspec.json.Decoder(list[str])


class _InvokeModel(msgspec.Struct):
    # msgspec reads base64 into bytes.
    body: bytes


class _Input(msgspec.Struct, rename="camel"):
    invoke_model: _InvokeModel


class _Count(msgspec.Struct):
    input: _Input


_count = msgspec.json.Decoder(_Count)


def as_messages(request: IncomingRequest, route: Route) -> IncomingRequest:
    """Give the request as a client of the Messages API would have sent it. Its body is turned when it is
    read, and then the betas in it join the headers.
    """
    said = [value.decode("latin-1") for name, value in request.headers if name == BETA_HEADER]
    betas = [beta.strip() for value in said for beta in value.split(",")]
    headers = _headers(request.headers, route, betas)

    async def read_body() -> bytes:
        _refuse_guardrail(request.headers)
        body, more = messages_body(await request.read_body(), route)
        headers[:] = _headers(request.headers, route, [*betas, *more])
        return body

    return replace(request, query=b"", headers=headers, read_body=read_body, api=route.api)


def messages_body(body: bytes, route: Route) -> tuple[bytes, list[str]]:
    """Give a Messages body, and the betas that stood in it. Raises `RequestMalformed`."""
    is_count = route.operation == COUNT_TOKENS
    fields = read_object(_counted(body) if is_count and route.api == BEDROCK else body)
    betas = _betas(fields)
    for name in ("anthropic_version", "stream", *(_NOT_COUNTED if is_count else ())):
        fields.pop(name, None)
    written: JsonObject = {}
    if route.model is not None:
        fields.pop("model", None)
        written["model"] = msgspec.Raw(msgspec.json.encode(route.model))
    written |= fields
    if route.is_stream:
        written["stream"] = msgspec.Raw(b"true")
    return msgspec.json.encode(written), betas


def _refuse_guardrail(headers: Headers) -> None:
    """A check that somebody relies on is not left out silently; Claude Code's users name one in a header."""
    if any(name.startswith(_GUARDRAIL_PREFIX) for name, _ in headers):
        raise PolicyRefused(
            "This request asks for a Bedrock guardrail (x-amzn-bedrock-guardrailidentifier), which farebox "
            "does not send on. Leave the header out where the guardrail is enforced in the AWS account."
        )


def _counted(body: bytes) -> bytes:
    """Take the InvokeModel body out of a CountTokens request."""
    try:
        return _count.decode(body).input.invoke_model.body
    except (msgspec.MsgspecError, binascii.Error, RecursionError) as error:
        raise RequestMalformed(
            f"input.invokeModel.body: must be an InvokeModel body in base64 ({error}); "
            "Converse requests are not counted here."
        ) from None


def _betas(fields: JsonObject) -> list[str]:
    raw = fields.pop("anthropic_beta", msgspec.Raw(b"[]"))
    try:
        return _texts.decode(raw)
    except msgspec.MsgspecError as error:
        raise RequestMalformed(f"anthropic_beta: {error}.") from None


def _headers(headers: Headers, route: Route, betas: Iterable[str]) -> Headers:
    """Bedrock's answers are read here, so they must not come compressed."""
    unread = (b"accept-encoding",) if route.api == BEDROCK else ()
    kept = [
        pair
        for pair in headers
        if pair[0] not in _PLATFORM_HEADERS
        and pair[0] not in unread
        and not pair[0].startswith(_PLATFORM_PREFIXES)
    ]
    version = find(headers, b"anthropic-version")
    kept.append(ANTHROPIC_VERSION if version is None else (b"anthropic-version", version))
    named = [beta for beta in dict.fromkeys(betas) if beta.isascii() and beta.isprintable() and beta]
    if named:
        kept.append((BETA_HEADER, ",".join(named).encode()))
    return [(b"accept", b"application/json"), (b"content-type", b"application/json"), *kept]
