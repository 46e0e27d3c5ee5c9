"""A secret is shown once, by the answer to the apply that made it: no fault in the middle loses any."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from farebox.domain.errors import StoreFault
from farebox.http.admin.apply import KEYS_AT_ONCE, KEYS_WITHIN_MS, Applied, apply_document
from farebox.http.policy_document import parse_policy
from farebox.ports import Keys
from tests.http.admin.plane import Plane, admin_plane

COUNT = 50


class WatchedKeys:
    """A key store that fails from some write on, or takes a while for each, and counts who waits."""

    def __init__(self, plane: Plane, *, fails_after: int = COUNT, takes: timedelta = timedelta()) -> None:
        self._plane, self._left, self._takes = plane, fails_after, takes
        self._open = self.at_once = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plane.store.keys, name)

    async def add_gateway_key(self, *args: Any, **kwargs: Any) -> None:
        self._open += 1
        self.at_once = max(self.at_once, self._open)
        await asyncio.sleep(0)
        self._open -= 1
        self._left -= 1
        if self._left < 0:
            raise StoreFault("away")
        self._plane.clock.advance(self._takes)
        await self._plane.store.keys.add_gateway_key(*args, **kwargs)


async def applied(plane: Plane, keys: WatchedKeys) -> Applied:
    document = {"keys": [{"name": f"dev-{number:03}"} for number in range(COUNT)]}
    ports = replace(plane.ports, keys=cast(Keys, keys))
    return await apply_document(parse_policy(document), ports, actor="root")


async def made(plane: Plane) -> set[str]:
    return {key.name for key in (await plane.store.keys.list_gateway_keys(limit=100)).rows}


@pytest.mark.parametrize("fails_after", [1, 20, COUNT - 1])
async def test_a_store_that_fails_midway_loses_no_secret(tmp_path: Path, fails_after: int) -> None:
    async with admin_plane(tmp_path) as plane:
        first = await applied(plane, WatchedKeys(plane, fails_after=fails_after))
        assert {issued.key.name for issued in first.created_keys} == await made(plane)
        [warning] = first.warnings
        assert warning.startswith(f"{COUNT - fails_after} keys are not written yet")
        second = await applied(plane, WatchedKeys(plane))
        assert len(second.created_keys) == COUNT - fails_after
        assert (second.warnings, len(await made(plane))) == ((), COUNT)


async def test_a_store_that_takes_too_long_is_left_in_time_to_show_what_was_made(tmp_path: Path) -> None:
    async with admin_plane(tmp_path) as plane:
        takes = timedelta(milliseconds=KEYS_WITHIN_MS / KEYS_AT_ONCE)
        first = await applied(plane, WatchedKeys(plane, takes=takes))
        assert {issued.key.name for issued in first.created_keys} == await made(plane)
        assert len(first.created_keys) == KEYS_AT_ONCE
        assert "time was up" in first.warnings[0]


async def test_a_store_that_fails_at_once_is_told_as_such(tmp_path: Path) -> None:
    async with admin_plane(tmp_path) as plane:
        with pytest.raises(StoreFault):
            await applied(plane, WatchedKeys(plane, fails_after=0))


async def test_keys_are_written_some_at_a_time_and_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    async with admin_plane(tmp_path) as plane:
        keys = WatchedKeys(plane)
        told = await applied(plane, keys)
        assert [issued.key.name for issued in told.created_keys] == [f"dev-{n:03}" for n in range(COUNT)]
        assert keys.at_once == KEYS_AT_ONCE
