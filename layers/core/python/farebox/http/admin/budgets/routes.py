"""Routes of what budgets stand at: standings, resets and temporary raises."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from farebox.domain.budget import Budget
from farebox.domain.errors import NotFound
from farebox.domain.policy import BUDGET
from farebox.http.admin.auth import actor
from farebox.http.admin.budgets.pages import BUDGET_ROWS_MAX, budget_page
from farebox.http.admin.budgets.raises import RaiseRequest, end_raise, known_bucket, raise_limit
from farebox.http.admin.budgets.rows import raise_row
from farebox.http.admin.editor import PolicyEditor
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.rows import Row, listing
from farebox.http.policy_sections import Section

USAGE_LIMITS = "/v1/policies/usage-limits"

Bucket = Annotated[str | None, Query(max_length=512)]
Limit = Annotated[int, Query(ge=1, le=BUDGET_ROWS_MAX)]


class Reset(Section):
    """Which bucket starts anew; all of the budget's when none is named."""

    bucket: Annotated[str, Field(max_length=512)] | None = None


def budget_router(ports: AdminPorts, editor: PolicyEditor) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["budgets"])

    @router.get("/v1/budgets")
    async def budgets(
        name: str | None = None, limit: Limit = BUDGET_ROWS_MAX, cursor: str | None = None
    ) -> Row:
        """Give the current window of every bucket, or of one budget's."""
        policy = await ports.policies.current()
        chosen = policy.budgets if name is None else (await _budget(ports, name),)
        return await budget_page(ports, chosen, limit=limit, cursor=cursor)

    @router.post("/v1/budgets/{name}/reset")
    @router.post(f"{USAGE_LIMITS}/{{name}}/reset")
    async def reset(request: Request, name: str, body: Reset | None = None) -> Row:
        """Start the current window of one bucket, or of all, anew by a correcting entry."""
        budget, now = await _budget(ports, name), ports.clock.now()
        asked = (body or Reset()).bucket
        bucket = None if asked is None else await known_bucket(ports, budget, asked, now)
        count = await ports.reports.reset(budget, bucket, now, actor(request))
        return {"name": name, "bucket": asked, "buckets_reset": count}

    _add_raises(router, ports, editor)
    return router


def _add_raises(router: APIRouter, ports: AdminPorts, editor: PolicyEditor) -> None:
    path = f"{USAGE_LIMITS}/{{name}}/raises"

    @router.get(path)
    async def raises(name: str) -> Row:
        """List the raises of a budget, those that are over included."""
        budget, now = await _budget(ports, name), ports.clock.now()
        return listing([raise_row(budget, each, now) for each in budget.raises])

    @router.post(path, status_code=201)
    async def create_raise(request: Request, name: str, body: RaiseRequest) -> Row:
        """Raise the limit of one bucket, or of all, to an amount until a moment; it ends by itself."""
        budget = await _budget(ports, name)
        raised, warnings = await raise_limit(body, budget, ports, editor, actor=actor(request))
        return {**raise_row(budget, raised, ports.clock.now()), "warnings": list(warnings)}

    @router.delete(path, status_code=204)
    async def delete_raise(request: Request, name: str, bucket: Bucket = None) -> Response:
        """End the raise of one bucket, or that of all of them, before its time."""
        budget = await _budget(ports, name)
        await end_raise(budget, bucket, ports, editor, actor=actor(request))
        return Response(status_code=204)


async def _budget(ports: AdminPorts, name: str) -> Budget:
    found = next((each for each in (await ports.policies.current()).budgets if each.name == name), None)
    if found is None:
        raise NotFound(BUDGET, name)
    return found
