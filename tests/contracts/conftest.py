"""The wings: a contract test runs once on each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.builders import FixedClock
from tests.support.wings import Wing, local_wing, open_store


@pytest.fixture(params=["local"])
def wing(tmp_path: Path) -> Iterator[Wing]:
    clock = FixedClock()
    store = open_store(tmp_path, clock)
    yield local_wing(store, clock)
    store.close()
