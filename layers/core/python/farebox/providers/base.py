"""What a provider is: something that carries a Messages request and answers with Messages bytes."""

from __future__ import annotations

from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from msgspec import Struct

from farebox.domain.config import ProviderSpec
from farebox.domain.errors import ConfigInvalid
from farebox.domain.plan import CallerCredential
from farebox.ports.bearer import Credential
from farebox.wire.headers import upstream_query
from farebox.wire.http import Headers, HttpAnswer, HttpRequest, Origin, origin_of
from farebox.wire.sigv4 import SigningScope

MESSAGES = "messages"
COUNT_TOKENS = "count_tokens"


class Call(Struct, frozen=True):
    """A client's request on its way out. `headers` and `body` are as they came; `model` is set when it must
    be rewritten.

    `forward_headers` are names of the client's headers that go out as they came, whatever the provider makes
    of the others. `secret` is the resolved credential of the provider; None where the caller's own travels
    on.
    """

    operation: str
    query: bytes
    headers: Headers
    body: bytes
    is_stream: bool
    model: str | None
    secret: Credential | None
    caller_credential: CallerCredential | None
    forward_headers: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Call({self.operation}, {len(self.body)} bytes)"


class Provider(Protocol):
    """One kind of upstream; one file each, one line in the registry."""

    @property
    def cancel_stops_billing(self) -> bool:
        """Whether dropping the connection ends what is billed. If not, an abandoned answer is read to its
        end.
        """

    def request(self, spec: ProviderSpec, call: Call) -> HttpRequest:
        """Write the upstream request. Raises `CredentialMissing` and `ConfigInvalid`."""


@runtime_checkable
class Translating(Protocol):
    """What a `Provider` does beside when its answers are not those of the Messages API."""

    async def answer(self, spec: ProviderSpec, call: Call, answer: HttpAnswer) -> HttpAnswer:
        """Give the answer as the Messages API would have: a message, a stream of its events, a count or an
        error. Raises `UpstreamFault` as reading the answer does.
        """


@runtime_checkable
class Signing(Protocol):
    """What a `Provider` does beside when AWS credentials sign its requests."""

    def signs_for(self, spec: ProviderSpec) -> SigningScope:
        """Say what a signature is for. Raises `ConfigInvalid`."""


def split_base_url(url: str) -> tuple[Origin, str]:
    """Give the origin and the path (without a slash at its end) of a base URL. Raises `ConfigInvalid`."""
    try:
        return origin_of(url), urlsplit(url).path.rstrip("/")
    except ValueError as flaw:
        raise ConfigInvalid("base_url", str(flaw)) from None


def with_query(path: bytes, call: Call) -> bytes:
    """Give the target of a native route: its path, and of the client's query what may travel on."""
    query = upstream_query(call.query)
    return path + b"?" + query if query else path
