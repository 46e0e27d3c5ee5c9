"""The gateway that commands talk to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.gateway import Gateway, running_gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path / "data") as gateway:
        yield gateway
