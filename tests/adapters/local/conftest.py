"""A store in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox.adapters.local.store import LocalStore
from tests.support.wings import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()
