"""The price documents beside the package: Claude's at once, a vendor's when its first model is asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from farebox.domain.price import PriceBook
from farebox.domain.price.table import Document, PricedModel, read_claude, read_imported

_FOLDER = Path(__file__).resolve().parent.parent / "data" / "prices"


class PriceData:
    """Reads one folder of price documents; each vendor's part of imported.json is read once and kept."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._folder = folder
        self._index: Document = json.loads((folder / "index.json").read_bytes())
        self._imported: dict[str, Mapping[str, PricedModel]] = {}

    def book(self) -> PriceBook:
        """Give the price book at list prices. Its version changes whenever any document does."""
        claude = (self._folder / "claude.json").read_bytes()
        digest = hashlib.sha256(claude + (self._folder / "index.json").read_bytes()).hexdigest()
        table = read_claude(json.loads(claude))
        aliases = self._index["aliases"]
        names = (
            {str(name): str(provider) for name, provider in aliases.items()}
            if isinstance(aliases, Mapping)
            else {}
        )
        return PriceBook(f"{table.as_of}.{digest[:8]}", table, self.imported, names)

    def imported(self, provider: str) -> Mapping[str, PricedModel]:
        """Give the imported models of a provider type or vendor; none when there is no document for it."""
        if provider not in self._imported:
            self._imported[provider] = self._read(provider)
        return self._imported[provider]

    def _read(self, provider: str) -> Mapping[str, PricedModel]:
        files = self._index["vendors"]
        place = files.get(provider) if isinstance(files, Mapping) else None
        if place is None:
            return {}
        with (self._folder / "imported.json").open("rb") as documents:
            documents.seek(place["offset"])
            return read_imported(json.loads(documents.read(place["length"])))
