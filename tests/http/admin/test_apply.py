"""Apply: all of a document or nothing of it, keys included."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from farebox.domain.errors import Conflict
from farebox.domain.identity import key_hash
from farebox.domain.policy import CONFIG_VERSION, build_policy
from farebox.http.admin.apply import apply_document
from farebox.http.policy_document import parse_policy
from farebox.ports import Keys
from tests.http.admin.plane import LateKeys, Plane, admin_plane

FILE: dict[str, Any] = {
    "providers": [{"slug": "main", "type": "anthropic"}, {"slug": "toy", "type": "demo"}],
    "workspaces": [{"slug": "platform", "config": "c", "providers": ["ma*"]}],
    "configs": [{"slug": "c", "config": {"provider": "@main"}}],
    "keys": [{"name": "alice", "workspace": "platform", "user": "a", "providers": ["toy"]}],
    "budgets": [{"name": "b", "period": "day", "usd": "1"}],
}


async def apply(plane: Plane, file: Any, **flags: bool) -> Any:
    params = {name: str(value).lower() for name, value in flags.items()}
    return await plane.ask("POST", "/v1/apply", json=file, params=params)


def actions(answer: Any) -> dict[str, str]:
    return {f"{change['kind']} {change['name']}": change["action"] for change in answer["changes"]}


async def names(plane: Plane) -> list[str]:
    _, resources = await plane.store.policies.resources()
    return sorted(
        f"{each.kind} {each.name} {each.origin}" for each in resources if each.kind != CONFIG_VERSION
    )


async def test_everything_is_created_and_the_key_told_once(plane: Plane) -> None:
    answer = await apply(plane, FILE)
    assert (answer["version"], answer["dry_run"], answer["warnings"]) == (1, False, [])
    assert actions(answer) == {
        **dict.fromkeys(
            (
                "provider main",
                "provider toy",
                "workspace platform",
                "config c",
                "key platform/alice",
                "budget b",
            ),
            "created",
        ),
        **dict.fromkeys(("provider anthropic", "provider demo"), "replaced"),
    }
    (created,) = answer["created_keys"]
    key = await plane.store.keys.find_gateway_key(key_hash(created["key"]))
    assert key is not None
    assert created == {"name": "alice", "key": created["key"], "workspace": "platform", "id": key.id}
    assert (key.name, key.workspace, key.user, key.providers) == ("alice", "platform", "a", ("toy",))
    policy = await plane.store.policies.current()
    assert [spec.slug for spec in policy.providers] == ["main", "toy"]
    assert [budget.name for budget in policy.budgets] == ["b"]


async def test_the_same_file_again_changes_nothing(plane: Plane) -> None:
    await apply(plane, FILE)
    again = await apply(plane, FILE, prune=True)
    assert set(actions(again).values()) == {"unchanged"}
    assert (again["version"], again["created_keys"]) == (1, [])


async def test_a_dry_run_tells_and_does_nothing(plane: Plane) -> None:
    before = await apply(plane, {"budgets": FILE["budgets"]})
    told = await apply(plane, FILE, dry_run=True)
    assert (told["version"], told["dry_run"], told["created_keys"]) == (before["version"], True, [])
    assert actions(told)["key platform/alice"] == "created"
    assert await names(plane) == ["budget b apply"]
    assert (await plane.ask("GET", "/v1/api-keys"))["rows"] == []


async def test_what_the_file_does_not_mention_stays(plane: Plane) -> None:
    await apply(plane, FILE)
    answer = await apply(plane, {"budgets": [{"name": "b", "period": "day", "usd": "2"}]})
    assert answer["changes"] == [
        {
            "kind": "budget",
            "name": "b",
            "action": "changed",
            "fields": [{"path": "usd", "before": "1", "after": "2"}],
        }
    ]
    assert len(await names(plane)) == 6


async def test_prune_removes_what_applies_created_and_revokes_their_keys(plane: Plane) -> None:
    secret = (await apply(plane, FILE))["created_keys"][0]["key"]
    await plane.ask(
        "POST", "/v1/policies/usage-limits", 201, json={"name": "mine", "period": "day", "usd": 1}
    )
    await plane.ask("POST", "/v1/api-keys", 201, json={"name": "bob"})
    answer = await apply(plane, {"providers": FILE["providers"][:1]}, prune=True)
    assert actions(answer) == {
        "provider main": "unchanged",
        "provider toy": "pruned",
        "workspace platform": "pruned",
        "config c": "pruned",
        "key platform/alice": "pruned",
        "budget b": "pruned",
    }
    assert await names(plane) == ["budget mine admin", "provider main apply"]
    revoked = await plane.store.keys.find_gateway_key(key_hash(secret))
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert (await plane.ask("GET", "/v1/api-keys/bob"))["state"] == "active"


async def test_a_revoked_key_is_never_brought_back(plane: Plane) -> None:
    await apply(plane, FILE)
    await plane.ask("DELETE", "/v1/api-keys/alice")
    again = await apply(plane, FILE)
    assert again["created_keys"] == []
    assert "key platform/alice" not in actions(again)
    assert again["warnings"] == [
        "keys[0]: 'platform/alice' is revoked and stays so; `farebox keys create` makes a new key"
    ]
    rows = (await plane.ask("GET", "/v1/api-keys"))["rows"]
    assert [row["state"] for row in rows] == ["revoked"]


async def test_a_key_that_was_pruned_is_not_brought_back_either(plane: Plane) -> None:
    await apply(plane, FILE)
    await apply(plane, {**FILE, "keys": []}, prune=True)
    assert (await apply(plane, FILE))["created_keys"] == []


async def test_a_key_made_anew_by_hand_follows_the_file_again(plane: Plane) -> None:
    await apply(plane, FILE)
    await plane.ask("DELETE", "/v1/api-keys/alice")
    await plane.ask("POST", "/v1/api-keys", 201, json={"name": "alice", "workspace": "platform"})
    answer = await apply(plane, FILE)
    assert actions(answer)["key platform/alice"] == "changed"
    assert (await plane.ask("GET", "/v1/api-keys/alice"))["user"] == "a"


async def test_a_key_that_was_changed_by_hand_is_brought_in_line(plane: Plane) -> None:
    await apply(plane, FILE)
    await plane.ask("PUT", "/v1/api-keys/alice", json={"user": "mallory", "metadata": {"x": "y"}})
    (change,) = [each for each in (await apply(plane, FILE))["changes"] if each["kind"] == "key"]
    assert change["fields"] == [
        {"path": "user", "before": "mallory", "after": "a"},
        {"path": "metadata", "before": {"x": "y"}, "after": None},
    ]
    row = await plane.ask("GET", "/v1/api-keys/alice")
    assert (row["user"], row["metadata"], row["state"]) == ("a", {}, "active")


async def test_a_key_made_by_hand_is_changed_but_not_pruned(plane: Plane) -> None:
    await plane.ask("POST", "/v1/api-keys", 201, json={"name": "bob"})
    file = {"keys": [{"name": "bob", "user": "b"}]}
    assert actions(await apply(plane, file)) == {"key default/bob": "changed"}
    await apply(plane, {}, prune=True)
    assert (await plane.ask("GET", "/v1/api-keys/bob"))["state"] == "active"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"workspaces": [{"slug": "platform", "config": "x"}]},
            "workspaces[0].config: there is no config 'x'",
        ),
        (
            {"workspaces": [{"slug": "platform", "providers": ["main", "x*"]}]},
            "workspaces[0].providers[1]: there is no provider 'x*' (there are: main, toy)",
        ),
        ({"keys": [{"name": "k", "workspace": "x"}]}, "keys[0].workspace: there is no workspace 'x'"),
        ({"keys": [{"name": "k", "config": "x"}]}, "keys[0].config: there is no config 'x' (there are: c)"),
        ({"keys": [{"name": "k", "providers": ["x"]}]}, "keys[0].providers[0]: there is no provider 'x'"),
        (
            {"configs": [{"slug": "c", "config": {"targets": [{"provider": "@x"}]}}]},
            "configs[0].config.targets[0].provider: there is no provider '@x'",
        ),
        (
            {"configs": [{"slug": "c", "config": {"override_params": {"model": "@x/m"}}}]},
            "configs[0].config.override_params.model: there is no provider '@x'",
        ),
        (
            {"configs": [{"slug": "c", "config": {"provider": "openai"}}]},
            "configs[0].config.provider: there is no provider 'openai'",
        ),
    ],
)
async def test_a_reference_that_leads_nowhere_is_refused_before_anything_changes(
    plane: Plane, change: dict[str, Any], told: str
) -> None:
    message, path = await plane.refused("POST", "/v1/apply", 400, json={**FILE, **change})
    assert message.startswith(told)
    assert path == told.partition(":")[0]
    assert await names(plane) == []
    assert (await plane.ask("GET", "/v1/api-keys"))["rows"] == []


async def test_a_bare_provider_name_may_be_a_type_with_the_callers_credential(plane: Plane) -> None:
    await apply(plane, {**FILE, "configs": [{"slug": "c", "config": {"provider": "anthropic"}}]})


async def test_references_may_lead_to_what_is_stored_or_built_in(plane: Plane) -> None:
    await apply(plane, {"keys": [{"name": "k", "providers": ["demo"]}]})
    await apply(plane, {"configs": [{"slug": "c", "config": {"provider": "@anthropic"}}]})
    await apply(plane, {"workspaces": [{"slug": "w", "config": "c"}]})


async def test_prune_may_not_take_what_something_else_needs(plane: Plane) -> None:
    await apply(plane, {**FILE, "keys": []})
    body = {"slug": "mine", "config": "c"}
    await plane.ask("POST", "/v1/admin/workspaces", 201, json=body)
    message, _ = await plane.refused(
        "POST", "/v1/apply?prune=true", 400, json={"providers": FILE["providers"]}
    )
    assert message == "workspace 'mine'.config: there is no config 'c' (there are: none)"


async def test_a_workspace_with_keys_is_not_pruned(plane: Plane) -> None:
    await apply(plane, FILE)
    await plane.ask("POST", "/v1/api-keys", 201, json={"name": "bob", "workspace": "platform"})
    message, _ = await plane.refused("POST", "/v1/apply?prune=true", 400, json={})
    assert message == "workspace 'platform': cannot be pruned while it has keys (bob)"
    assert len(await names(plane)) == 6
    assert (await plane.ask("GET", "/v1/api-keys/alice"))["state"] == "active"


async def test_nothing_of_a_file_with_an_error_is_applied(plane: Plane) -> None:
    file = {**FILE, "budgets": [*FILE["budgets"], {"name": "c", "period": "never", "usd": 1}]}
    assert await plane.refused("POST", "/v1/apply", 400, json=file) == (
        "budgets[1].period: must be minute, hour, day, week, month, total, or a number of days such as 14d",
        "budgets[1].period",
    )
    assert await names(plane) == []


async def test_builtin_providers_make_way_and_come_back(plane: Plane) -> None:
    assert (await plane.store.policies.current()).providers == build_policy(0, []).providers
    await apply(plane, FILE)
    rows = (await plane.ask("GET", "/v1/providers"))["rows"]
    assert [(row["slug"], row["origin"]) for row in rows] == [("main", "apply"), ("toy", "apply")]
    await apply(plane, {}, prune=True)
    rows = (await plane.ask("GET", "/v1/providers"))["rows"]
    assert [(row["slug"], row["origin"]) for row in rows] == [("anthropic", "builtin"), ("demo", "builtin")]


async def test_two_applies_at_once_run_one_after_the_other(plane: Plane) -> None:
    files = [{**FILE, "budgets": [{"name": "b", "period": "day", "usd": amount}]} for amount in range(6)]
    answers = await asyncio.gather(*(apply(plane, file) for file in files))
    assert sorted(answer["version"] for answer in answers) == [1, 2, 3, 4, 5, 6]
    assert sum(len(answer["created_keys"]) for answer in answers) == 1
    rows = (await plane.ask("GET", "/v1/policies/usage-limits"))["rows"]
    last = max(answers, key=lambda answer: answer["version"])
    assert last["changes"][-1]["fields"][0]["after"] == rows[0]["usd"]


async def test_an_apply_plans_anew_when_another_process_wrote_first(tmp_path: Path) -> None:
    async with admin_plane(tmp_path, races=3) as plane:
        answer = await apply(plane, FILE)
        assert answer["version"] == 1
        assert len(answer["created_keys"]) == 1


async def test_an_apply_gives_up_when_others_do_not_stop_writing(tmp_path: Path) -> None:
    async with admin_plane(tmp_path, races=100) as plane:
        with pytest.raises(Conflict, match="changed by somebody else"):
            await apply_document(parse_policy(FILE), plane.ports, actor="test")
        assert (await plane.ask("GET", "/v1/api-keys"))["rows"] == []


async def test_a_key_that_another_process_made_meanwhile_is_brought_in_line(plane: Plane) -> None:
    made = await plane.ask("POST", "/v1/api-keys", 201, json={"name": "bob"})
    ports = replace(plane.ports, keys=cast(Keys, LateKeys(plane.store.keys)))
    applied = await apply_document(
        parse_policy({"keys": [{"name": "bob", "user": "b"}]}), ports, actor="test"
    )
    assert applied.created_keys == ()
    row = await plane.ask("GET", "/v1/api-keys/bob")
    assert (row["id"], row["user"]) == (made["id"], "b")


async def test_secrets_of_new_keys_do_not_show_when_values_are_printed(plane: Plane) -> None:
    applied = await apply_document(parse_policy(FILE), plane.ports, actor="test")
    assert applied.created_keys[0].secret not in repr(applied)
