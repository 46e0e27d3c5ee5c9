"""Provider credentials from AWS Secrets Manager, read with our own signed call."""

from __future__ import annotations

import msgspec

from farebox.adapters.aws.dynamodb.credentials import CredentialSource
from farebox.adapters.aws.key_store.kept import Kept
from farebox.adapters.secret_text import one_line
from farebox.domain.errors import ConfigInvalid, UpstreamFault
from farebox.ports import Clock
from farebox.wire.http import JSON_FAULTS, HttpRequest, Origin, Timeouts, Transport, read_whole
from farebox.wire.sigv4 import Signer

FRESH_MS = 60_000
"""A rotated secret is used a minute later at the latest."""

STALE_MS = 3_600_000
"""How old a secret may be while Secrets Manager does not answer."""

TRIES = 3
_TIMEOUTS = Timeouts(connect_ms=1_000, first_byte_ms=2_000, idle_ms=2_000, total_ms=3_000)
_KIND = "secretsmanager"


class _Value(msgspec.Struct, rename="pascal"):
    secret_string: str | None = None


class _Failure(msgspec.Struct):
    type: str = msgspec.field(name="__type", default="")


_value = msgspec.json.Decoder(_Value).decode
_failure = msgspec.json.Decoder(_Failure).decode
_fields = msgspec.json.Decoder(dict[str, object]).decode


class ManagedSecrets:
    """Fills `ports.Secrets` for 'secretsmanager:ID' and 'secretsmanager:ID#FIELD' of a JSON secret.

    References to this process's environment and files are refused: they hold the role's own credentials.
    """

    def __init__(
        self, transport: Transport, origin: Origin, region: str, credentials: CredentialSource, clock: Clock
    ) -> None:
        self._transport, self._origin = transport, origin
        self._signer = Signer(region, _KIND)
        self._credentials, self._clock = credentials, clock
        self._kept: Kept[str, str] = Kept(clock, FRESH_MS)

    async def resolve(self, reference: str) -> str:
        """Give the secret without its trailing newline, at most a minute old while the service answers."""
        kind, _, place = reference.partition(":")
        secret_id, _, field = place.partition("#")
        if kind != _KIND or not secret_id:
            raise ConfigInvalid(reference, "a deployed gateway reads credentials as secretsmanager:ID only")
        text = self._kept.fresh(secret_id)
        if text is None:
            text = await self._read_or_stale(reference, secret_id)
        return one_line(reference, _field_of(reference, text, field) if field else text)

    async def _read_or_stale(self, reference: str, secret_id: str) -> str:
        read_at_ms = self._clock.monotonic_ms()
        text, why = await self._read(secret_id)
        if text is None:
            text = self._kept.within(secret_id, STALE_MS)
            if text is None or why in _FINAL:
                raise ConfigInvalid(reference, f"Secrets Manager does not give it ({why})")
            return text
        self._kept.keep(secret_id, text, read_at_ms)
        return text

    async def _read(self, secret_id: str) -> tuple[str | None, str]:
        """Give the secret, or None and why not, in a word of the service's."""
        why = ""
        for _ in range(TRIES):
            try:
                status, body = await self._ask(msgspec.json.encode({"SecretId": secret_id}))
            except UpstreamFault as fault:
                why = type(fault).__name__
                continue
            if status == 200:
                return _value(body).secret_string or "", ""
            why = _code(body) or f"HTTP status {status}"
            if status < 500 and why not in _PASSING:
                break
        return None, why

    async def _ask(self, body: bytes) -> tuple[int, bytes]:
        request = HttpRequest(
            b"POST",
            self._origin,
            b"/",
            [
                (b"content-type", b"application/x-amz-json-1.1"),
                (b"x-amz-target", b"secretsmanager.GetSecretValue"),
            ],
            body,
        )
        credentials = await self._credentials.current()
        headers = self._signer.sign(request, credentials, self._clock.now())
        signed = HttpRequest(request.method, request.origin, request.target, headers, body)
        answer = await self._transport.send(signed, _TIMEOUTS)
        return answer.status, await read_whole(answer, "Secrets Manager")


_FINAL = frozenset({"ResourceNotFoundException", "AccessDeniedException", "InvalidRequestException"})
_PASSING = frozenset({"ThrottlingException", "RequestLimitExceeded"})


def _code(body: bytes) -> str:
    try:
        return _failure(body).type.rpartition("#")[2]
    except JSON_FAULTS:
        return ""


def _field_of(reference: str, text: str, field: str) -> str:
    try:
        value = _fields(text).get(field)
    except JSON_FAULTS:
        # Not chained: the decoder's error may quote the secret.
        raise ConfigInvalid(reference, "the secret is not a JSON object, so it has no fields") from None
    if not isinstance(value, str):
        raise ConfigInvalid(reference, "the secret has no text in this field")
    return value
