"""The policy in DynamoDB: one head item with the version and, packed, every resource.

What does not fit into the head follows in parts, which are written before the head points to them. A policy
of any size is thus one conditional write, and usually one read.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Iterable, Sequence
from typing import cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from farebox.adapters.aws import audit
from farebox.adapters.aws.dynamodb.actions import Action, Key, delete, put
from farebox.adapters.aws.dynamodb.attributes import Item, Value
from farebox.adapters.aws.dynamodb.errors import Unmet
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.stamps import Stamps
from farebox.adapters.aws.tables import TableNames
from farebox.adapters.aws.width import refuse_too_wide
from farebox.adapters.config_versions import config_versions
from farebox.domain.config import Policy
from farebox.domain.errors import Conflict, StoreFault
from farebox.domain.policy import CONFIG_VERSION, build_policy
from farebox.ports import AuditEntry, Clock, Resource

REFRESH_MS = 3_000
"""How long a snapshot serves before the version is looked at again: a change shows everywhere within 5 s."""

STALE_MS = 300_000
"""How old a snapshot may be while the store cannot answer, as old as a key. What a budget blocks needs the
store in any case; the rest goes on.
"""

PART_BYTES = 300_000
"""Of an item's 400 KB."""

_log = logging.getLogger("farebox.policies")

_HEAD: Key = {"pk": "policy", "sk": "-"}
_NOT_THERE = "attribute_not_exists(#pk)"
_MAX_READS = 5
_encode = msgspec.json.Encoder().encode
_resources = msgspec.json.Decoder(list[Resource]).decode


class Stored(Struct, frozen=True):
    """The policy as it was read. `name` is of its parts; `parts` counts those beside the head."""

    version: int = 0
    resources: tuple[Resource, ...] = ()
    name: str = ""
    parts: int = 0


