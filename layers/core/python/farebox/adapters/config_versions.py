"""What a write of policy stores beside what it was given: the new versions of the configs it saves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from farebox.domain.policy import CONFIG, CONFIG_VERSION, ORIGIN_VERSION
from farebox.domain.routing.versions import forgotten_versions, new_versions, versions_of
from farebox.ports import Resource


def config_versions(
    stored: Iterable[Resource], upserts: Sequence[Resource], actor: str
) -> tuple[list[Resource], list[str]]:
    """Give the versions to store and the names of those to forget, as both stores of policy do it."""
    saved = [each for each in upserts if each.kind == CONFIG]
    if not saved:
        return [], []
    pieces = list(stored)
    known = versions_of(each.document for each in pieces if each.kind == CONFIG_VERSION)
    before = {each.name: _config(each) for each in pieces if each.kind == CONFIG}
    versions: list[Resource] = []
    forgotten: list[str] = []
    for each in saved:
        numbers = known.get(each.name, {})
        made = new_versions(each.name, numbers, before.get(each.name), _config(each))
        forgotten += forgotten_versions(each.name, numbers, made)
        versions += [
            Resource(
                CONFIG_VERSION,
                version.name,
                version.document(actor),
                version.number,
                ORIGIN_VERSION,
                each.updated_at,
            )
            for version in made
        ]
    return versions, forgotten


def _config(resource: Resource) -> Mapping[str, object]:
    config = resource.document.get("config")
    return config if isinstance(config, Mapping) else {}
