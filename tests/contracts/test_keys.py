"""What every store of keys does."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from farebox.domain.errors import ConfigInvalid, Conflict, NotFound
from farebox.domain.identity import GatewayKey
from farebox.ports import AuditEntry
from tests.support.builders import NOON, a_hash, a_key, an_admin_key
from tests.support.wings import Wing

MINUTE = timedelta(minutes=1)

FULL_KEY = a_key(
    metadata={"team": "core", 'odd."name': "ü"},
    models=("claude-*",),
    providers=("anthropic", "demo"),
    config="resilient",
    allow_config_override=False,
    expires_at=NOON + timedelta(days=30, microseconds=1),
)


async def test_a_key_is_found_by_its_hash_as_it_was_stored(wing: Wing) -> None:
    await wing.keys.add_gateway_key(FULL_KEY, a_hash(1))
    assert await wing.keys.find_gateway_key(a_hash(1)) == FULL_KEY
    assert await wing.keys.find_gateway_key(a_hash(2)) is None


async def test_revoked_and_expired_keys_are_found_too(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(expires_at=NOON - MINUTE), a_hash(1))
    await wing.keys.update_gateway_key(a_key(expires_at=NOON - MINUTE, revoked_at=NOON))
    assert await wing.keys.find_gateway_key(a_hash(1)) == a_key(expires_at=NOON - MINUTE, revoked_at=NOON)


async def test_a_gateway_key_is_no_admin_key_and_the_other_way_round(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1))
    await wing.keys.add_admin_key(an_admin_key(), a_hash(2))
    assert await wing.keys.find_admin_key(a_hash(1)) is None
    assert await wing.keys.find_gateway_key(a_hash(2)) is None
    assert await wing.keys.find_admin_key(a_hash(2)) == an_admin_key()


async def test_an_open_name_is_unique_in_its_workspace(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(id="key_1"), a_hash(1))
    with pytest.raises(Conflict):
        await wing.keys.add_gateway_key(a_key(id="key_2"), a_hash(2))
    assert await wing.keys.find_gateway_key(a_hash(2)) is None
    await wing.keys.add_gateway_key(a_key(id="key_3", workspace="other"), a_hash(3))


async def test_a_name_is_free_again_once_its_key_is_revoked(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(id="key_1"), a_hash(1))
    await wing.keys.update_gateway_key(a_key(id="key_1", revoked_at=NOON))
    await wing.keys.add_gateway_key(a_key(id="key_2"), a_hash(2))
    assert await wing.keys.get_gateway_key("alice") == a_key(id="key_2")
    assert await wing.keys.get_gateway_key("key_1") == a_key(id="key_1", revoked_at=NOON)


async def test_a_name_of_revoked_keys_alone_means_the_newest(wing: Wing) -> None:
    for number in (1, 2, 3):
        key = a_key(id=f"key_{number}")
        await wing.keys.add_gateway_key(key, a_hash(number))
        # The middle one is revoked last.
        await wing.keys.update_gateway_key(replace(key, revoked_at=NOON + MINUTE * (5 if number == 2 else 1)))
    assert (await wing.keys.get_gateway_key("alice")).id == "key_2"


async def test_a_name_in_several_workspaces_needs_its_workspace(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(id="key_1", workspace="platform"), a_hash(1))
    await wing.keys.add_gateway_key(a_key(id="key_2", workspace="other"), a_hash(2))
    with pytest.raises(Conflict, match="Workspaces other, platform each have a key 'alice'"):
        await wing.keys.get_gateway_key("alice")
    assert (await wing.keys.get_gateway_key("alice", "other")).id == "key_2"
    assert (await wing.keys.get_gateway_key("key_1")).id == "key_1"


async def test_a_key_of_another_workspace_is_not_there(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1))
    for name_or_id, workspace in (("alice", "other"), ("key_1", "other"), ("bob", None)):
        with pytest.raises(NotFound):
            await wing.keys.get_gateway_key(name_or_id, workspace)


async def test_an_update_replaces_everything_but_the_secret(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1))
    await wing.keys.update_gateway_key(replace(FULL_KEY, name="alicia", shown="fb-forged"))
    assert await wing.keys.find_gateway_key(a_hash(1)) == replace(FULL_KEY, name="alicia")
    assert await wing.keys.get_gateway_key("alicia") == replace(FULL_KEY, name="alicia")


async def test_an_update_of_no_key_is_refused(wing: Wing) -> None:
    with pytest.raises(NotFound):
        await wing.keys.update_gateway_key(a_key())


async def test_an_update_cannot_take_a_name_in_use(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(id="key_1"), a_hash(1))
    await wing.keys.add_gateway_key(a_key(id="key_2", name="bob"), a_hash(2))
    with pytest.raises(Conflict):
        await wing.keys.update_gateway_key(a_key(id="key_2", name="alice"))
    assert (await wing.keys.get_gateway_key("bob")).id == "key_2"


async def test_an_update_of_what_was_read_before_somebody_elses_is_refused(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1))
    read = await wing.keys.get_gateway_key("alice")
    narrowed = replace(read, models=("claude-haiku-*",))
    await wing.keys.update_gateway_key(narrowed, before=read)
    with pytest.raises(Conflict, match="changed meanwhile"):
        await wing.keys.update_gateway_key(replace(read, user="bob"), before=read)
    assert await wing.keys.get_gateway_key("alice") == narrowed
    # A new secret is no change of what the key may do.
    await wing.keys.add_secret(read.id, a_hash(2), "fb-new", NOON + MINUTE)
    await wing.keys.update_gateway_key(replace(narrowed, user="bob"), before=narrowed)
    assert (await wing.keys.get_gateway_key("alice")).user == "bob"


async def test_revoking_is_final(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1))
    await wing.keys.update_gateway_key(a_key(revoked_at=NOON))
    with pytest.raises(Conflict, match="is revoked, which is final"):
        await wing.keys.update_gateway_key(a_key(user="mallory"))
    assert await wing.keys.find_gateway_key(a_hash(1)) == a_key(revoked_at=NOON)


async def test_a_rotated_secret_opens_until_its_overlap_ends(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1))
    await wing.keys.add_secret("key_1", a_hash(2), "fb-second", NOON + MINUTE)
    rotated = a_key(shown="fb-second")
    assert await wing.keys.find_gateway_key(a_hash(1)) == rotated
    assert await wing.keys.find_gateway_key(a_hash(2)) == rotated
    wing.clock.advance(MINUTE)
    assert await wing.keys.find_gateway_key(a_hash(1)) is None
    assert await wing.keys.find_gateway_key(a_hash(2)) == rotated


async def test_a_second_rotation_does_not_lengthen_the_first_overlap(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1))
    await wing.keys.add_secret("key_1", a_hash(2), "fb-second", NOON + MINUTE)
    await wing.keys.add_secret("key_1", a_hash(3), "fb-third", NOON + 5 * MINUTE)
    wing.clock.advance(2 * MINUTE)
    found = [await wing.keys.find_gateway_key(a_hash(number)) for number in (1, 2, 3)]
    assert found == [None, a_key(shown="fb-third"), a_key(shown="fb-third")]


async def test_a_repeated_rotation_changes_nothing(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1))
    for _ in range(2):
        await wing.keys.add_secret("key_1", a_hash(2), "fb-second", NOON + MINUTE)
    wing.clock.advance(2 * MINUTE)
    assert await wing.keys.find_gateway_key(a_hash(2)) == a_key(shown="fb-second")


async def test_only_a_key_can_be_rotated(wing: Wing) -> None:
    with pytest.raises(NotFound):
        await wing.keys.add_secret("key_1", a_hash(2), "fb-second", NOON)


async def test_keys_are_listed_by_name_page_by_page(wing: Wing) -> None:
    keys = [a_key(id=f"key_{number}", name=f"name {9 - number}") for number in range(7)]
    for number, key in enumerate(keys):
        await wing.keys.add_gateway_key(key, a_hash(number))
    await wing.keys.update_gateway_key(replace(keys[3], revoked_at=NOON))
    expected = [replace(key, revoked_at=NOON) if key is keys[3] else key for key in reversed(keys)]
    assert await _all_pages(wing, limit=3) == [expected[:3], expected[3:6], expected[6:]]
    assert await _all_pages(wing, limit=7) == [expected]


async def test_a_list_can_be_narrowed_to_a_workspace(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(id="key_1", workspace="platform"), a_hash(1))
    await wing.keys.add_gateway_key(a_key(id="key_2", workspace="other"), a_hash(2))
    assert [key.id for key in (await wing.keys.list_gateway_keys(workspace="other")).rows] == ["key_2"]


async def test_a_key_made_between_two_pages_neither_repeats_nor_hides_others(wing: Wing) -> None:
    for number, name in enumerate("bdf"):
        await wing.keys.add_gateway_key(a_key(id=f"key_{number}", name=name), a_hash(number))
    first = await wing.keys.list_gateway_keys(limit=2)
    for number, name in ((10, "a"), (11, "e")):
        await wing.keys.add_gateway_key(a_key(id=f"key_{number}", name=name), a_hash(number))
    second = await wing.keys.list_gateway_keys(limit=2, cursor=first.next)
    assert [key.name for key in (*first.rows, *second.rows)] == ["b", "d", "e", "f"]


@pytest.mark.parametrize("cursor", ["nonsense", "!", "WzFd", "bnVsbA", "é"])
async def test_a_cursor_of_another_list_is_refused(wing: Wing, cursor: str) -> None:
    with pytest.raises(ConfigInvalid, match="not a cursor of this list"):
        await wing.keys.list_gateway_keys(cursor=cursor)


async def test_admin_keys_are_listed_by_name_and_revoked_once(wing: Wing) -> None:
    await wing.keys.add_admin_key(an_admin_key(), a_hash(1))
    await wing.keys.add_admin_key(an_admin_key(id="adm_2", name="ci"), a_hash(2))
    for moment in (NOON, NOON + MINUTE):
        await wing.keys.revoke_admin_key("adm_1", moment)
    revoked = an_admin_key(revoked_at=NOON)
    assert await wing.keys.find_admin_key(a_hash(1)) == revoked
    assert list(await wing.keys.list_admin_keys()) == [an_admin_key(id="adm_2", name="ci"), revoked]


async def test_an_open_admin_name_is_unique(wing: Wing) -> None:
    await wing.keys.add_admin_key(an_admin_key(), a_hash(1))
    with pytest.raises(Conflict):
        await wing.keys.add_admin_key(an_admin_key(id="adm_2"), a_hash(2))
    await wing.keys.revoke_admin_key("adm_1", NOON)
    await wing.keys.add_admin_key(an_admin_key(id="adm_2"), a_hash(2))
    assert await wing.keys.find_admin_key(a_hash(2)) == an_admin_key(id="adm_2")


async def test_revoking_no_admin_key_is_refused(wing: Wing) -> None:
    with pytest.raises(NotFound):
        await wing.keys.revoke_admin_key("adm_1", NOON)


async def test_every_change_of_a_key_is_audited_with_what_it_changed(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1), actor="root")
    await wing.keys.update_gateway_key(a_key(user="bob"), actor="root")
    await wing.keys.update_gateway_key(a_key(user="bob"), actor="root")
    await wing.keys.add_secret("key_1", a_hash(2), "fb-second", NOON, actor="root")
    await wing.keys.update_gateway_key(a_key(user="bob", revoked_at=NOON), actor="root")
    await wing.keys.add_admin_key(an_admin_key(), a_hash(3))
    await wing.keys.revoke_admin_key("adm_1", NOON)
    entries = (await wing.reports.audit()).rows
    assert [(entry.actor, entry.action, entry.kind, entry.name) for entry in reversed(entries)] == [
        ("root", "create", "gateway_key", "platform/alice"),
        ("root", "update", "gateway_key", "platform/alice"),
        ("root", "rotate", "gateway_key", "platform/alice"),
        ("root", "revoke", "gateway_key", "platform/alice"),
        ("farebox", "create", "admin_key", "root"),
        ("farebox", "revoke", "admin_key", "root"),
    ]
    update = entries[-2]
    assert update.at == NOON
    assert _changed(update) == {"user": ("alice@example.com", "bob")}


async def test_a_refused_change_is_not_audited(wing: Wing) -> None:
    await wing.keys.add_gateway_key(a_key(), a_hash(1))
    with pytest.raises(Conflict):
        await wing.keys.add_gateway_key(a_key(id="key_2"), a_hash(2))
    assert len((await wing.reports.audit()).rows) == 1


def _changed(entry: AuditEntry) -> dict[str, tuple[object, object]]:
    assert entry.before is not None
    assert entry.after is not None
    return {
        name: (entry.before[name], entry.after[name])
        for name in entry.after
        if entry.before[name] != entry.after[name]
    }


async def _all_pages(wing: Wing, *, limit: int) -> list[list[GatewayKey]]:
    pages: list[list[GatewayKey]] = []
    cursor = None
    while cursor is not None or not pages:
        page = await wing.keys.list_gateway_keys(limit=limit, cursor=cursor)
        pages.append(list(page.rows))
        cursor = page.next
    return pages
