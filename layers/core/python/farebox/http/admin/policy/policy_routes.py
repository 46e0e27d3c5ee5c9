"""Routes of policy: apply, and one set of the same five routes for each kind of piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from farebox.domain.config import DEFAULT_WORKSPACE
from farebox.domain.errors import NotFound
from farebox.domain.policy import (
    BRAKE,
    BUDGET,
    BUILTIN_PROVIDERS,
    ORIGIN_BUILTIN,
    PROVIDER,
    RATE_LIMIT,
    WORKSPACE,
)
from farebox.http.admin.auth import actor
from farebox.http.admin.editor import PolicyEditor
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.rows import Row, change_row, listing, resource_row
from farebox.http.policy_document import parse_policy_text
from farebox.http.policy_sections import (
    BrakeSection,
    BudgetSection,
    ProviderSection,
    RateLimitSection,
    Section,
    WorkspaceSection,
)
from farebox.ports import Resource

Flag = Annotated[bool, Query()]


def apply_router(editor: PolicyEditor) -> APIRouter:
    """Make the route that takes a whole file."""
    router = APIRouter(tags=["apply"])

    @router.post("/v1/apply")
    async def apply(request: Request, dry_run: Flag = False, prune: Flag = False) -> Row:
        """Apply a policy document, sent as YAML or JSON text. Secrets of new keys are told here only."""
        document = parse_policy_text(await request.body())
        applied = await editor.apply(document, actor=actor(request), prune=prune, dry_run=dry_run)
        return {
            "version": applied.version,
            "dry_run": applied.is_dry_run,
            "changes": [change_row(change) for change in applied.changes],
            "created_keys": [
                {
                    "name": issued.key.name,
                    "key": issued.secret,
                    "workspace": issued.key.workspace,
                    "id": issued.key.id,
                }
                for issued in applied.created_keys
            ],
            "warnings": list(applied.warnings),
        }

    return router


def policy_routers(ports: AdminPorts, editor: PolicyEditor) -> Sequence[APIRouter]:
    """Make the routes of every kind."""
    return (
        _kind_router("/v1/providers", PROVIDER, ProviderSection, ports, editor),
        _kind_router("/v1/admin/workspaces", WORKSPACE, WorkspaceSection, ports, editor),
        _kind_router("/v1/policies/usage-limits", BUDGET, BudgetSection, ports, editor),
        _kind_router("/v1/policies/rate-limits", RATE_LIMIT, RateLimitSection, ports, editor),
        _kind_router("/v1/policies/brakes", BRAKE, BrakeSection, ports, editor),
    )


def _kind_router(
    prefix: str, kind: str, model: type[Section], ports: AdminPorts, editor: PolicyEditor
) -> APIRouter:
    router = APIRouter(prefix=prefix, tags=[f"{kind.replace('_', ' ')}s"])

    async def create(request: Request, body: Section) -> Row:
        resource, warnings = await editor.create(body, actor=actor(request))
        return {**resource_row(resource), "warnings": list(warnings)}

    async def replace(request: Request, name: str, body: Section) -> Row:
        resource, warnings = await editor.replace(name, body, actor=actor(request))
        return {**resource_row(resource), "warnings": list(warnings)}

    async def list_all() -> Row:
        return listing([resource_row(each) for each in await _resources(ports, kind)])

    async def get(name: str) -> Row:
        found = [each for each in await _resources(ports, kind) if each.name == name]
        if not found:
            raise NotFound(kind, name)
        return resource_row(found[0])

    async def delete(request: Request, name: str) -> Response:
        await editor.delete(kind, name, actor=actor(request))
        return Response(status_code=204)

    # FastAPI reads the body's model from the annotation; the routes are the same but for it.
    create.__annotations__["body"] = model
    replace.__annotations__["body"] = model
    noun = kind.replace("_", " ")
    router.add_api_route("", create, methods=["POST"], status_code=201, summary=f"Create a {noun}")
    router.add_api_route("", list_all, methods=["GET"], summary=f"List every {noun}, in order")
    router.add_api_route("/{name}", get, methods=["GET"], summary=f"Give one {noun}")
    router.add_api_route("/{name}", replace, methods=["PUT"], summary=f"Replace a {noun}")
    router.add_api_route("/{name}", delete, methods=["DELETE"], status_code=204, summary=f"Remove a {noun}")
    return router


async def _resources(ports: AdminPorts, kind: str) -> list[Resource]:
    """Give what is stored, and what is there without being stored."""
    _, stored = await ports.policies.resources()
    found = [each for each in stored if each.kind == kind]
    if kind == PROVIDER and not found:
        now = ports.clock.now()
        for position, spec in enumerate(BUILTIN_PROVIDERS):
            document = {"slug": spec.slug, "type": spec.type, "credential": spec.credential}
            document |= {"base_url": spec.base_url} if spec.base_url else {}
            found.append(Resource(PROVIDER, spec.slug, document, position, ORIGIN_BUILTIN, now))
    if kind == WORKSPACE and all(each.name != DEFAULT_WORKSPACE for each in found):
        builtin = {"slug": DEFAULT_WORKSPACE}
        found.insert(
            0, Resource(WORKSPACE, DEFAULT_WORKSPACE, builtin, -1, ORIGIN_BUILTIN, ports.clock.now())
        )
    return found
