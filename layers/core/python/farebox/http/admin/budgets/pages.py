"""Which buckets of the budgets one answer has: sessions are many, and an answer of Lambda takes 6 MB."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

import msgspec

from farebox.domain.budget import Budget
from farebox.domain.errors import ConfigInvalid
from farebox.http.admin.budgets.rows import budget_rows
from farebox.http.admin.budgets.standings import budget_reports
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.rows import Row, listing

BUDGET_ROWS_MAX = 2_000
"""A row is 1 KB, twice that with a long bucket and a long reason for its raise."""


async def budget_page(ports: AdminPorts, budgets: Sequence[Budget], *, limit: int, cursor: str | None) -> Row:
    """Give rows of these budgets' buckets, in the order of the policy and then by bucket.

    A cursor is the bucket that the page before ended with, so that others may come and go meanwhile.
    Raises `ConfigInvalid` for one that is none, or whose budget is not there any more.
    """
    name, bucket = (None, "") if cursor is None else _read(cursor)
    while name is not None and budgets and budgets[0].name != name:
        budgets = budgets[1:]
    if not budgets and name is not None:
        raise ConfigInvalid("cursor", f"there is no budget '{name}' to go on from; ask without a cursor")
    reports = await budget_reports(ports, budgets, ports.clock.now())
    places = [(each.standing.budget.name, each.standing.bucket) for each in reports]
    left = [
        (place, row)
        for place, row in zip(places, budget_rows(reports), strict=True)
        if place[0] != name or place[1] > bucket
    ]
    following = _text(left[limit - 1][0]) if len(left) > limit else None
    return listing([row for _, row in left[:limit]], following)


def _text(place: tuple[str, str]) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).decode()


def _read(cursor: str) -> tuple[str, str]:
    try:
        return msgspec.json.decode(urlsafe_b64decode(cursor), type=tuple[str, str])
    except (binascii.Error, ValueError) as error:
        raise ConfigInvalid("cursor", "this is not a cursor of this list") from error
