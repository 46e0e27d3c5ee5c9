"""docs/migrating-from-portkey.md has every field that is read and every header that is followed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farebox.domain.routing.query.terms import AREAS, COMPARISONS
from farebox.domain.routing.reading import read_config

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "migrating-from-portkey.md").read_text()
SOURCES = sorted((ROOT / "layers" / "core" / "python" / "farebox").rglob("*.py"))
FIELDS = PAGE[PAGE.index("## Config fields") : PAGE.index("## Conditions")]
# Ours, not Portkey's.
OWN = {"across_workspaces"}


def test_every_field_that_is_read_is_on_the_page() -> None:
    reading = "".join(path.read_text() for path in SOURCES if "routing/reading" in path.as_posix())
    taken = set(re.findall(r'\.(?:take|text|whole|flag|inner|items|texts|statuses)\(\s*"([a-z_]+)"', reading))
    assert {"retry", "targets", "hash_fields", "virtual_key"} <= taken
    told = set(re.findall(r"[a-z_]+", FIELDS)) | OWN
    inside = {"failure_threshold", "failure_threshold_percentage", "minimum_requests", "cooldown_interval"}
    inside |= {"failure_status_codes", "enabled", "query", "then"}
    assert taken - told - inside == set()


@pytest.mark.parametrize("field", sorted(set(re.findall(r"`([a-z_]+)`", FIELDS)) & {"api_key", "prompt_id"}))
def test_what_the_page_calls_refused_is_refused(field: str) -> None:
    assert [finding.path for finding in read_config({field: "x"}).errors] == [f"config.{field}"]


def test_every_header_that_is_followed_is_on_the_page() -> None:
    text = "".join(path.read_text() for path in SOURCES)
    followed = set(re.findall(r'farebox_header\(b"([a-z-]+)"\)', text))
    assert {"config", "provider", "custom-host"} <= followed
    missing = {name for name in followed if f"x-portkey-{name}" not in PAGE and f"`-{name}`" not in PAGE}
    assert missing == set()


def test_every_operator_and_area_is_on_the_page() -> None:
    for name in (*COMPARISONS, "$and", "$or", "$not", "$regex", "$options"):
        assert name in PAGE
    assert all(f"`{area}." in PAGE for area in AREAS)
