"""Amazon Bedrock: InvokeModel with and without a stream, and its native Messages endpoints.

Sources: botocore's model of bedrock-runtime; "Inference using Anthropic Messages API", docs.aws.amazon.com;
CountTokens' taking foundation models only was seen by several (BerriAI/litellm#34272). Read 2026-11.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from farebox.domain.config import ProviderSpec
from farebox.domain.errors import ConfigInvalid, CredentialMissing
from farebox.domain.price.model_names import bedrock_id, foundation_model_id
from farebox.providers.base import COUNT_TOKENS, Call, split_base_url, with_query
from farebox.providers.clouds.answers import WholeAnswer
from farebox.providers.clouds.aws_errors import AWS_ERRORS, aws_error
from farebox.providers.clouds.bedrock_stream import BedrockStream
from farebox.providers.clouds.errors import is_anthropic_envelope, read_document
from farebox.providers.clouds.shape import BETA_HEADER, Shaped, shape
from farebox.providers.clouds.terms import BEDROCK_INVOKE, BEDROCK_MESSAGES
from farebox.wire.event_stream import CONTENT_TYPE as EVENT_STREAM
from farebox.wire.headers import find, upstream_headers
from farebox.wire.http import Headers, HttpAnswer, HttpRequest, is_success, read_whole
from farebox.wire.request_body.top_level import JsonObject
from farebox.wire.sigv4 import AwsCredentials, SigningScope
from farebox.wire.token_count import read_count

INVOKE, MESSAGES_ENDPOINT, MANTLE = "invoke", "messages", "mantle"
ENDPOINTS = (INVOKE, MESSAGES_ENDPOINT, MANTLE)
"""How Bedrock is spoken to: InvokeModel, bedrock-runtime's Messages endpoint, or that of bedrock-mantle."""

_VERSION = msgspec.Raw(b'"bedrock-2023-05-31"')
_ONE = msgspec.Raw(b"1")
_BASE_URLS: Mapping[str, str] = {
    INVOKE: "https://bedrock-runtime.{region}.{domain}",
    MESSAGES_ENDPOINT: "https://bedrock-runtime.{region}.{domain}/anthropic",
    MANTLE: "https://bedrock-mantle.{region}.api.aws/anthropic",
}
_SERVICES = {MANTLE: "bedrock-mantle"}
JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")


class BedrockProvider:
    """An answer is billed to its end, whoever listens."""

    cancel_stops_billing = False

    def request(self, spec: ProviderSpec, call: Call) -> HttpRequest:
        """Write an InvokeModel request, a CountTokens one, or one of the native Messages endpoints."""
        if _endpoint(spec) == INVOKE:
            return _invoke_request(spec, call)
        return _messages_request(spec, call)

    def signs_for(self, spec: ProviderSpec) -> SigningScope:
        """Give the region and the service of the endpoint."""
        return SigningScope(region_of(spec), _SERVICES.get(_endpoint(spec), "bedrock"))

    async def answer(self, spec: ProviderSpec, call: Call, answer: HttpAnswer) -> HttpAnswer:
        """Turn frames into events, a count into ours, and errors into Anthropic's words."""
        host = f"bedrock in {spec.region}"
        if not is_success(answer.status):
            body = await read_whole(answer, host)
            if answer.status not in (401, 403) and is_anthropic_envelope(body):
                return WholeAnswer(answer.status, _named(answer.headers), body)
            return aws_error(answer, body).answer(AWS_ERRORS, answer.headers, request_id_of(answer.headers))
        if _endpoint(spec) != INVOKE:
            is_count = call.operation == COUNT_TOKENS
            return _checked_count(answer, await read_whole(answer, host)) if is_count else answer
        content_type = find(answer.headers, b"content-type") or b""
        if content_type.startswith(EVENT_STREAM):
            return BedrockStream(answer, host, _named(answer.headers, b"text/event-stream; charset=utf-8"))
        if call.operation == COUNT_TOKENS:
            return _count(answer, await read_whole(answer, host))
        return WholeAnswer(answer.status, _named(answer.headers), await read_whole(answer, host))


def region_of(spec: ProviderSpec) -> str:
    """Give the region of an AWS provider. Raises `ConfigInvalid`."""
    if not spec.region:
        raise ConfigInvalid("region", f"provider '{spec.slug}' needs an AWS region")
    return spec.region


def request_id_of(headers: Headers) -> str | None:
    """Give Amazon's id of a request."""
    value = find(headers, b"x-amzn-requestid") or find(headers, b"request-id")
    return value.decode("latin-1") if value else None


def _endpoint(spec: ProviderSpec) -> str:
    return spec.cloud.endpoint or INVOKE


def _base_url(spec: ProviderSpec) -> str:
    region = region_of(spec)
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return spec.base_url or _BASE_URLS[_endpoint(spec)].format(region=region, domain=domain)


