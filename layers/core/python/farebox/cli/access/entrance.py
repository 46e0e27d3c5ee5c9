"""Where requests go into a gateway: on a laptop beside the admin plane, in a deployment somewhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from farebox.domain.identity import GATEWAY_KEY_PREFIX
from farebox.http.admin.ports import DEPLOYED_CREDENTIALS, LAPTOP_CREDENTIALS


@dataclass(frozen=True, slots=True)
class Entrance:
    """An address and a gateway key to try it with, as far as they are known here."""

    url: str
    key: str | None
    is_deployed: bool = False

    @property
    def readable(self) -> tuple[str, ...]:
        """Say how a credential begins that the gateway behind it can read."""
        return DEPLOYED_CREDENTIALS if self.is_deployed else LAPTOP_CREDENTIALS

    @property
    def without_key(self) -> str:
        """Say where a key to try it with comes from."""
        told = "set ANTHROPIC_BASE_URL and ANTHROPIC_AUTH_TOKEN as `farebox bootstrap` says"
        return told if self.is_deployed else "run doctor where credentials.json is"

    @property
    def place_for_credentials(self) -> str:
        """Say where the gateway behind it can read a credential."""
        return "secretsmanager:farebox/STAGE/NAME" if self.is_deployed else "env:NAME or file:PATH"


def find_entrance(
    admin_url: str, key: str | None, environment: Mapping[str, str], *, is_alone: bool
) -> Entrance:
    """Find the entrance of the gateway whose admin plane is at this address.

    One that is alone there is a deployment's, and does not know the other address: what Claude Code is told
    in this shell says it.
    """
    if not is_alone:
        return Entrance(admin_url, key)
    url = environment.get("ANTHROPIC_BASE_URL", "").rstrip("/")
    token = environment.get("ANTHROPIC_AUTH_TOKEN", "")
    known = token if token.startswith(GATEWAY_KEY_PREFIX) else key
    return Entrance(url, known if url else None, is_deployed=True)
