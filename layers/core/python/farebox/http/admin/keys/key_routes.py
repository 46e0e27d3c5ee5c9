"""Routes of gateway keys: /v1/api-keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from msgspec.structs import replace
from pydantic import Field, model_validator

from farebox.domain.errors import ConfigInvalid
from farebox.domain.identity import GatewayKey
from farebox.domain.policy import CONFIG, CONFIG_VERSION, KEY, PROVIDER, WORKSPACE
from farebox.domain.routing.finding import refusal
from farebox.http.admin.apply import key_attributes, key_section
from farebox.http.admin.auth import actor
from farebox.http.admin.editor import PolicyEditor
from farebox.http.admin.issue import (
    IssuedKey,
    change_gateway_key,
    issue_gateway_key,
    revoke_gateway_key,
    rotate_gateway_key,
)
from farebox.http.admin.ports import AdminPorts
from farebox.http.admin.rows import Row, issued_key_row, key_row, listing
from farebox.http.moments import read_after, utc_text
from farebox.http.policy_document import read_section
from farebox.http.policy_references import References
from farebox.http.policy_sections import KeySection, Section

OVERLAP_DEFAULT_S = 1_800
OVERLAP_MAX_S = 30 * 86_400

_REFERRED = (PROVIDER, WORKSPACE, CONFIG, CONFIG_VERSION)

Workspace = Annotated[
    str | None, Query(description="The key's workspace, where a name is not clear without.")
]


class NewKey(KeySection):
    """A key to create: as in the file, but `expires` may also be a span such as 30d."""

    expires: str | None = None

    @model_validator(mode="after")
    def check_expiry(self) -> NewKey:
        """Hold the request to one way of saying when the key ends."""
        if self.expires is not None and self.expires_at is not None:
            raise ValueError("needs at most one of expires and expires_at")
        return self


class Rotation(Section):
    """For how long the old secret still opens."""

    overlap_s: Annotated[int, Field(ge=0, le=OVERLAP_MAX_S)] = OVERLAP_DEFAULT_S


def key_router(ports: AdminPorts, editor: PolicyEditor) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1/api-keys", tags=["gateway keys"])
    _add_lists(router, ports)
    _add_changes(router, ports)
    _add_creation(router, ports, editor)
    _add_rotation(router, ports)
    return router


def _add_lists(router: APIRouter, ports: AdminPorts) -> None:
    @router.get("")
    async def list_keys(
        workspace: Workspace = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        cursor: str | None = None,
    ) -> Row:
        """List keys by name, revoked ones included."""
        page = await ports.keys.list_gateway_keys(workspace=workspace, limit=limit, cursor=cursor)
        now = ports.clock.now()
        return listing([key_row(key, now) for key in page.rows], page.next)

    @router.get("/{name_or_id}")
    async def get(name_or_id: str, workspace: Workspace = None) -> Row:
        """Give one key."""
        return key_row(await ports.keys.get_gateway_key(name_or_id, workspace), ports.clock.now())


def _add_changes(router: APIRouter, ports: AdminPorts) -> None:
    @router.put("/{name_or_id}")
    async def update(
        request: Request, name_or_id: str, body: dict[str, object], workspace: Workspace = None
    ) -> Row:
        """Change the given attributes of a key; null puts one back to its default."""
        key = await ports.keys.get_gateway_key(name_or_id, workspace)
        section = _changed_section(key, body, ports)
        await _check_references(section, ports)
        changed = await change_gateway_key(key, key_attributes(section), ports.keys, actor=actor(request))
        return key_row(changed, ports.clock.now())

    @router.delete("/{name_or_id}")
    async def revoke(request: Request, name_or_id: str, workspace: Workspace = None) -> Row:
        """Revoke a key for good."""
        key = await ports.keys.get_gateway_key(name_or_id, workspace)
        revoked = await revoke_gateway_key(key, ports.keys, ports.clock, actor=actor(request))
        return key_row(revoked, ports.clock.now())


def _add_creation(router: APIRouter, ports: AdminPorts, editor: PolicyEditor) -> None:
    @router.post("", status_code=201)
    async def create(request: Request, body: NewKey) -> Row:
        """Create a key and give its secret, once."""
        now = ports.clock.now()
        attributes = key_attributes(body)
        _check_is_ahead("expires_at", attributes.expires_at, ports)
        if body.expires is not None:
            attributes = replace(attributes, expires_at=_expiry(body.expires, ports))
        async with editor.unchanged():
            await _check_references(body, ports)
            issued = await issue_gateway_key(
                attributes, ports.keys, ports.clock, ports.randomness, actor=actor(request)
            )
            await _check_again(issued, body, ports, actor(request))
        return issued_key_row(issued, now)


def _add_rotation(router: APIRouter, ports: AdminPorts) -> None:
    @router.post("/{name_or_id}/rotate")
    async def rotate(
        request: Request, name_or_id: str, body: Rotation | None = None, workspace: Workspace = None
    ) -> Row:
        """Give a key a new secret; the old one opens until the overlap ends."""
        key = await ports.keys.get_gateway_key(name_or_id, workspace)
        overlap = timedelta(seconds=(body or Rotation()).overlap_s)
        issued, old_valid_until = await rotate_gateway_key(
            key, overlap, ports.keys, ports.clock, ports.randomness, actor=actor(request)
        )
        return {**issued_key_row(issued, ports.clock.now()), "old_valid_until": utc_text(old_valid_until)}


def _changed_section(key: GatewayKey, body: dict[str, object], ports: AdminPorts) -> KeySection:
    fields = dict(body)
    if isinstance(expires := fields.pop("expires", None), str):
        fields["expires_at"] = utc_text(_expiry(expires, ports))
    for name, value in (("name", key.name), ("workspace", key.workspace)):
        if fields.get(name, value) != value:
            raise ConfigInvalid(name, "cannot change; create another key instead")
    merged = {**key_section(key).document(), **fields}
    return read_section(KeySection, {name: value for name, value in merged.items() if value is not None})


async def _check_references(section: KeySection, ports: AdminPorts) -> None:
    _, stored = await ports.policies.resources()
    known = References((each.kind, each.name, each.document) for each in stored if each.kind in _REFERRED)
    findings = list(known.missing(KEY, section.document()))
    if findings:
        raise refusal(findings)


async def _check_again(issued: IssuedKey, section: KeySection, ports: AdminPorts, actor: str) -> None:
    """Take a new key back if another process has removed meanwhile what it refers to."""
    try:
        await _check_references(section, ports)
    except ConfigInvalid:
        await revoke_gateway_key(issued.key, ports.keys, ports.clock, actor=actor)
        raise


def _expiry(text: str, ports: AdminPorts) -> datetime:
    try:
        moment = read_after(text, ports.clock.now())
    except ValueError as error:
        raise ConfigInvalid("expires", str(error)) from None
    _check_is_ahead("expires", moment, ports)
    return moment


def _check_is_ahead(field: str, moment: datetime | None, ports: AdminPorts) -> None:
    if moment is not None and moment <= ports.clock.now():
        raise ConfigInvalid(field, "is in the past")
