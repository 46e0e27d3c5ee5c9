"""A config that is saved under a slug: what it says now, and what each of its versions said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from farebox.domain.errors import PolicyRefused
from farebox.domain.routing.reading import Reading, read_config
from farebox.domain.routing.tree import Node


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """`document` is what it says now, as version `version`; `versions` has those that are kept, by number.

    It is read once for all requests. One that this farebox cannot read (another version saved it) refuses
    the requests that name it, and no others.
    """

    slug: str
    document: Mapping[str, object]
    version: int = 1
    versions: Mapping[int, Mapping[str, object]] = field(default_factory=dict)
    reading: Reading = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reading", read_config(self.document))

    def tree(self, version: int | None = None) -> Node:
        """Give the config as a tree, as it is or as it was. Raises `PolicyRefused`."""
        if version in (None, self.version):
            return self._readable(self.reading)
        document = self.versions.get(version or 0)
        if document is None:
            raise PolicyRefused(f"The config '{self.slug}' has no version {version}.")
        return self._readable(read_config(document))

    def _readable(self, reading: Reading) -> Node:
        if reading.tree is None:
            first = reading.errors[0]
            raise PolicyRefused(
                f"The saved config '{self.slug}' cannot be used: {first.path}: {first.detail}. "
                "Ask your farebox administrator to mend it."
            )
        return reading.tree
