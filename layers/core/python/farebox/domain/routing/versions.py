"""The versions of saved configs: each save that says something new makes one, which never changes again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

Document = Mapping[str, object]

VERSIONS_KEPT = 100
"""How many versions of one config can be asked for; older ones are forgotten, their numbers never reused."""


class ConfigVersion(Struct, frozen=True):
    """One version as it is stored. Numbers begin at 1."""

    slug: str
    number: int
    config: Document

    @property
    def name(self) -> str:
        """Give the name by which a request asks for it."""
        return version_name(self.slug, self.number)

    def document(self, actor: str) -> dict[str, object]:
        """Give what is stored."""
        return {"slug": self.slug, "version": self.number, "config": dict(self.config), "saved_by": actor}


def version_name(slug: str, number: int) -> str:
    """Name a version: 'slug@3'."""
    return f"{slug}@{number}"


def versions_of(documents: Iterable[Document]) -> dict[str, dict[int, Document]]:
    """Sort stored versions by slug and number."""
    found: dict[str, dict[int, Document]] = {}
    for document in documents:
        slug, number, config = document.get("slug"), document.get("version"), document.get("config")
        if isinstance(slug, str) and isinstance(number, int) and isinstance(config, Mapping):
            found.setdefault(slug, {})[number] = config
    return found


def new_versions(
    slug: str, known: Mapping[int, Document], before: Document | None, after: Document
) -> list[ConfigVersion]:
    """Give the versions that a save makes: none when it says what the last one said. A config that was saved
    before there were versions becomes the first.
    """
    found = []
    last = max(known, default=0)
    if not known and before is not None:
        last = 1
        found.append(ConfigVersion(slug, last, before))
    latest = known.get(last, before)
    if latest is None or dict(latest) != dict(after):
        found.append(ConfigVersion(slug, last + 1, after))
    return found


def forgotten_versions(slug: str, known: Iterable[int], made: Iterable[ConfigVersion]) -> list[str]:
    """Give the names of those that are too many once the new ones are there."""
    numbers = sorted({*known, *(version.number for version in made)}, reverse=True)
    return [version_name(slug, number) for number in numbers[VERSIONS_KEPT:]]
