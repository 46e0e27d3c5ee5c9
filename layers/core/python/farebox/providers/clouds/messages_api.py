"""Clouds that speak the Messages API themselves: Microsoft Foundry and Claude Platform on AWS.

Source: the Foundry and AWS clients of the anthropic package. Read 2026-11.
"""

from __future__ import annotations

import re

import msgspec
from msgspec.structs import replace

from farebox.domain.config import ProviderSpec
from farebox.domain.errors import ConfigInvalid, CredentialMissing
from farebox.ports.bearer import BearerToken
from farebox.providers.base import COUNT_TOKENS, Call, split_base_url, with_query
from farebox.providers.clouds.answers import WholeAnswer, is_json, with_body
from farebox.providers.clouds.aws_errors import AWS_ERRORS, aws_error
from farebox.providers.clouds.bedrock import region_of, request_id_of
from farebox.providers.clouds.errors import CloudError, is_anthropic_envelope, read_document
from farebox.providers.clouds.shape import BETA_HEADER, shape
from farebox.providers.clouds.terms import ANTHROPIC_AWS, FOUNDRY, Terms
from farebox.wire.headers import find, upstream_headers
from farebox.wire.http import Headers, HttpAnswer, HttpRequest, is_success, read_whole
from farebox.wire.sigv4 import AwsCredentials, SigningScope
from farebox.wire.token_count import read_count

_PRINCIPAL = re.compile(r"principal [`'\"][^`'\"]*[`'\"]")
_WORKSPACE = b"anthropic-workspace-id"


class FoundryProvider:
    """Nobody says that leaving ends the bill, so an answer is read to its end."""

    cancel_stops_billing = False

    def request(self, spec: ProviderSpec, call: Call) -> HttpRequest:
        """Write a request under the resource's API key, or a token of Microsoft Entra."""
        if not spec.base_url and not spec.cloud.resource:
            raise ConfigInvalid("resource", f"provider '{spec.slug}' needs a resource or a base_url")
        url = spec.base_url or f"https://{spec.cloud.resource}.services.ai.azure.com/anthropic"
        return _request(spec, call, FOUNDRY, url, _foundry_credential(spec, call))

    async def answer(self, spec: ProviderSpec, call: Call, answer: HttpAnswer) -> HttpAnswer:
        """Put errors into Anthropic's shape, and let no count of 0 pass."""
        return await _checked(f"foundry '{spec.slug}'", call, answer)


class AnthropicAwsProvider:
    """Nobody says that leaving ends the bill, so an answer is read to its end."""

    cancel_stops_billing = False

    def request(self, spec: ProviderSpec, call: Call) -> HttpRequest:
        """Write a request for the workspace, under its API key if there is no signature."""
        url = spec.base_url or f"https://aws-external-anthropic.{region_of(spec)}.api.aws"
        own: Headers = []
        if spec.cloud.workspace_id:
            own.append((_WORKSPACE, spec.cloud.workspace_id.encode()))
        if not isinstance(call.secret, AwsCredentials):
            own.append((b"authorization", b"Bearer " + _key(spec, call)))
        return _request(spec, call, ANTHROPIC_AWS, url, own)

    def signs_for(self, spec: ProviderSpec) -> SigningScope:
        """Give the region and the service."""
        return SigningScope(region_of(spec), "aws-external-anthropic")

    async def answer(self, spec: ProviderSpec, call: Call, answer: HttpAnswer) -> HttpAnswer:
        """Put errors into Anthropic's shape, and let no count of 0 pass."""
        return await _checked(f"anthropic-aws '{spec.slug}'", call, answer)


def _foundry_credential(spec: ProviderSpec, call: Call) -> Headers:
    if isinstance(call.secret, BearerToken):
        if spec.is_host_chosen:
            raise ConfigInvalid("custom_host", f"no token of provider '{spec.slug}' goes to another host")
        return [call.secret.header]
    key = _key(spec, call)
    # Claude's endpoint goes by the first; what stands before it in Azure knows the second.
    return [(b"x-api-key", key), (b"api-key", key)]


def _key(spec: ProviderSpec, call: Call) -> bytes:
    if not isinstance(call.secret, str):
        raise CredentialMissing(spec.slug)
    return call.secret.encode()


def _request(spec: ProviderSpec, call: Call, terms: Terms, url: str, own: Headers) -> HttpRequest:
    shaped = shape(call, terms, spec.cloud.pass_betas)
    model = spec.model_id(call.model or str(msgspec.json.decode(shaped.fields["model"], type=str)))
    fields = {**shaped.fields, "model": msgspec.Raw(msgspec.json.encode(model))}
    replaced = {BETA_HEADER, *(name for name, _ in own)}
    headers = [each for each in upstream_headers(call.headers) if each[0] not in replaced]
    if shaped.betas:
        headers.append((BETA_HEADER, ",".join(shaped.betas).encode()))
    if find(headers, b"anthropic-version") is None:
        headers.append((b"anthropic-version", b"2023-06-01"))
    origin, path = split_base_url(url)
    target = "/v1/messages/count_tokens" if call.operation == COUNT_TOKENS else "/v1/messages"
    return HttpRequest(
        method=b"POST",
        origin=origin,
        target=with_query((path + target).encode(), call),
        headers=[*headers, (b"accept-encoding", b"identity"), *own],
        body=msgspec.json.encode(fields),
    )


async def _checked(host: str, call: Call, answer: HttpAnswer) -> HttpAnswer:
    """Pass what Claude says as it came; put what stands before it into Anthropic's shape."""
    is_count = call.operation == COUNT_TOKENS
    is_good = is_success(answer.status)
    if is_good and not is_count and not (call.is_stream and is_json(answer)):
        return answer
    body = await read_whole(answer, host)
    whole = with_body(answer, body)
    if is_good and is_count:
        is_counted = read_count(read_document(body).get("input_tokens"))
        return whole if is_counted else _told(replace(_error(answer, body), code="CountMissing"), answer)
    if is_good:
        # An error in the place of a stream is one; anything else is for others to judge.
        is_error = isinstance(read_document(body).get("error"), dict)
        return _told(_error(answer, body), answer) if is_error else whole
    # Who refuses farebox's own credential says who farebox is.
    if answer.status not in (401, 403) and is_anthropic_envelope(body):
        return whole
    return _told(_error(answer, body), answer)


def _told(error: CloudError, answer: HttpAnswer) -> WholeAnswer:
    if is_success(error.status):
        error = replace(error, status=502)
    told = error.answer(AWS_ERRORS, answer.headers, request_id_of(answer.headers))
    wait_ms = find(answer.headers, b"retry-after-ms")
    if wait_ms is not None:
        told.headers.append((b"retry-after-ms", wait_ms))
    return told


def _error(answer: HttpAnswer, body: bytes) -> CloudError:
    """Read an error, without the principal that Azure names when it refuses farebox."""
    error = aws_error(answer, body)
    return replace(error, message=_PRINCIPAL.sub("principal (farebox)", error.message))