def _invoke_request(spec: ProviderSpec, call: Call) -> HttpRequest:
    shaped = shape(call, BEDROCK_INVOKE, spec.cloud.pass_betas)
    fields = shaped.fields
    model = spec.model_id(call.model or _model_in(fields))
    is_count = call.operation == COUNT_TOKENS
    is_stream = call.is_stream and not is_count
    verb = "invoke-with-response-stream" if is_stream else "count-tokens" if is_count else "invoke"
    if is_count:
        model = _foundation_model(spec, model)
        fields.setdefault("max_tokens", _ONE)
    body = _invoke_body(shaped)
    origin, path = split_base_url(_base_url(spec))
    return HttpRequest(
        method=b"POST",
        origin=origin,
        target=f"{path}/model/{quote(model, safe='')}/{verb}".encode(),
        headers=[
            JSON,
            (b"accept", EVENT_STREAM if is_stream else b"application/json"),
            *_user_agent(call),
            *_bearer(spec, call),
        ],
        body=msgspec.json.encode({"input": {"invokeModel": {"body": _base64(body)}}}) if is_count else body,
    )


def _foundation_model(spec: ProviderSpec, model: str) -> str:
    """Give the model behind a profile, as CountTokens wants it; an application profile does not name it."""
    behind = foundation_model_id(model)
    return behind if "anthropic." in behind else bedrock_id(spec.model_behind(model), "none")


def _invoke_body(shaped: Shaped) -> bytes:
    fields: JsonObject = {"anthropic_version": _VERSION}
    if shaped.betas:
        fields["anthropic_beta"] = msgspec.Raw(msgspec.json.encode(shaped.betas))
    for name, value in shaped.fields.items():
        if name not in ("model", "stream", "anthropic_version"):
            fields[name] = value
    return msgspec.json.encode(fields)


def _messages_request(spec: ProviderSpec, call: Call) -> HttpRequest:
    shaped = shape(call, BEDROCK_MESSAGES, spec.cloud.pass_betas)
    model = spec.model_id(call.model or _model_in(shaped.fields))
    fields = {**shaped.fields, "model": msgspec.Raw(msgspec.json.encode(model))}
    origin, path = split_base_url(_base_url(spec))
    target = "/v1/messages/count_tokens" if call.operation == COUNT_TOKENS else "/v1/messages"
    headers = [each for each in upstream_headers(call.headers) if each[0] != BETA_HEADER]
    if shaped.betas:
        headers.append((BETA_HEADER, ",".join(shaped.betas).encode()))
    if find(headers, b"anthropic-version") is None:
        headers.append((b"anthropic-version", b"2023-06-01"))
    return HttpRequest(
        method=b"POST",
        origin=origin,
        target=with_query((path + target).encode(), call),
        headers=[*headers, (b"accept-encoding", b"identity"), *_bearer(spec, call)],
        body=msgspec.json.encode(fields),
    )


def _model_in(fields: JsonObject) -> str:
    return str(msgspec.json.decode(fields["model"], type=str))


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode()


def _user_agent(call: Call) -> Headers:
    value = find(call.headers, b"user-agent")
    return [] if value is None else [(b"user-agent", value)]


def _bearer(spec: ProviderSpec, call: Call) -> Headers:
    """A Bedrock API key travels as a bearer token; AWS credentials sign later."""
    if isinstance(call.secret, AwsCredentials):
        return []
    if not isinstance(call.secret, str):
        raise CredentialMissing(spec.slug)
    return [(b"authorization", b"Bearer " + call.secret.encode())]


def _named(headers: Headers, content_type: bytes | None = None) -> Headers:
    """Give the answer's headers with the request's id where Anthropic has it."""
    kept = [each for each in headers if each[0] not in (b"content-length", b"request-id")]
    if content_type is not None:
        kept = [each for each in kept if each[0] not in (b"content-type", b"x-amzn-bedrock-content-type")]
        kept.insert(0, (b"content-type", content_type))
    request_id = request_id_of(headers)
    return kept if request_id is None else [*kept, (b"request-id", request_id.encode("latin-1"))]


def _checked_count(answer: HttpAnswer, body: bytes) -> WholeAnswer:
    """Give a native endpoint's count as it is. An answer without a count is an error, never a count of 0."""
    if not read_count(read_document(body).get("input_tokens")):
        return _count_missing(answer, body)
    return WholeAnswer(answer.status, _named(answer.headers), body)


def _count_missing(answer: HttpAnswer, body: bytes) -> WholeAnswer:
    error = replace(aws_error(answer, body), status=502, code="CountMissing")
    return error.answer(AWS_ERRORS, answer.headers, request_id_of(answer.headers))


def _count(answer: HttpAnswer, body: bytes) -> WholeAnswer:
    """Give the count under Anthropic's name. An answer without a count is an error, never a count of 0."""
    count = read_count(read_document(body).get("inputTokens"))
    if not count:
        return _count_missing(answer, body)
    return WholeAnswer(200, _named(answer.headers), msgspec.json.encode({"input_tokens": count}))
