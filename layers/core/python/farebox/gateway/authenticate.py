"""Step one: whose request is it. First code to run, before the body is read."""

from __future__ import annotations

import re

import msgspec
from msgspec.structs import replace

from farebox.domain.errors import KeyRefused, RequestMalformed
from farebox.domain.identity import GATEWAY_KEY_PREFIX, GatewayKey, is_key_text, key_hash
from farebox.domain.plan import Caller, CallerCredential
from farebox.gateway.incoming import IncomingRequest
from farebox.ports import Clock, Keys
from farebox.wire.headers import find
from farebox.wire.http import Headers

CALLER_CREDENTIAL_PREFIX = b"sk-ant-"
METADATA_BYTES_MAX = 4_096
METADATA_VALUE_LENGTH_MAX = 128
METADATA_NAMES_MAX = 32
"""Usage is summed by each of them, which costs a deployment three writes a name."""

TRACE_ID_LENGTH_MAX = 128

# Queues refuse a message with any of these, and with it whatever else is told of the request. Source: SQS API
# reference, SendMessage, read 2026-11.
_UNCARRIED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

_metadata = msgspec.json.Decoder(dict[str, str])


async def authenticate(request: IncomingRequest, keys: Keys, clock: Clock) -> Caller:
    """Find the caller behind the gateway key. Raises `KeyRefused`, the same whatever is wrong with it."""
    text = _gateway_key_text(request.headers)
    if text is None:
        raise KeyRefused(missing=True)
    key = await keys.find_gateway_key(key_hash(text)) if is_key_text(text) else None
    if key is None or not key.is_valid(clock.now()):
        raise KeyRefused()
    return _caller(request, key)


def with_metadata(request: IncomingRequest, caller: Caller) -> Caller:
    """Add what the request says of itself; what the key says stands. Raises `RequestMalformed`."""
    return replace(caller, metadata={**_request_metadata(request), **caller.key.metadata})


def _caller(request: IncomingRequest, key: GatewayKey) -> Caller:
    session = find(request.headers, b"x-claude-code-session-id")
    agent = find(request.headers, b"x-claude-code-agent-id")
    return Caller(
        key=key,
        credential=_caller_credential(request.headers),
        metadata=key.metadata,
        session_id=_printable(session),
        agent_id=_printable(agent),
        trace_id=_printable((request.farebox_header(b"trace-id") or "").encode()) or request.request_id,
    )


def _gateway_key_text(headers: Headers) -> str | None:
    """Look in the four places, in their order. A header of ours counts whatever it holds; the shared two by
    our prefix.
    """
    for name in (b"x-farebox-key", b"x-portkey-api-key"):
        value = find(headers, name)
        if value is not None:
            return value.decode("latin-1").strip()
    for value in (_bearer(headers), find(headers, b"x-api-key")):
        if value is not None and value.startswith(GATEWAY_KEY_PREFIX.encode()):
            return value.decode("latin-1").strip()
    return None


def _caller_credential(headers: Headers) -> CallerCredential | None:
    bearer = _bearer(headers)
    if bearer is not None and bearer.startswith(CALLER_CREDENTIAL_PREFIX):
        return CallerCredential(b"authorization", b"Bearer " + bearer)
    api_key = find(headers, b"x-api-key")
    if api_key is not None and api_key.startswith(CALLER_CREDENTIAL_PREFIX):
        return CallerCredential(b"x-api-key", api_key)
    return None


def _bearer(headers: Headers) -> bytes | None:
    value = find(headers, b"authorization")
    if value is None or value[:7].lower() != b"bearer ":
        return None
    return value[7:].strip()


def _request_metadata(request: IncomingRequest) -> dict[str, str]:
    text = request.farebox_header(b"metadata")
    if not text:
        return {}
    if len(text) > METADATA_BYTES_MAX:
        raise RequestMalformed(f"x-farebox-metadata: must be at most {METADATA_BYTES_MAX} bytes.")
    try:
        metadata = _metadata.decode(text.encode("latin-1"))
    except msgspec.MsgspecError as error:
        raise RequestMalformed(f"x-farebox-metadata: must be a JSON object of strings ({error}).") from None
    if len(metadata) > METADATA_NAMES_MAX:
        raise RequestMalformed(f"x-farebox-metadata: must be at most {METADATA_NAMES_MAX} names.")
    for name, value in metadata.items():
        if _UNCARRIED.search(name) or _UNCARRIED.search(value):
            raise RequestMalformed(f"x-farebox-metadata: {name!a} holds a character that no text may have.")
        if len(value) > METADATA_VALUE_LENGTH_MAX:
            raise RequestMalformed(
                f"x-farebox-metadata: '{name}' is longer than {METADATA_VALUE_LENGTH_MAX} characters."
            )
    return metadata


def _printable(value: bytes | None) -> str | None:
    """Keep what can be logged and sent back in a header."""
    if value is None:
        return None
    text = "".join(char for char in value.decode("latin-1") if " " <= char <= "~")
    return text[:TRACE_ID_LENGTH_MAX].strip() or None
