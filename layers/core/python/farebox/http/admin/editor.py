"""Changes of policy through the admin plane: one at a time here, checked against other processes' writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from farebox.domain.errors import ConfigInvalid, Conflict, NotFound
from farebox.domain.policy import BUDGET, KEY, ORIGIN_ADMIN, WORKSPACE, Piece, raises_of
from farebox.http.admin.apply import TRIES, Applied, apply_document, live_keys
from farebox.http.admin.ports import AdminPorts
from farebox.http.policy_document import PolicyDocument, parse_section
from farebox.http.policy_references import check_references
from farebox.http.policy_sections import Section
from farebox.ports import Resource

Edit = tuple[list[Resource], list[tuple[str, str]]]
"""What one change upserts and deletes."""


class PolicyEditor:
    """Every change of policy that comes through the admin plane of this process."""

    def __init__(self, ports: AdminPorts) -> None:
        self._ports = ports
        self._lock = asyncio.Lock()

    async def apply(self, document: PolicyDocument, *, actor: str, prune: bool, dry_run: bool) -> Applied:
        """Apply a document; two at once run one after the other."""
        async with self._lock:
            return await apply_document(document, self._ports, actor=actor, prune=prune, dry_run=dry_run)

    async def create(self, section: Section, *, actor: str) -> tuple[Resource, tuple[str, ...]]:
        """Add a piece behind its kind. Raises `Conflict` when it exists, `ConfigInvalid`."""
        piece, warnings = parse_section(section)

        def edit(stored: Sequence[Resource]) -> Edit:
            if find_resource(stored, piece.kind, piece.name) is not None:
                raise Conflict(f"There is a {piece.kind} '{piece.name}' already.")
            position = 1 + max((each.position for each in stored if each.kind == piece.kind), default=-1)
            return [self._resource(piece, position, ORIGIN_ADMIN)], []

        return (await self.write(edit, actor))[0], warnings

    async def replace(self, name: str, section: Section, *, actor: str) -> tuple[Resource, tuple[str, ...]]:
        """Replace a piece where it stands. Raises `NotFound`, and `ConfigInvalid` when the name differs."""
        piece, warnings = parse_section(section)
        if piece.name != name:
            raise ConfigInvalid(
                "name", f"'{piece.name}' is not the '{name}' of the path; names cannot change"
            )

        def edit(stored: Sequence[Resource]) -> Edit:
            old = find_resource(stored, piece.kind, piece.name)
            if old is None:
                raise NotFound(piece.kind, piece.name)
            return [self._resource(piece, old.position, old.origin)], []

        return (await self.write(edit, actor))[0], warnings

    async def delete(self, kind: str, name: str, *, actor: str) -> None:
        """Remove a piece. Raises `NotFound`, and `Conflict` while something refers to it."""

        def edit(stored: Sequence[Resource]) -> Edit:
            if find_resource(stored, kind, name) is None:
                raise NotFound(kind, name)
            gone = raises_of((name,), stored) if kind == BUDGET else []
            return [], [(kind, name), *((each.kind, each.name) for each in gone)]

        async with self._lock:
            # A key whose workspace is gone would no longer be narrowed by it.
            if kind == WORKSPACE and (left := await live_keys(name, self._ports.keys)):
                raise Conflict(f"Workspace '{name}' has keys ({', '.join(key.name for key in left[:10])}).")
            try:
                await self._write(edit, actor)
            except ConfigInvalid as error:
                raise Conflict(f"{kind} '{name}' is in use: {error.message}") from None

    @asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """Keep the policy as it is meanwhile, as far as this process changes it: for what refers to it."""
        async with self._lock:
            yield

    def _resource(self, piece: Piece, position: int, origin: str) -> Resource:
        return Resource(piece.kind, piece.name, piece.document, position, origin, self._ports.clock.now())

    async def write(self, edit: Callable[[Sequence[Resource]], Edit], actor: str) -> list[Resource]:
        """Make one change of what is stored, planned anew when somebody else wrote meanwhile; give what it
        upserts. Raises `ConfigInvalid`, and `Conflict` when others do not stop writing.
        """
        async with self._lock:
            return await self._write(edit, actor)

    async def _write(self, edit: Callable[[Sequence[Resource]], Edit], actor: str) -> list[Resource]:
        for _ in range(TRIES):
            version, stored = await self._ports.policies.resources()
            upserts, deletes = edit(stored)
            check_references(_outcome(stored, upserts, deletes), {})
            try:
                await self._ports.policies.write(
                    upserts=upserts, deletes=deletes, expected_version=version, actor=actor
                )
            except Conflict:
                continue
            return upserts
        raise Conflict("The policy is being changed by somebody else; try again.")


def find_resource(stored: Sequence[Resource], kind: str, name: str) -> Resource | None:
    """Find one piece of the policy."""
    return next((each for each in stored if (each.kind, each.name) == (kind, name)), None)


def _outcome(
    stored: Sequence[Resource], upserts: Sequence[Resource], deletes: Sequence[tuple[str, str]]
) -> list[Resource]:
    """Give the policy as it would be, without keys: they live in the key store."""
    pieces = {(each.kind, each.name): each for each in [*stored, *upserts] if each.kind != KEY}
    return [each for key, each in pieces.items() if key not in deletes]
