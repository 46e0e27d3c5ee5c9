"""Routes that read the ledger: requests, usage, verification, audit trail."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from farebox.domain.errors import ConfigInvalid
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.rows import Row, audit_row, listing, request_row, usage_row, usage_total
from farebox.http.moments import read_field

USAGE_GROUPS = ("key", "user", "workspace", "model", "provider", "session")
# Portkey's names of the groups: /analytics/groups/{users,ai-models,metadata/{key}}.
_GROUP_ALIASES = {"users": "user", "ai-models": "model", "api-keys": "key", "workspaces": "workspace"}
_METADATA_GROUP = re.compile(r"metadata\.\S{1,64}")

USAGE_ROWS_MAX = 5_000
"""Groups of one report: sessions are many, and an answer of Lambda takes 6 MB."""

Limit = Annotated[int, Query(ge=1, le=1_000)]
Groups = Annotated[int, Query(ge=1, le=USAGE_ROWS_MAX, description="The dearest so many groups.")]


def report_router(ports: AdminPorts) -> APIRouter:
    """Make the routes."""
    router = APIRouter()

    @router.get("/v1/requests", tags=["reports"])
    @router.get("/v1/logs", tags=["reports"])
    async def requests(limit: Limit = 50, session: str | None = None, cursor: str | None = None) -> Row:
        """List ledger rows, newest first."""
        page = await ports.reports.requests(limit=limit, session=session, cursor=cursor)
        return listing([request_row(record) for record in page.rows], page.next)

    @router.get("/v1/usage", tags=["reports"])
    async def usage(
        by: str = "key", since: str | None = None, until: str | None = None, limit: Groups = USAGE_ROWS_MAX
    ) -> Row:
        """Sum by key, user, workspace, model, provider, session or metadata.NAME, dearest first.

        `total` is of all groups; `left_out` counts those that are in it alone, where there are any.
        """
        return await _usage(ports, by, since, until, limit)

    @router.get("/v1/analytics/groups/{by:path}", tags=["reports"])
    async def groups(
        by: str, since: str | None = None, until: str | None = None, limit: Groups = USAGE_ROWS_MAX
    ) -> Row:
        """Do what /v1/usage does, under Portkey's names."""
        name = f"metadata.{by.removeprefix('metadata/')}" if by.startswith("metadata/") else by
        return await _usage(ports, _GROUP_ALIASES.get(name, name), since, until, limit)

    @router.get("/v1/ledger/verify", tags=["reports"])
    async def verify() -> Row:
        """Recompute every bucket from the ledger and list what drifted."""
        drifts = await ports.reports.verify()
        return {"ok": not drifts, **listing([{"drift": drift} for drift in drifts])}

    @router.get("/v1/audit-logs", tags=["reports"])
    async def audit_logs(limit: Limit = 50, cursor: str | None = None) -> Row:
        """List what administrators changed, newest first."""
        page = await ports.reports.audit(limit=limit, cursor=cursor)
        return listing([audit_row(entry) for entry in page.rows], page.next)

    return router


async def _usage(ports: AdminPorts, by: str, since: str | None, until: str | None, limit: int) -> Row:
    if by not in USAGE_GROUPS and not _METADATA_GROUP.fullmatch(by):
        raise ConfigInvalid("by", f"must be one of {', '.join(USAGE_GROUPS)}, or metadata.NAME")
    now = ports.clock.now()
    rows = await ports.reports.usage(
        by=by, since=_moment("since", since, now), until=_moment("until", until, now)
    )
    told = listing([usage_row(by, row) for row in rows[:limit]])
    left_out = {"left_out": len(rows) - limit} if len(rows) > limit else {}
    return {**told, "total": usage_total(rows), **left_out}


def _moment(field: str, text: str | None, now: datetime) -> datetime | None:
    return None if text is None else read_field(field, text, now)
