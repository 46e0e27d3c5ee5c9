"""Admin keys: made, listed and revoked by whoever holds one, and never all of them gone."""

import pytest

from farebox.domain.errors import Conflict
from farebox.http.admin.keys.bootstrap import first_admin_key
from tests.http.admin.plane import CountingBytes, Plane
from tests.support.builders import NOON, FixedClock, an_admin_key


async def test_a_new_admin_key_opens_the_plane_and_is_shown_once(plane: Plane) -> None:
    made = (await plane.client.post("/v1/admin-keys", json={"name": "ci"})).json()
    told = await plane.client.get("/v1/admin-keys", headers={"authorization": f"Bearer {made['key']}"})
    rows = told.json()["rows"]
    assert [(row["name"], row["state"]) for row in rows] == [("ci", "active"), ("root", "active")]
    assert made["key"] not in told.text
    audited = (await plane.ports.reports.audit()).rows[0]
    assert (audited.actor, audited.action, audited.kind) == ("admin:root", "create", "admin_key")


async def test_a_revoked_admin_key_opens_nothing(plane: Plane) -> None:
    made = (await plane.client.post("/v1/admin-keys", json={"name": "ci"})).json()
    revoked = await plane.client.delete("/v1/admin-keys/ci")
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    refused = await plane.client.get("/v1/admin-keys", headers={"authorization": f"Bearer {made['key']}"})
    assert refused.status_code == 401


async def test_the_last_admin_key_stays(plane: Plane) -> None:
    told = await plane.client.delete("/v1/admin-keys/root")
    assert told.status_code == 409
    assert "last admin key" in told.json()["error"]["message"]
    assert (await plane.client.get("/v1/admin-keys")).status_code == 200


@pytest.mark.parametrize("name", ["", "-", "a b", "x" * 65, "naïve"])
async def test_a_name_that_is_none_is_refused(plane: Plane, name: str) -> None:
    told = await plane.client.post("/v1/admin-keys", json={"name": name})
    assert told.status_code == 400
    assert told.json()["error"]["path"] == "name"


async def test_a_name_in_use_or_unknown_is_told(plane: Plane) -> None:
    assert (await plane.client.post("/v1/admin-keys", json={"name": "root"})).status_code == 409
    assert (await plane.client.delete("/v1/admin-keys/nobody")).status_code == 404


async def test_the_first_admin_key_is_not_made_while_one_opens(plane: Plane) -> None:
    keys = plane.ports.keys
    with pytest.raises(Conflict, match="an admin key already: 'root'"):
        await first_admin_key(keys, FixedClock(), CountingBytes())
    await keys.revoke_admin_key(an_admin_key().id, NOON)
    secret = await first_admin_key(keys, FixedClock(), CountingBytes())
    rows = (await plane.client.get("/v1/admin-keys", headers={"authorization": f"Bearer {secret}"})).json()
    assert [row["name"] for row in rows["rows"]] == ["first-2", "root"]
