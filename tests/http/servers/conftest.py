"""The runtime as Lambda starts it: the real wrapper, the real layer, and an app of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.cloud.environment import ZipFunction
from tests.support.cloud.gates import Gates

ROOT = Path(__file__).resolve().parents[3]
WRAPPER = "/opt/stream-bootstrap"

Function = Callable[..., ZipFunction]


@pytest.fixture
async def gates() -> AsyncIterator[Gates]:
    async with Gates() as gates:
        yield gates


@pytest.fixture
def function(gates: Gates) -> Function:
    """Deploy an app of the tests; the handler's name and more can be chosen."""

    def deploy(
        handler: str = "streaming_app.handler", variables: Mapping[str, str] | None = None, **more: Any
    ) -> ZipFunction:
        own = {"AWS_LAMBDA_EXEC_WRAPPER": WRAPPER, "GATES": gates.address}
        return ZipFunction(
            code=ROOT / "tests/support/cloud/app",
            layers=[ROOT / "layers/core"],
            environment={**own, **(variables or {})},
            handler=handler,
            **more,
        )

    return deploy
