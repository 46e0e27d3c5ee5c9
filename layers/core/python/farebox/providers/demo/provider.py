"""The demo model as a provider: Anthropic's requests, and no credential."""

from __future__ import annotations

from farebox.domain.config import ProviderSpec
from farebox.providers.base import COUNT_TOKENS, Call, with_query
from farebox.providers.demo.transport import HOST
from farebox.wire.headers import upstream_headers
from farebox.wire.http import HttpRequest, Origin
from farebox.wire.messages import with_model

_TARGETS = {COUNT_TOKENS: b"/v1/messages/count_tokens"}


class DemoProvider:
    """Native pass-through to `DemoTransport`, which carries nothing further."""

    cancel_stops_billing = True

    def request(self, spec: ProviderSpec, call: Call) -> HttpRequest:
        """Forward the client's request. The caller's own credential, if any, stays here."""
        target = _TARGETS.get(call.operation, b"/v1/messages")
        return HttpRequest(
            method=b"POST",
            origin=Origin("http", HOST, 80),
            target=with_query(target, call),
            headers=upstream_headers(call.headers),
            body=with_model(call.body, call.model) if call.model else call.body,
        )
