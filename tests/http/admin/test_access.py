"""Who gets in: every route, with every key that is not a valid admin key."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import httpx2
import pytest
from msgspec.structs import replace

from farebox.adapters.local.keys import LocalKeys
from farebox.domain.errors import StoreFault
from farebox.domain.identity import key_hash
from farebox.http.admin.app import build_admin_app
from farebox.ports import Keys
from tests.http.admin.plane import ADMIN_SECRET, Plane, admin_plane
from tests.support.builders import NOON, a_key, a_secret, an_admin_key

REFUSAL = {
    "type": "error",
    "error": {
        "type": "authentication_error",
        "message": "This needs a valid farebox admin key: send Authorization: Bearer fba-... or "
        "x-portkey-api-key.",
    },
}
GATEWAY, REVOKED, EXPIRED = a_secret(1), a_secret(2, "fba-"), a_secret(3, "fba-")
BAD_HEADERS: dict[str, dict[str, str]] = {
    "none": {},
    "gateway key": {"authorization": f"Bearer {GATEWAY}"},
    "gateway key of Portkey's header": {"x-portkey-api-key": GATEWAY},
    "unknown": {"authorization": f"Bearer {a_secret(9, 'fba-')}"},
    "revoked": {"authorization": f"Bearer {REVOKED}"},
    "expired": {"authorization": f"Bearer {EXPIRED}"},
    "typing error": {"authorization": f"Bearer {ADMIN_SECRET[:-1]}"},
    "other scheme": {"authorization": f"Basic {ADMIN_SECRET}"},
    "x-api-key": {"x-api-key": ADMIN_SECRET},
    "empty": {"authorization": "Bearer "},
}


async def add_bad_keys(plane: Plane) -> None:
    await plane.store.keys.add_gateway_key(a_key(), key_hash(GATEWAY))
    revoked = an_admin_key(id="adm_2", name="revoked", revoked_at=NOON)
    expired = an_admin_key(id="adm_3", name="expired", expires_at=NOON)
    await plane.store.keys.add_admin_key(revoked, key_hash(REVOKED))
    await plane.store.keys.add_admin_key(expired, key_hash(EXPIRED))


@pytest.mark.parametrize("headers", BAD_HEADERS.values(), ids=BAD_HEADERS)
async def test_no_route_opens_to_anything_but_a_valid_admin_key(
    plane: Plane, headers: dict[str, str]
) -> None:
    await add_bad_keys(plane)
    paths = (await plane.ask("GET", "/admin/openapi.json"))["paths"]
    routes = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    del plane.client.headers["authorization"]
    answers = {}
    for method, path in routes:
        filled = path.replace("{name_or_id}", "alice").replace("{name}", "x").replace("{by}", "users")
        answer = await plane.client.request(method, filled, headers=headers, json={})
        answers[method, path] = (answer.status_code, answer.json())
    assert answers == dict.fromkeys(routes, (401, REFUSAL))
    assert len(routes) > 40


@pytest.mark.parametrize("header", ["authorization", "Authorization", "x-portkey-api-key"])
async def test_an_admin_key_opens_in_either_header(plane: Plane, header: str) -> None:
    del plane.client.headers["authorization"]
    value = ADMIN_SECRET if header.startswith("x-") else f"bearer {ADMIN_SECRET}"
    await plane.ask("GET", "/v1/api-keys", headers={header: value})


async def test_an_admin_key_is_found_beside_another_bearer(plane: Plane) -> None:
    headers = {"authorization": "Bearer sk-ant-oat01-x", "x-portkey-api-key": ADMIN_SECRET}
    await plane.ask("GET", "/v1/api-keys", headers=headers)


async def test_an_admin_key_that_is_revoked_stops_at_once(plane: Plane) -> None:
    await plane.ask("GET", "/v1/api-keys")
    await plane.store.keys.revoke_admin_key("adm_1", NOON)
    await plane.ask("GET", "/v1/api-keys", 401)


async def test_an_admin_key_ends_when_it_expires(plane: Plane) -> None:
    secret = a_secret(5, "fba-")
    ending = an_admin_key(id="adm_5", name="ending", expires_at=NOON + timedelta(seconds=1))
    await plane.store.keys.add_admin_key(ending, key_hash(secret))
    headers = {"authorization": f"Bearer {secret}"}
    await plane.ask("GET", "/v1/api-keys", headers=headers)
    plane.clock.advance(timedelta(seconds=1))
    await plane.ask("GET", "/v1/api-keys", 401, headers=headers)


async def test_the_description_is_open_and_loads_nothing_from_elsewhere(plane: Plane) -> None:
    del plane.client.headers["authorization"]
    page = (await plane.client.get("/admin/docs")).text
    assert "<code>/v1/api-keys/{name_or_id}/rotate</code>" in page
    assert "//" not in page.replace("<!--", "")
    assert "<script" not in page


async def test_metrics_are_prometheus_text(plane: Plane) -> None:
    answer = await plane.client.get("/admin/metrics")
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
        "farebox_requests_total 7\n",
    )


async def test_an_unknown_route_and_a_wrong_method_are_told_alike(plane: Plane) -> None:
    for method, path in (("GET", "/v1/nothing"), ("PATCH", "/v1/api-keys")):
        assert await plane.ask(method, path, 404) == {
            "type": "error",
            "error": {"type": "not_found_error", "message": f"farebox has no route {method} {path}."},
        }


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1_024):
        yield b"#" * 1_023 + b"\n"
    yield b"#"


async def test_a_body_beyond_the_limit_is_refused_whether_or_not_it_says_its_length(plane: Plane) -> None:
    for path in ("/v1/apply", "/v1/api-keys"):
        for body in (b"#" * 1_048_577, in_pieces(1_048_576)):
            refused = await plane.ask("POST", path, 413, content=body)
            assert refused["error"]["type"] == "request_too_large"


class Denied:
    """A store that refuses its own process, in the words of AWS."""

    async def __call__(self, *args: object, **options: object) -> None:
        raise StoreFault("GetItem: AccessDeniedException User: arn:aws:sts::123456789012:assumed-role/r")


@pytest.mark.parametrize("is_known", [True, False])
async def test_why_the_store_cannot_answer_is_told_to_administrators_alone(
    tmp_path: Path, is_known: bool
) -> None:
    async with admin_plane(tmp_path) as plane:
        keys = Failing(plane.store.keys, {"list_gateway_keys" if is_known else "find_admin_key": Denied()})
        app = build_admin_app(replace(plane.ports, keys=cast(Keys, keys)))
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://admin",
            headers={"authorization": f"Bearer {ADMIN_SECRET}"},
        ) as client:
            answer = await client.get("/v1/api-keys")
    assert answer.status_code == 503
    assert ("arn:aws" in answer.text) is is_known


class Failing:
    """A store of which some methods are others."""

    def __init__(self, keys: LocalKeys, others: dict[str, object]) -> None:
        self._keys, self._others = keys, others

    def __getattr__(self, name: str) -> object:
        return self._others.get(name) or getattr(self._keys, name)


async def test_a_store_that_is_gone_is_a_503_and_not_an_open_door(plane: Plane) -> None:
    plane.store.close()
    assert (await plane.client.get("/v1/api-keys")).status_code in (500, 503)
