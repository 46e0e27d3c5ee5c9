"""Whoever brings requests into the ledger again is in the audit log, with the time that they are of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from tests.http.admin.plane import Plane
from tests.support.builders import NOON, a_record


async def noted(plane: Plane) -> Any:
    rows = (await plane.ask("GET", "/v1/audit-logs"))["rows"]
    return [row for row in rows if row["kind"] != "admin_key"]


async def test_a_log_that_is_replayed_is_audited_by_its_time(plane: Plane) -> None:
    records = [a_record(f"req_{hours}", at=NOON - timedelta(hours=hours)) for hours in (2, 5, 3)]
    told = {"records": [msgspec.to_builtins(record) for record in records]}
    assert await plane.ask("POST", "/v1/ledger/replay", json=told) == {"replayed": 3}
    assert await noted(plane) == [
        {
            "at": "2026-11-23T12:00:00Z",
            "actor": "admin:root",
            "action": "replay",
            "kind": "ledger",
            "name": "log",
            "before": None,
            "after": {"records": 3, "since": "2026-11-23T07:00:00Z", "until": "2026-11-23T10:00:00Z"},
        }
    ]


async def test_what_books_nothing_is_not_audited(plane: Plane) -> None:
    assert await plane.ask("POST", "/v1/ledger/replay", json={"records": []}) == {"replayed": 0}
    await plane.refused("POST", "/v1/ledger/replay", 400, json={"records": [{"id": 5}]})
    await plane.refused("POST", "/v1/ledger/announce", 400, json={"since": "2d"})
    assert await noted(plane) == []
