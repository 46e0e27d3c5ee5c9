"""Bearer tokens of clouds: what is sent for a while in place of a secret, and how another one is come by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from farebox.wire.sigv4 import AwsCredentials


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A token that is good now as far as its source knows.

    `another` gives one to try once after a provider refused this one with a 401; None where the source has
    no other.
    """

    text: str = field(repr=False)
    another: Callable[[], Awaitable[BearerToken | None]] = field(repr=False, compare=False)

    @property
    def header(self) -> tuple[bytes, bytes]:
        """The header that carries it."""
        return b"authorization", b"Bearer " + self.text.encode()


Credential = str | AwsCredentials | BearerToken
"""What a provider is spoken to with: a secret that is sent, keys that sign, or a token."""
