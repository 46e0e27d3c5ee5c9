"""Under which spellings a model of an imported price table may be listed."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PREFIXES = ("models/", "publishers/google/models/")
_DATED = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{8}|@\d{8}|@default)$")


def candidates(model: str) -> Iterator[str]:
    """Give the spellings to try in order: as it came, without a resource prefix, without a snapshot date.

    Nothing else is dropped: a longer name never borrows the price of a shorter one.
    """
    name = model.strip().lower()
    yield name
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            yield name
    undated = _DATED.sub("", name)
    if undated != name:
        yield undated
