"""Where gcloud keeps the login of whoever runs a gateway on a laptop.

Source: "How Application Default Credentials works", docs.cloud.google.com. Read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from farebox.domain.errors import ConfigInvalid

FILE = "application_default_credentials.json"


def read_login(environment: Mapping[str, str]) -> str | None:
    """Read the file that GOOGLE_APPLICATION_CREDENTIALS names, else the one that `gcloud auth
    application-default login` writes; None where there is none. Raises `ConfigInvalid` for one that cannot be
    read.
    """
    named = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    home = Path(environment.get("HOME") or "~").expanduser()
    folder = Path(environment.get("CLOUDSDK_CONFIG") or home / ".config" / "gcloud")
    file = Path(named) if named else folder / FILE
    if not named and not file.is_file():
        return None
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigInvalid("google", f"the login in {file} cannot be read") from None
