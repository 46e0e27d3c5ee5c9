"""The wings: a contract test runs once on each."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.builders import FixedClock
from tests.support.dynamo import dynamo_wing
from tests.support.ministack import Ministack, ministack
from tests.support.wings import Wing, local_wing, open_store

__all__ = ["ministack"]


@pytest.fixture(params=["local", "dynamodb"])
async def wing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wing]:
    if request.param == "dynamodb":
        server: Ministack = request.getfixturevalue("ministack")
        async with dynamo_wing(server.port) as wing:
            yield wing
        return
    clock = FixedClock()
    store = open_store(tmp_path, clock)
    yield local_wing(store, clock)
    store.close()
