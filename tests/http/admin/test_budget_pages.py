"""Budgets of many buckets are told page by page."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from tests.http.admin.plane import Plane
from tests.http.admin.test_reports import book

FILE = {
    "budgets": [
        {"name": "all", "usd": 1, "period": "day"},
        {"name": "per-key", "scope": {"key": "*"}, "usd": 1, "period": "total"},
        {"name": "last", "usd": 1, "period": "month"},
    ]
}


async def paged(
    plane: Plane, cursor: str | None, **query: object
) -> tuple[list[tuple[str, str]], str | None]:
    given = {"limit": 2, **query} | ({} if cursor is None else {"cursor": cursor})
    page = await plane.ask("GET", "/v1/budgets", params=given)
    return [(row["name"], row["bucket"]) for row in page["rows"]], page["next"]


async def test_every_bucket_comes_once_whatever_comes_and_goes_between(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    for key in ("bob", "dora"):
        await book(plane, f"req_{key}", key=key)
    first, cursor = await paged(plane, None)
    assert first == [("all", ""), ("per-key", "bob")]
    for key in ("alice", "carl"):
        await book(plane, f"req_{key}", key=key)
    second, cursor = await paged(plane, cursor)
    assert second == [("per-key", "carl"), ("per-key", "dora")]
    assert await paged(plane, cursor) == ([("last", "")], None)


async def test_one_budget_has_pages_of_its_own(plane: Plane) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    for key in ("alice", "bob"):
        await book(plane, f"req_{key}", key=key)
    first, cursor = await paged(plane, None, name="per-key", limit=1)
    assert (first, cursor is None) == ([("per-key", "alice")], False)
    assert await paged(plane, cursor, name="per-key", limit=1) == ([("per-key", "bob")], None)


@pytest.mark.parametrize(
    ("cursor", "said"),
    [
        ("?", "cursor: this is not a cursor of this list"),
        ("ab", "cursor: this is not a cursor of this list"),
        ("\xe4", "cursor: this is not a cursor of this list"),
        (
            urlsafe_b64encode(b'["gone","x"]').decode(),
            "cursor: there is no budget 'gone' to go on from; ask without a cursor",
        ),
    ],
)
async def test_a_cursor_from_elsewhere_is_refused(plane: Plane, cursor: str, said: str) -> None:
    await plane.ask("POST", "/v1/apply", json=FILE)
    answer = await plane.client.get("/v1/budgets", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, said)