class DynamoPolicies:
    """Fills `ports.Policies`. The built snapshot is kept while the stored version stands."""

    def __init__(
        self, items: Items, tables: TableNames, clock: Clock, stamps: Stamps, *, part_bytes: int = PART_BYTES
    ) -> None:
        self._items, self._table = items, tables.keys
        self._clock, self._stamps = clock, stamps
        self._part_bytes = part_bytes
        self._snapshot: Policy | None = None
        self._looked_at_ms = self._read_at_ms = 0
        self._looking = asyncio.Lock()

    async def current(self) -> Policy:
        """Give the policy, free of charge for a few seconds after the last look."""
        if self._snapshot is None or self._is_due():
            async with self._looking:
                # Whoever waited here finds it fresh.
                if self._snapshot is None or self._is_due():
                    await self._look()
        return cast(Policy, self._snapshot)

    async def resources(self) -> tuple[int, Sequence[Resource]]:
        """Give the version and every resource, by kind, position and name."""
        stored = await self._read()
        return stored.version, list(stored.resources)

    async def write(
        self,
        *,
        upserts: Sequence[Resource],
        deletes: Sequence[tuple[str, str]],
        expected_version: int,
        actor: str,
    ) -> int:
        """Change resources in one atomic step with its audit rows, and give the new version.

        Raises `Conflict` when the version is no longer the expected one, and `ConfigInvalid` for what cannot
        be a policy, or could make one request touch more budgets than one transaction takes.
        """
        stored = await self._read()
        if stored.version != expected_version:
            raise _changed_meanwhile(stored.version, expected_version)
        if not upserts and not deletes:
            return stored.version
        resources = {(each.kind, each.name): each for each in stored.resources}
        changes = [(resources.get((each.kind, each.name)), each) for each in upserts]
        resources |= {(each.kind, each.name): each for each in upserts}
        versions, forgotten = config_versions(stored.resources, upserts, actor)
        resources |= {(each.kind, each.name): each for each in versions}
        for name in forgotten:
            resources.pop((CONFIG_VERSION, name), None)
        gone = [resources.pop(place) for place in deletes if place in resources]
        after = _ordered(resources.values())
        refuse_too_wide(_built(expected_version + 1, after))
        noted = [
            *(self._entry(actor, before, resource) for before, resource in changes),
            *(self._entry(actor, resource, None) for resource in gone),
        ]
        await self._replace(stored, after, audit.notes(self._table, self._stamps, noted))
        return expected_version + 1

    def _is_due(self) -> bool:
        return self._clock.monotonic_ms() - self._looked_at_ms >= REFRESH_MS

    async def _look(self) -> None:
        # The time before the read: a change that comes while it runs is looked for again in time.
        looked_at_ms = self._clock.monotonic_ms()
        try:
            stored = await self._read()
        except StoreFault:
            if self._snapshot is None or looked_at_ms - self._read_at_ms >= STALE_MS:
                raise
        else:
            if self._snapshot is None or self._snapshot.version != stored.version:
                self._snapshot = _built(stored.version, stored.resources)
            self._read_at_ms = looked_at_ms
        self._looked_at_ms = looked_at_ms

    async def _read(self) -> Stored:
        for _ in range(_MAX_READS):
            head = await self._items.get(self._table, _HEAD)
            if head is None:
                return Stored()
            name, parts = cast(str, head["name"]), cast(int, head["parts"])
            keys = [_part_key(name, number) for number in range(parts)]
            found = await self._items.get_many(self._table, keys) if keys else []
            # Parts go once a newer head stands: then that one is to be read.
            if len(found) == parts:
                packed = b"".join(cast(bytes, item["body"]) for item in (head, *sorted(found, key=_place)))
                resources = _resources(zlib.decompress(packed))
                return Stored(cast(int, head["version"]), tuple(resources), name, parts)
        raise StoreFault(f"the policy changed under {_MAX_READS} reads")

    async def _replace(self, old: Stored, resources: Sequence[Resource], notes: Sequence[Action]) -> None:
        packed = zlib.compress(_encode(resources))
        slices = [
            packed[start : start + self._part_bytes] for start in range(0, len(packed), self._part_bytes)
        ]
        new = replace(old, version=old.version + 1, name=self._items.token(), parts=len(slices) - 1)
        for number, body in enumerate(slices[1:]):
            await self._items.write(put(self._table, {**_part_key(new.name, number), "body": body}))
        head: dict[str, Value] = {
            **_HEAD,
            "version": new.version,
            "name": new.name,
            "parts": new.parts,
            "body": slices[0],
        }
        try:
            await self._items.transact([_flip(self._table, head, old.version), *notes])
        except Unmet as unmet:
            stored = unmet.item(0)
            if stored is None or stored["name"] != new.name:
                await self._forget(new)
                raise _changed_meanwhile(_version(stored), old.version) from None
        self._snapshot = None
        await self._forget(old)

    async def _forget(self, stored: Stored) -> None:
        """Take parts away that no head points to. What is left of them is in nobody's way."""
        try:
            for number in range(stored.parts):
                await self._items.write(delete(self._table, _part_key(stored.name, number)))
        except StoreFault as fault:
            _log.warning("parts of policy version %d are left behind: %s", stored.version, fault)

    def _entry(self, actor: str, before: Resource | None, after: Resource | None) -> AuditEntry:
        resource = cast(Resource, after or before)
        old, new = (None if each is None else each.document for each in (before, after))
        action = audit.action_of(old, new)
        return AuditEntry(self._clock.now(), actor, action, resource.kind, resource.name, old, new)


def _flip(table: str, head: dict[str, Value], known: int) -> Action:
    if known == 0:
        return put(table, head, _NOT_THERE)
    return put(table, head, "#version = :known", known=known)


def _ordered(resources: Iterable[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda each: (each.kind, each.position, each.name))


def _built(version: int, resources: Iterable[Resource]) -> Policy:
    return build_policy(version, [(each.kind, each.name, each.document) for each in resources])


def _part_key(name: str, number: int) -> dict[str, Value]:
    return {"pk": f"policy#{name}", "sk": f"{number:04d}"}


def _place(item: Item) -> str:
    return cast(str, item["sk"])


def _version(head: Item | None) -> int:
    return 0 if head is None else cast(int, head["version"])


def _changed_meanwhile(version: int, expected: int) -> Conflict:
    return Conflict(f"The policy has changed meanwhile (version {version}, not {expected}). Retry.")
