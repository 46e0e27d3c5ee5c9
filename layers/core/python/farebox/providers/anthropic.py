"""Anthropic's own API, and any host that speaks it: body bytes pass through untouched.

Source: platform.claude.com/docs/en/api/messages, read 2026-11.
"""

from __future__ import annotations

from farebox.domain.config import ANTHROPIC_BASE_URL, ProviderSpec
from farebox.domain.errors import ConfigInvalid, CredentialMissing
from farebox.providers.base import COUNT_TOKENS, Call, split_base_url, with_query
from farebox.wire.headers import find, upstream_headers
from farebox.wire.http import HttpRequest
from farebox.wire.messages import with_model

DEFAULT_BASE_URL = ANTHROPIC_BASE_URL

_TARGETS = {COUNT_TOKENS: "/v1/messages/count_tokens"}


class AnthropicProvider:
    """Native pass-through. Anthropic stops generating when the connection is dropped."""

    cancel_stops_billing = True

    def request(self, spec: ProviderSpec, call: Call) -> HttpRequest:
        """Forward the client's request with this provider's credential."""
        origin, path = split_base_url(spec.base_url or DEFAULT_BASE_URL)
        # Portkey's custom hosts end with the version, and our routes begin with it.
        path = path.removesuffix("/v1")
        target = (path + _TARGETS.get(call.operation, "/v1/messages")).encode()
        return HttpRequest(
            method=b"POST",
            origin=origin,
            target=with_query(target, call),
            headers=[
                *upstream_headers(call.headers),
                accept_encoding(call),
                _credential(spec, call),
            ],
            body=with_model(call.body, call.model) if call.model else call.body,
        )


def accept_encoding(call: Call) -> tuple[bytes, bytes]:
    """Streams come plain, so that events are seen as they pass; anything else may be gzip if the client
    reads it.
    """
    accepted = find(call.headers, b"accept-encoding") or b""
    codings = [coding.replace(b" ", b"").lower() for coding in accepted.split(b",")]
    reads_gzip = any(coding.split(b";")[0] == b"gzip" and not _is_refused(coding) for coding in codings)
    return b"accept-encoding", b"gzip" if reads_gzip and not call.is_stream else b"identity"


def _is_refused(coding: bytes) -> bool:
    """Whether a coding is named only to be ruled out: `gzip;q=0`."""
    _, _, weight = coding.partition(b";q=")
    return weight != b"" and not weight.strip(b"0.")


def _credential(spec: ProviderSpec, call: Call) -> tuple[bytes, bytes]:
    if call.secret is None:
        if call.caller_credential is None:
            raise CredentialMissing(spec.slug)
        return call.caller_credential.header, call.caller_credential.value
    if not isinstance(call.secret, str):
        raise ConfigInvalid("credential", "'aws' signs nothing for Anthropic's own API")
    if call.secret.startswith("sk-ant-oat"):
        return b"authorization", b"Bearer " + call.secret.encode()
    return b"x-api-key", call.secret.encode()
