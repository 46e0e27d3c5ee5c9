"""What every store of the policy does."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from farebox.adapters.audit_page import PAGE_BYTES_MAX
from farebox.domain.errors import ConfigInvalid, Conflict
from farebox.domain.policy import build_policy
from farebox.ports import AuditEntry, Resource
from tests.support.builders import NOON, a_resource
from tests.support.wings import Wing


async def write(
    wing: Wing, *upserts: Resource, delete: tuple[tuple[str, str], ...] = (), version: int = 0
) -> int:
    return await wing.policies.write(upserts=upserts, deletes=delete, expected_version=version, actor="root")


async def test_a_new_store_has_the_policy_of_no_resources(wing: Wing) -> None:
    assert await wing.policies.current() == build_policy(0, [])
    assert await wing.policies.resources() == (0, [])


async def test_resources_are_given_back_by_kind_position_and_name(wing: Wing) -> None:
    second = a_resource(
        name="a-second", position=2, origin="admin", updated_at=NOON + timedelta(microseconds=1)
    )
    first = a_resource(name="z-first", position=1)
    budget = a_resource("budget", "month")
    assert await write(wing, second, budget, first) == 1
    assert await wing.policies.resources() == (1, [budget, first, second])


async def test_the_policy_is_built_from_the_resources_in_their_order(wing: Wing) -> None:
    await write(wing, a_resource(name="second", position=2), a_resource(name="first", position=1))
    policy = await wing.policies.current()
    assert (policy.version, [provider.slug for provider in policy.providers]) == (1, ["first", "second"])


async def test_an_unchanged_policy_is_the_same_object(wing: Wing) -> None:
    await write(wing, a_resource())
    assert await wing.policies.current() is await wing.policies.current()


async def test_a_change_shows_in_the_next_snapshot(wing: Wing) -> None:
    await write(wing, a_resource("budget", "month"))
    before = await wing.policies.current()
    raised = a_resource("budget", "month", document={**a_resource("budget", "month").document, "usd": "20"})
    await write(wing, raised, version=1)
    after = await wing.policies.current()
    assert [budget.limit for budget in (*before.budgets, *after.budgets)] == [10 * 10**12, 20 * 10**12]


async def test_many_that_ask_at_once_get_one_snapshot(wing: Wing) -> None:
    await write(wing, a_resource())
    snapshots = await asyncio.gather(*(wing.policies.current() for _ in range(20)))
    assert {id(snapshot) for snapshot in snapshots} == {id(snapshots[0])}


async def test_a_write_upserts_and_deletes_in_one_step(wing: Wing) -> None:
    await write(wing, a_resource(name="old"), a_resource(name="kept"))
    moved = a_resource(name="kept", position=7, origin="admin", updated_at=NOON + timedelta(days=1))
    assert await write(wing, moved, delete=(("provider", "old"), ("provider", "never there")), version=1) == 2
    assert await wing.policies.resources() == (2, [moved])


async def test_a_write_on_an_older_version_changes_nothing(wing: Wing) -> None:
    await write(wing, a_resource(name="first"))
    with pytest.raises(Conflict, match="version 1, not 0"):
        await write(wing, a_resource(name="second"))
    assert await wing.policies.resources() == (1, [a_resource(name="first")])


async def test_of_two_writes_at_once_one_wins(wing: Wing) -> None:
    results = await asyncio.gather(
        *(write(wing, a_resource(name=f"p{number}")) for number in range(5)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 4 + ["int"]
    assert (await wing.policies.resources())[0] == 1


async def test_a_write_of_nothing_keeps_the_version(wing: Wing) -> None:
    assert await write(wing) == 0


async def test_a_write_that_makes_no_policy_is_undone_whole(wing: Wing) -> None:
    broken = a_resource("budget", "broken", document={"name": "broken", "scope": {}, "period": "day"})
    with pytest.raises(ConfigInvalid):
        await write(wing, a_resource(), broken)
    assert await wing.policies.resources() == (0, [])
    assert (await wing.reports.audit()).rows == []


async def test_each_change_is_audited_with_what_was_and_what_is(wing: Wing) -> None:
    new = a_resource()
    old = a_resource(document={**new.document, "credential": "env:ANTHROPIC_API_KEY"})
    await write(wing, old)
    await write(wing, new, version=1)
    await write(wing, delete=(("provider", "anthropic"), ("provider", "never there")), version=2)
    assert list((await wing.reports.audit()).rows) == [
        AuditEntry(NOON, "root", "delete", "provider", "anthropic", new.document, None),
        AuditEntry(NOON, "root", "update", "provider", "anthropic", old.document, new.document),
        AuditEntry(NOON, "root", "create", "provider", "anthropic", None, old.document),
    ]


async def test_the_audit_log_is_read_page_by_page(wing: Wing) -> None:
    for version in range(5):
        await write(wing, a_resource(name=f"p{version}"), version=version)
    names, cursor = [], None
    for _ in range(3):
        page = await wing.reports.audit(limit=2, cursor=cursor)
        names.append([entry.name for entry in page.rows])
        cursor = page.next
    assert names == [["p4", "p3"], ["p2", "p1"], ["p0"]]
    assert cursor is None


def a_config(**config: object) -> Resource:
    return a_resource("config", "main", document={"slug": "main", "config": config})


async def test_a_page_of_large_changes_ends_before_its_limit(wing: Wing) -> None:
    large = "x" * (PAGE_BYTES_MAX // 12)  # told twice: what was, and what is
    configs = [a_config(number=number, note=large) for number in range(8)]
    for version, config in enumerate(configs):
        await write(wing, config, version=version)
    documents = [config.document for config in configs]
    first = await wing.reports.audit(limit=100)
    assert [entry.after for entry in first.rows] == documents[:2:-1]
    second = await wing.reports.audit(limit=100, cursor=first.next)
    assert ([entry.after for entry in second.rows], second.next) == (documents[2::-1], None)


async def versions(wing: Wing) -> dict[str, object]:
    _, resources = await wing.policies.resources()
    return {each.name: each.document["config"] for each in resources if each.kind == "config_version"}


async def test_each_save_of_a_config_that_says_something_new_is_a_version(wing: Wing) -> None:
    for version, model in enumerate(("a", "b", "b", "a")):
        await write(wing, a_config(override_params={"model": model}), version=version)
    expected = {
        f"main@{number}": {"override_params": {"model": model}}
        for number, model in ((1, "a"), (2, "b"), (3, "a"))
    }
    assert await versions(wing) == expected
    config = (await wing.policies.current()).configs["main"]
    assert config.version == 3
    assert {number: document["override_params"] for number, document in config.versions.items()} == {
        1: {"model": "a"},
        2: {"model": "b"},
        3: {"model": "a"},
    }


async def test_a_version_is_stored_as_it_was_saved_and_by_whom(wing: Wing) -> None:
    later = replace(a_config(provider="@anthropic"), updated_at=NOON + timedelta(days=1))
    await write(wing, later)
    _, resources = await wing.policies.resources()
    document = {"slug": "main", "version": 1, "config": {"provider": "@anthropic"}, "saved_by": "root"}
    assert Resource("config_version", "main@1", document, 1, "version", later.updated_at) in resources


async def test_the_versions_of_a_config_stay_when_it_goes_and_are_never_numbered_anew(wing: Wing) -> None:
    await write(wing, a_config(retry={"attempts": 1}))
    await write(wing, delete=(("config", "main"),), version=1)
    assert list(await versions(wing)) == ["main@1"]
    assert (await wing.policies.current()).configs == {}
    await write(wing, a_config(retry={"attempts": 2}), version=2)
    assert await versions(wing) == {
        "main@1": {"retry": {"attempts": 1}},
        "main@2": {"retry": {"attempts": 2}},
    }


async def test_a_write_that_is_refused_makes_no_version(wing: Wing) -> None:
    await write(wing, a_resource())
    with pytest.raises(Conflict):
        await write(wing, a_config(retry={"attempts": 1}))
    assert await versions(wing) == {}


async def test_a_version_is_no_change_of_its_own_in_the_audit_log(wing: Wing) -> None:
    await write(wing, a_config(retry={"attempts": 1}))
    assert [entry.kind for entry in (await wing.reports.audit()).rows] == ["config"]


# Integers of DynamoDB have 38 digits: only columns are too short for some limits.
@pytest.mark.parametrize("wing", ["local"], indirect=True)
async def test_a_limit_that_columns_cannot_hold_is_refused(wing: Wing) -> None:
    month = a_resource("budget", "month").document
    with pytest.raises(ConfigInvalid, match="at most 4000000 USD"):
        await write(wing, a_resource("budget", "month", document={**month, "usd": "4000000.000000000001"}))
    await write(wing, a_resource("budget", "month", document={**month, "usd": "4000000"}))
    assert [budget.limit for budget in (await wing.policies.current()).budgets] == [4 * 10**18]
