"""Routes of saved configs, in Portkey's shapes and ours: /v1/configs, and the versions of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

from farebox.domain.errors import ConfigInvalid, NotFound
from farebox.domain.policy import CONFIG, CONFIG_VERSION
from farebox.domain.routing.versions import version_name
from farebox.http.admin.auth import actor
from farebox.http.admin.editor import PolicyEditor, find_resource
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.rows import Row, listing, resource_row
from farebox.http.moments import utc_text
from farebox.http.policy_document import ConfigSection, read_section
from farebox.http.policy_sections import Section
from farebox.ports import Resource

SLUG_PREFIX = "pc-"
SLUG_BYTES = 3

_NOT_A_DEFAULT = "a default config is named by the workspace (its field 'config') or by the key"


class NewConfig(ConfigSection):
    """A config to save: ours has a slug, Portkey's a name and no slug. All workspaces may use it."""

    slug: str = ""
    is_default: Annotated[int, Field(ge=0, le=1)] = 0
    isDefault: Annotated[int, Field(ge=0, le=1)] = 0  # as Portkey's API spells it
    workspace_id: str | None = None

    @model_validator(mode="after")
    def check_form(self) -> NewConfig:
        """Refuse a config without any name, and one that would be everybody's at once."""
        if not self.slug and not self.name:
            raise ValueError("needs a slug, or a name to make one from")
        if self.is_default or self.isDefault:
            raise ValueError(_NOT_A_DEFAULT)
        return self


class ChangedConfig(Section):
    """What of a config to change; what is not named stays."""

    slug: str | None = None
    name: str | None = None
    config: dict[str, object] | str | None = None
    status: Annotated[str | None, Field(pattern="^active$")] = None


def config_router(ports: AdminPorts, editor: PolicyEditor) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1/configs", tags=["configs"])
    _add_reads(router, ports)
    _add_changes(router, ports, editor)
    return router


def _add_reads(router: APIRouter, ports: AdminPorts) -> None:
    @router.get("", summary="List every config, in order")
    async def list_all(workspace_id: str | None = None) -> Row:
        _, stored = await ports.policies.resources()
        rows = [_row(each, stored) for each in stored if each.kind == CONFIG]
        return {**listing(rows), "object": "list", "success": True, "total": len(rows), "data": rows}

    @router.get("/{slug}", summary="Give one config, or one version of it: slug@3")
    async def get(slug: str) -> Row:
        _, stored = await ports.policies.resources()
        name, _, version = slug.partition("@")
        row = _row(_found(stored, name), stored)
        if not version:
            return row
        asked = find_resource(stored, CONFIG_VERSION, slug)
        if asked is None:
            raise NotFound("version", slug)
        return {**row, **_version_row(asked)}

    @router.get("/{slug}/versions", summary="List the versions of a config, newest first")
    async def versions(slug: str) -> Row:
        _, stored = await ports.policies.resources()
        _found(stored, slug)
        rows = [_version_row(each) for each in reversed(_versions(slug, stored))]
        return {**listing(rows), "object": "list", "success": True, "total": len(rows), "data": rows}


def _add_changes(router: APIRouter, ports: AdminPorts, editor: PolicyEditor) -> None:
    @router.post("", status_code=201, summary="Save a new config")
    async def create(request: Request, body: NewConfig) -> Row:
        slug = body.slug or _made_slug(body.name or "", ports.randomness.bytes(SLUG_BYTES))
        section = _section({"slug": slug, "name": body.name, "config": body.config})
        resource, warnings = await editor.create(section, actor=actor(request))
        return await _saved(resource, warnings, ports)

    @router.put("/{slug}", summary="Save a config anew; what differs becomes its next version")
    async def replace(request: Request, slug: str, body: ChangedConfig) -> Row:
        _, stored = await ports.policies.resources()
        old = _found(stored, slug).document
        if body.slug not in (None, slug):
            raise ConfigInvalid("slug", f"'{body.slug}' is not the '{slug}' of the path; names cannot change")
        section = _section(
            {
                "slug": slug,
                "name": old.get("name") if body.name is None else body.name,
                "config": old.get("config") if body.config is None else body.config,
            }
        )
        resource, warnings = await editor.replace(slug, section, actor=actor(request))
        return await _saved(resource, warnings, ports)

    @router.delete("/{slug}", summary="Remove a config")
    async def delete(request: Request, slug: str) -> Row:
        await editor.delete(CONFIG, slug, actor=actor(request))
        # Portkey's clients read an answer here, too.
        return {"slug": slug, "object": "config", "success": True}


async def _saved(resource: Resource, warnings: Sequence[str], ports: AdminPorts) -> Row:
    _, stored = await ports.policies.resources()
    return {**_row(resource, stored), "warnings": list(warnings)}


def _found(stored: Sequence[Resource], slug: str) -> Resource:
    found = find_resource(stored, CONFIG, slug)
    if found is None:
        raise NotFound(CONFIG, slug)
    return found


def _section(fields: Mapping[str, object]) -> ConfigSection:
    return read_section(ConfigSection, {name: value for name, value in fields.items() if value is not None})


def _row(resource: Resource, stored: Sequence[Resource]) -> Row:
    """Give a config as it is now, by the names of our file and of Portkey's API."""
    versions = _versions(resource.name, stored)
    number = versions[-1].position if versions else 1
    saved_at = versions[0].updated_at if versions else resource.updated_at
    return {
        **resource_row(resource),
        "id": resource.name,
        "name": resource.document.get("name", resource.name),
        "version": number,
        "version_id": version_name(resource.name, number),
        "status": "active",
        "is_default": 0,
        "object": "config",
        "created_at": utc_text(saved_at),
        "last_updated_at": utc_text(resource.updated_at),
    }


def _version_row(resource: Resource) -> Row:
    document = resource.document
    return {
        "slug": document["slug"],
        "version": resource.position,
        "version_id": resource.name,
        "config": document["config"],
        "saved_by": document.get("saved_by"),
        "created_at": utc_text(resource.updated_at),
        "object": "config_version",
    }


def _versions(slug: str, stored: Sequence[Resource]) -> list[Resource]:
    found = [each for each in stored if each.kind == CONFIG_VERSION and each.document.get("slug") == slug]
    return sorted(found, key=lambda each: each.position)


def _made_slug(name: str, salt: bytes) -> str:
    """Make a slug from a name, as Portkey does: 'pc-team-a-3f9c01'."""
    words = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{SLUG_PREFIX}{words[:40].strip('-') or 'config'}-{salt.hex()}"
