"""The admin plane that tests ask."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http.admin.plane import Plane, admin_plane


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    async with admin_plane(tmp_path) as plane:
        yield plane
