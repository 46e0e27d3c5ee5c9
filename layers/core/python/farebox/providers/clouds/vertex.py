"""Claude on Google's Vertex AI: the Messages API, with the model in the path and the version in the body.

Sources: the Vertex client of the anthropic package; what Claude Code 2.1.330 sends in Vertex mode; "Request
predictions with Claude models", cloud.google.com. Read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from farebox.domain.config import ProviderSpec
from farebox.domain.errors import ConfigInvalid, CredentialMissing
from farebox.ports.bearer import BearerToken
from farebox.providers.base import COUNT_TOKENS, Call, split_base_url
from farebox.providers.clouds.answers import WholeAnswer, is_json, with_body
from farebox.providers.clouds.errors import CloudError, is_anthropic_envelope, read_document
from farebox.providers.clouds.google_errors import GOOGLE_ERRORS, google_error, google_error_in, told_headers
from farebox.providers.clouds.shape import BETA_HEADER, Shaped, shape
from farebox.providers.clouds.terms import VERTEX
from farebox.wire.headers import find
from farebox.wire.http import Headers, HttpAnswer, HttpRequest, is_success, read_whole
from farebox.wire.request_body.top_level import JsonObject
from farebox.wire.token_count import read_count

_VERSION = msgspec.Raw(b'"vertex-2023-10-16"')
_HOSTS: Mapping[str, str] = {
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "eu": "aiplatform.eu.rep.googleapis.com",
}
_API = "/v1"
_model = msgspec.json.Decoder(str).decode


class VertexProvider:
    """Nobody says that leaving ends the bill, so an answer is read to its end."""

    cancel_stops_billing = False

    def request(self, spec: ProviderSpec, call: Call) -> HttpRequest:
        """Write a request under an access token of Google's, which opens more than one door."""
        if spec.is_host_chosen:
            raise ConfigInvalid(
                "custom_host", f"no access token of provider '{spec.slug}' goes to another host"
            )
        shaped = shape(call, VERTEX, spec.cloud.pass_betas)
        model = spec.model_id(call.model or _model(shaped.fields["model"]))
        is_count = call.operation == COUNT_TOKENS
        origin, path = split_base_url(spec.base_url or f"https://{vertex_host(_location(spec))}{_API}")
        return HttpRequest(
            method=b"POST",
            origin=origin,
            target=((path or _API) + _resource(spec, model, call)).encode(),
            headers=[
                (b"content-type", b"application/json"),
                (b"accept", b"text/event-stream" if call.is_stream and not is_count else b"application/json"),
                (b"accept-encoding", b"identity"),
                *_kept_headers(call, shaped),
                _authorization(spec, call),
            ],
            body=_body(shaped, model if is_count else None),
        )

    async def answer(self, spec: ProviderSpec, call: Call, answer: HttpAnswer) -> HttpAnswer:
        """Put Google's errors into Anthropic's shape, and let no count of 0 pass. What Claude says passes."""
        host = f"vertex in {spec.region}"
        is_count = call.operation == COUNT_TOKENS
        if is_success(answer.status):
            if not is_count and not (call.is_stream and is_json(answer)):
                return answer
            body = await read_whole(answer, host)
            return (_counted if is_count else _refused_late)(spec, answer, body)
        body = await read_whole(answer, host)
        if answer.status != 401 and is_anthropic_envelope(body):
            return with_body(answer, body)
        return _told(google_error(answer, body, spec.cloud.project), answer, body)


def vertex_host(location: str) -> str:
    """Give the host that serves a location: the global one, a multi-region's, or a region's."""
    return _HOSTS.get(location) or f"{location}-aiplatform.googleapis.com"


def _location(spec: ProviderSpec) -> str:
    if not spec.region:
        raise ConfigInvalid("region", f"provider '{spec.slug}' needs a location, such as global or us-east5")
    return spec.region


def _resource(spec: ProviderSpec, model: str, call: Call) -> str:
    if not spec.cloud.project:
        raise ConfigInvalid("project", f"provider '{spec.slug}' needs the id of a Google Cloud project")
    if call.operation == COUNT_TOKENS:
        name = "count-tokens:rawPredict"
    else:
        name = f"{quote(model, safe='@')}:{'streamRawPredict' if call.is_stream else 'rawPredict'}"
    place = f"/projects/{quote(spec.cloud.project, safe='')}/locations/{_location(spec)}"
    return f"{place}/publishers/anthropic/models/{name}"


def _body(shaped: Shaped, model: str | None) -> bytes:
    """A count names its model in the body, a message in the path alone."""
    fields: JsonObject = {"anthropic_version": _VERSION}
    if model is not None:
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    for name, value in shaped.fields.items():
        if name not in ("model", "anthropic_version"):
            fields[name] = value
    return msgspec.json.encode(fields)


def _kept_headers(call: Call, shaped: Shaped) -> Headers:
    agent = find(call.headers, b"user-agent")
    kept: Headers = [] if agent is None else [(b"user-agent", agent)]
    if shaped.betas:
        kept.append((BETA_HEADER, ",".join(shaped.betas).encode()))
    return kept


def _authorization(spec: ProviderSpec, call: Call) -> tuple[bytes, bytes]:
    if isinstance(call.secret, BearerToken):
        return call.secret.header
    if not isinstance(call.secret, str):
        raise CredentialMissing(spec.slug)
    return b"authorization", b"Bearer " + call.secret.encode()


def _counted(spec: ProviderSpec, answer: HttpAnswer, body: bytes) -> WholeAnswer:
    if read_count(read_document(body).get("input_tokens")):
        return with_body(answer, body)
    error = replace(google_error(answer, body, spec.cloud.project), status=502, code="CountMissing")
    return _told(error, answer, body)


def _refused_late(spec: ProviderSpec, answer: HttpAnswer, body: bytes) -> WholeAnswer:
    """Take an error out of an answer that began as a stream's; anything else is for others to judge."""
    error = google_error_in(body, spec.cloud.project)
    if error is None:
        return with_body(answer, body)
    return _told(error, answer, body)


def _told(error: CloudError, answer: HttpAnswer, body: bytes) -> WholeAnswer:
    return error.answer(GOOGLE_ERRORS, told_headers(answer.headers, body), _request_id(answer.headers))


def _request_id(headers: Headers) -> str | None:
    value = find(headers, b"request-id")
    return value.decode("latin-1") if value else None
