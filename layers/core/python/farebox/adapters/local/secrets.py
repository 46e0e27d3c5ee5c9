"""Provider credentials from the environment and from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from farebox.adapters.secret_text import one_line
from farebox.domain.errors import ConfigInvalid

MAX_SECRET_BYTES = 65_536


class _Read(Struct, frozen=True):
    """A file's secret, and what the file looked like when it was read."""

    stamp: tuple[int, int, int]
    secret: str

    def __repr__(self) -> str:
        return "_Read(...)"


class LocalSecrets:
    """Fills `ports.Secrets`. `environment` is read at each call; a file again as soon as it changes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._files: dict[str, _Read] = {}

    async def resolve(self, reference: str) -> str:
        """Give the secret behind 'env:NAME' or 'file:PATH' without its trailing newline."""
        kind, _, name = reference.partition(":")
        if kind == "env" and name:
            secret = self._environment.get(name, "")
        elif kind == "file" and name:
            secret = self._from_file(reference, name)
        else:
            raise ConfigInvalid(reference, "this credential is neither env:NAME nor file:PATH")
        return one_line(reference, secret)

    def _from_file(self, reference: str, name: str) -> str:
        try:
            path = Path(name).expanduser()
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._files.get(name)
            if known is None or known.stamp != stamp:
                if status.st_size > MAX_SECRET_BYTES:
                    raise ConfigInvalid(reference, f"the file is larger than {MAX_SECRET_BYTES} bytes")
                known = self._files[name] = _Read(stamp, path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigInvalid(reference, f"the file cannot be read ({error.strerror})") from error
        except (UnicodeDecodeError, RuntimeError):
            # Not chained: the decoder's error carries the bytes.
            raise ConfigInvalid(reference, "the file cannot be read as text") from None
        return known.secret
