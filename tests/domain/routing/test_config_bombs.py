"""A config may come with any request: what is wrong in it is told without much thought about each field."""

from __future__ import annotations

from collections.abc import Mapping

from farebox.domain.routing.reading import read_config
from farebox.domain.routing.reading.fields import HINTS_MAX


def hints(document: Mapping[str, object]) -> int:
    found = read_config(document).errors
    assert len(found) == 50
    return sum("did you mean" in each.detail for each in found)


def test_only_the_first_unknown_fields_are_told_what_was_meant() -> None:
    assert hints({f"override_param{number}": 1 for number in range(100)}) == HINTS_MAX


def test_only_the_first_unknown_targets_are_told_what_was_meant() -> None:
    names = [f"target-{number:03}" for number in range(100)]
    conditions = [{"query": {"metadata.a": "b"}, "then": f"{name}x"} for name in names]
    strategy = {"mode": "conditional", "conditions": conditions}
    targets = [{"name": name, "provider": "@a"} for name in names]
    assert hints({"strategy": strategy, "targets": targets}) == HINTS_MAX
