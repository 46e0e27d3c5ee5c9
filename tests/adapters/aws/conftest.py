"""The DynamoDB wing over MiniStack, for what only this wing has."""

from collections.abc import AsyncIterator

import pytest

from farebox.wire.http1 import Http1Transport
from tests.support.dynamo import Deployment, deployed
from tests.support.ministack import Ministack, ministack

__all__ = ["ministack"]


@pytest.fixture
def deployment(ministack: Ministack) -> Deployment:
    return deployed(ministack.port)


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    opened = Http1Transport()
    yield opened
    await opened.aclose()
