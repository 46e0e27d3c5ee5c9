"""What a gateway's providers are paid with, and so which variables lead Claude Code to one that works."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from farebox.domain.config import CALLER_CREDENTIAL, DEMO_TYPE
from farebox.providers.registry import PROVIDERS

DEMO_NAME = "claude-demo"


@dataclass(frozen=True, slots=True)
class Offer:
    """Slugs of the providers that are served, in the policy's order, by how each is paid."""

    of_callers: tuple[str, ...] = ()
    of_farebox: tuple[str, ...] = ()
    demos: tuple[str, ...] = ()

    @property
    def wants_own_login(self) -> bool:
        """Whether nothing but the caller's own credential opens a provider."""
        return bool(self.of_callers) and not self.of_farebox

    @property
    def demo_model(self) -> str | None:
        """The name under which Claude Code may ask for the demo model."""
        return f"@{self.demos[0]}/{DEMO_NAME}" if self.demos else None


def offer_of(providers: Iterable[tuple[str, str, str]]) -> Offer:
    """Sort providers, each given as (slug, type, credential)."""
    served = [each for each in providers if each[1] in PROVIDERS]
    real = [(slug, credential) for slug, kind, credential in served if kind != DEMO_TYPE]
    return Offer(
        of_callers=tuple(slug for slug, credential in real if credential == CALLER_CREDENTIAL),
        of_farebox=tuple(slug for slug, credential in real if credential != CALLER_CREDENTIAL),
        demos=tuple(slug for slug, kind, _ in served if kind == DEMO_TYPE),
    )
