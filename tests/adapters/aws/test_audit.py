"""What administrators change is noted with it, however large it is: an item takes 400 KB."""

from __future__ import annotations

import json

from msgspec.structs import replace

from farebox.adapters.aws import audit
from farebox.adapters.aws.dynamodb.actions import Action
from farebox.adapters.aws.dynamodb.items import Items
from farebox.adapters.aws.policies import DynamoPolicies
from farebox.adapters.aws.stamps import Stamps
from farebox.domain.errors import StoreFault
from farebox.ports import AuditEntry
from farebox.wire.http1 import Http1Transport
from tests.support.builders import NOON, FixedClock, a_resource
from tests.support.dynamo import Deployment

ITEM_BYTES_MAX = 400 * 1024
ENTRY = AuditEntry(NOON, "admin:root", "update", "config", "c", {"note": "before"}, {"note": "after"})


def noted(*entries: AuditEntry) -> list[Action]:
    return audit.notes("keys", Stamps(FixedClock(), "p"), entries)


def size(action: Action) -> int:
    return len(json.dumps(action.body["Item"], ensure_ascii=False).encode())


def test_many_large_changes_are_as_many_items_as_it_takes() -> None:
    large = {"note": "ü" * 6_000}
    entries = [replace(ENTRY, name=f"c{number}", before=large, after=large) for number in range(60)]
    actions = noted(*entries)
    assert 4 < len(actions) < 20
    assert max(map(size, actions)) < ITEM_BYTES_MAX


def test_many_small_changes_are_few_items() -> None:
    assert len(noted(*[ENTRY] * 150)) == 3


def test_a_document_that_no_item_takes_is_noted_by_its_size() -> None:
    [action] = noted(replace(ENTRY, after={"note": "x" * 500_000}))
    assert size(action) < ITEM_BYTES_MAX
    [entry] = audit.read_entries(action.body["Item"]["entries"]["S"])
    assert (entry.before, entry.after) == (ENTRY.before, {"left_out_bytes": 500_011})


async def test_a_large_policy_is_written_with_its_notes(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    items = Items(deployment.client(transport, clock))
    store = DynamoPolicies(items, deployment.names, clock, Stamps(clock, "p"))
    documents = [{"slug": f"c{number:03}", "config": {"note": "x" * 9_000}} for number in range(60)]
    configs = [a_resource("config", str(each["slug"]), document=each) for each in documents]
    await store.write(upserts=configs, deletes=[], expected_version=0, actor="root")
    page = await audit.entries(items, deployment.names.keys, limit=100, cursor=None)
    assert [entry.after for entry in page.rows if entry.kind == "config"] == documents[::-1]


class Untidy(Items):
    """Takes nothing away."""

    async def write(self, action: Action) -> None:
        if action.kind == "Delete":
            raise StoreFault("away")
        await super().write(action)


async def test_a_policy_is_written_though_what_it_replaces_cannot_be_taken_away(
    deployment: Deployment, transport: Http1Transport
) -> None:
    clock = FixedClock()
    items = Untidy(deployment.client(transport, clock))
    store = DynamoPolicies(items, deployment.names, clock, Stamps(clock, "p"), part_bytes=100)
    first = a_resource("workspace", "a", document={"slug": "a"})
    second = a_resource("workspace", "b", document={"slug": "b"})
    assert await store.write(upserts=[first], deletes=[], expected_version=0, actor="root") == 1
    assert await store.write(upserts=[second], deletes=[], expected_version=1, actor="root") == 2
    assert [each.name for each in (await store.resources())[1]] == ["a", "b"]
