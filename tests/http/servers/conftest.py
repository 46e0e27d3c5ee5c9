"""The runtime as Lambda starts it: the real wrapper, the real layer, and an app of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
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
    """Deploy the app of the tests; the handler's name and more can be chosen."""

    def deploy(handler: str = "handler", **more: Any) -> ZipFunction:
        return ZipFunction(
            code=ROOT / "tests/support/cloud/app",
            layers=[ROOT / "layers/core"],
            environment={"AWS_LAMBDA_EXEC_WRAPPER": WRAPPER, "GATES": gates.address},
            handler=f"streaming_app.{handler}",
            **more,
        )

    return deploy
