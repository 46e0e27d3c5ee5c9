"""What touches sockets runs on both event loops; the rest of this folder on one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest
import uvloop

from farebox.wire.http1 import Http1Transport
from tests.support.http1_client import all_closed


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name.startswith("test_http1"):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    async with aclosing(Http1Transport()) as transport:
        yield transport
    await all_closed(transport)
