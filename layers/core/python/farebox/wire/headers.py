"""Which headers travel: open lists both ways, less the names below. `docs/headers.md` shows them; a test
compares.

Sources: RFC 9110 section 7.6.1 for hop-by-hop; the client's side was measured with Claude Code 2.1.330.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from farebox.wire.http import Headers

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
REQUEST_DROPPED = HOP_BY_HOP | {
    b"accept-encoding",  # ours: the meter has to read what comes back
    b"api-key",  # the client's own for Azure
    b"authorization",  # credentials are put back by the provider, if they are meant for it
    b"content-length",  # the transport writes it
    b"cookie",
    b"forwarded",
    b"host",
    b"x-api-key",
    b"x-goog-api-key",
    b"x-real-ip",
}
REQUEST_DROPPED_PREFIXES = (b"x-farebox-", b"x-portkey-", b"x-forwarded-", b"x-amz-", b"x-amzn-")
RESPONSE_DROPPED = HOP_BY_HOP | {
    b"alt-svc",  # speaks of the provider's host, not of ours
    b"anthropic-organization-id",
    b"content-length",  # set again where the body has a known length
    b"set-cookie",
}
RESPONSE_DROPPED_PREFIXES = (b"anthropic-ratelimit-", b"x-ratelimit-", b"x-farebox-", b"x-portkey-")

_ANTHROPIC = (b"anthropic-beta", b"anthropic-version")
_TWINS = {
    prefix: frozenset(prefix + name for name in _ANTHROPIC) for prefix in (b"x-portkey-", b"x-farebox-")
}
# The form of `domain.identity.key_text`, gateway and admin keys alike.
_OUR_KEY = re.compile(rb"fba?-[0-9a-z]{49}", re.IGNORECASE)


def find(headers: Headers, name: bytes) -> bytes | None:
    """Give the first value of a header; `name` in lower case."""
    for key, value in headers:
        if key == name:
            return value
    return None


def upstream_headers(headers: Headers) -> Headers:
    """Give the client's headers that travel on to a provider, in their order. None holds a farebox key."""
    dropped = REQUEST_DROPPED | _named_by_connection(headers)
    return [
        (name, value)
        for name, value in headers
        if name not in dropped
        and not name.startswith(REQUEST_DROPPED_PREFIXES)
        and not _holds_our_key(name)
        and not _holds_our_key(value)
    ]


def with_forwarded(headers: Headers, sent: Headers, names: Collection[str]) -> Headers:
    """Give a provider's headers with those of the client that a config names, as they came. None of them is
    one that never travels: a secret, or the connection's own.
    """
    wanted = [pair for pair in upstream_headers(sent) if pair[0].decode("latin-1") in names]
    if all(pair in headers for pair in wanted):
        return headers
    replaced = {name for name, _ in wanted}
    return [*(pair for pair in headers if pair[0] not in replaced), *wanted]


def with_anthropic_twins(headers: Headers) -> Headers:
    """Give the client's headers with Anthropic's own as their twins with a prefix say, which win: Portkey's
    clients write `x-portkey-anthropic-beta`.
    """
    said: dict[bytes, bytes] = {}
    for prefix in (b"x-portkey-", b"x-farebox-"):
        said |= {name.removeprefix(prefix): value for name, value in headers if name in _TWINS[prefix]}
    if not said:
        return headers
    return [*((name, value) for name, value in headers if name not in said), *said.items()]


def upstream_query(query: bytes) -> bytes:
    """Give the client's query as it came, less the parameters that hold a farebox key."""
    if not _holds_our_key(query):
        return query
    return b"&".join(each for each in query.split(b"&") if not _holds_our_key(each))


def client_headers(headers: Headers) -> Headers:
    """Give the provider's headers that travel back to the client, in their order."""
    dropped = RESPONSE_DROPPED | _named_by_connection(headers)
    return [
        (name, value)
        for name, value in headers
        if name not in dropped and not name.startswith(RESPONSE_DROPPED_PREFIXES)
    ]


def _holds_our_key(text: bytes) -> bool:
    """Whether a key stands in the text, as it is or percent-encoded."""
    return _OUR_KEY.search(text) is not None or (
        b"%" in text and _OUR_KEY.search(unquote_to_bytes(text)) is not None
    )


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    named = [value for name, value in headers if name == b"connection"]
    return frozenset(token.strip().lower() for value in named for token in value.split(b","))
