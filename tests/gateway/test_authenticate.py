"""Whose request it is: the four places of a key, the caller's own credential beside it, who is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from farebox.domain.errors import KeyRefused, RequestMalformed
from farebox.domain.identity import GatewayKey
from farebox.domain.plan import Caller, CallerCredential
from farebox.gateway.authenticate import authenticate, with_metadata
from farebox.gateway.incoming import IncomingRequest
from farebox.wire.http import Headers
from tests.gateway.stage import SECRET, Told, a_file, a_provider, a_stage, apply, asking, revoke
from tests.support.builders import NOON, FixedClock, a_hash, a_key, a_secret
from tests.support.wings import open_store

ALICE, BOB = a_secret(1).encode(), a_secret(2).encode()
OAUTH = b"sk-ant-oat01-of-alice"
API_KEY = b"sk-ant-api03-of-alice"

Authenticating = Callable[[Headers], Awaitable[Caller]]


async def no_body() -> bytes:
    return b""


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def who(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Authenticating]:
    """Authenticate against a store that knows alice (secret 1) and bob (secret 2)."""
    store = open_store(tmp_path, clock)
    await store.keys.add_gateway_key(a_key(), a_hash(1))
    await store.keys.add_gateway_key(a_key(id="key_2", name="bob", metadata={}), a_hash(2))

    async def ask(headers: Headers) -> Caller:
        request = IncomingRequest("req_1", "messages", b"", headers, no_body)
        return with_metadata(request, await authenticate(request, store.keys, clock))

    yield ask
    store.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-farebox-key", ALICE),
        (b"x-portkey-api-key", ALICE),
        (b"authorization", b"Bearer " + ALICE),
        (b"authorization", b"bearer  " + ALICE),
        (b"x-api-key", ALICE),
    ],
)
async def test_a_key_opens_from_each_of_its_four_places(
    name: bytes, value: bytes, who: Authenticating
) -> None:
    assert await who([(b"accept", b"*/*"), (name, value)]) == Caller(
        key=a_key(),
        credential=None,
        metadata={"team": "core"},
        session_id=None,
        agent_id=None,
        trace_id="req_1",
    )


PLACES = [
    (b"x-farebox-key", b"%b"),
    (b"x-portkey-api-key", b"%b"),
    (b"authorization", b"Bearer %b"),
    (b"x-api-key", b"%b"),
]


@pytest.mark.parametrize("first", range(3))
async def test_the_earlier_place_wins_over_every_later_one(first: int, who: Authenticating) -> None:
    for later in range(first + 1, 4):
        places = [(PLACES[later][0], PLACES[later][1] % BOB), (PLACES[first][0], PLACES[first][1] % ALICE)]
        assert (await who(places)).key.name == "alice", PLACES[later]


@pytest.mark.parametrize("name", [b"x-farebox-key", b"x-portkey-api-key"])
@pytest.mark.parametrize("value", [b"", b"sk-ant-api03-x", b"fb-too-short", "fb-\xe9".encode("latin-1")])
async def test_a_header_of_ours_decides_whatever_it_holds(
    name: bytes, value: bytes, who: Authenticating
) -> None:
    with pytest.raises(KeyRefused) as refused:
        await who([(name, value), (b"authorization", b"Bearer " + ALICE)])
    assert not refused.value.missing


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer " + OAUTH)],
        [(b"authorization", b"Basic " + ALICE)],
        [(b"authorization", ALICE)],
        [(b"x-api-key", API_KEY)],
        [(b"cookie", b"key=" + ALICE)],
    ],
)
async def test_without_a_key_the_places_are_named(headers: Headers, who: Authenticating) -> None:
    with pytest.raises(KeyRefused) as refused:
        await who(headers)
    assert refused.value.message == (
        "No farebox gateway key came with this request. "
        "Send it as x-farebox-key or as a bearer token (Authorization: Bearer fb-...)."
    )


@pytest.mark.parametrize(
    ("headers", "credential"),
    [
        ([(b"authorization", b"Bearer " + OAUTH)], CallerCredential(b"authorization", b"Bearer " + OAUTH)),
        ([(b"x-api-key", API_KEY)], CallerCredential(b"x-api-key", API_KEY)),
        (
            [(b"x-api-key", API_KEY), (b"authorization", b"Bearer " + OAUTH)],
            CallerCredential(b"authorization", b"Bearer " + OAUTH),
        ),
        (
            [(b"authorization", b"Bearer " + ALICE), (b"x-api-key", API_KEY)],
            CallerCredential(b"x-api-key", API_KEY),
        ),
        ([(b"authorization", b"Bearer sk-proj-other"), (b"x-api-key", b"helper-output")], None),
        ([(b"authorization", b"Bearer " + BOB), (b"x-api-key", BOB)], None),
    ],
)
async def test_only_an_anthropic_credential_beside_the_key_is_the_callers_own(
    headers: Headers, credential: CallerCredential | None, who: Authenticating
) -> None:
    caller = await who([(b"x-farebox-key", ALICE), *headers])
    assert (caller.key.name, caller.credential) == ("alice", credential)


async def test_a_login_is_a_subscription_and_an_api_key_is_not(who: Authenticating) -> None:
    logins = [(b"x-farebox-key", ALICE), (b"authorization", b"Bearer " + OAUTH)]
    keys = [(b"x-farebox-key", ALICE), (b"x-api-key", API_KEY)]
    credentials = [(await who(headers)).credential for headers in (logins, keys)]
    assert [credential and credential.is_subscription for credential in credentials] == [True, False]
    assert OAUTH.decode() not in repr(credentials)


async def test_a_request_that_is_printed_shows_none_of_its_headers() -> None:
    request = IncomingRequest("req_1", "messages", b"", [(b"x-farebox-key", ALICE)], no_body)
    assert repr(request) == "IncomingRequest(req_1, messages)"


async def test_the_keys_own_metadata_wins_over_what_the_request_says(who: Authenticating) -> None:
    told = b'{"team": "payments", "ticket": "FB-7"}'
    for name in (b"x-farebox-metadata", b"x-portkey-metadata"):
        caller = await who([(b"x-farebox-key", ALICE), (name, told)])
        assert caller.metadata == {"team": "core", "ticket": "FB-7"}


async def test_our_own_spelling_of_a_header_goes_before_the_other(who: Authenticating) -> None:
    both = [(b"x-portkey-trace-id", b"theirs"), (b"x-farebox-trace-id", b"ours")]
    assert (await who([(b"x-farebox-key", ALICE), *both])).trace_id == "ours"
    assert (await who([(b"x-farebox-key", ALICE), *both[:1]])).trace_id == "theirs"


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b"{", "must be a JSON object of strings"),
        (b'["a"]', "must be a JSON object of strings"),
        (b'{"a": 1}', "must be a JSON object of strings"),
        (b'{"a": "' + b"x" * 129 + b'"}', "'a' is longer than 128 characters"),
        (b'{"a": "' + b"x" * 4100 + b'"}', "must be at most 4096 bytes"),
        (rb'{"a": "x\uffff"}', "'a' holds a character"),
        (rb'{"a": "\u0000"}', "'a' holds a character"),
        ('{"a": "\ufffe"}'.encode(), "'a' holds a character"),
        (rb'{"\u0007": "x"}', "'\\x07' holds a character"),
        (json.dumps({str(number): "" for number in range(33)}).encode(), "must be at most 32 names"),
    ],
)
async def test_broken_metadata_is_refused_by_name(value: bytes, detail: str, who: Authenticating) -> None:
    with pytest.raises(RequestMalformed) as refused:
        await who([(b"x-farebox-key", ALICE), (b"x-farebox-metadata", value)])
    assert refused.value.message.startswith(f"x-farebox-metadata: {detail}")


async def test_ids_keep_only_what_may_stand_in_a_log_and_in_a_header(who: Authenticating) -> None:
    caller = await who(
        [
            (b"x-farebox-key", ALICE),
            (b"x-claude-code-session-id", b"s\x1b[31m1\xe9" + b"x" * 200),
            (b"x-claude-code-agent-id", b"  "),
            (b"x-farebox-trace-id", b"t\x001\x7f"),
        ]
    )
    assert (caller.session_id, caller.agent_id, caller.trace_id) == ("s[31m1" + "x" * 122, None, "t1")


async def test_an_expired_key_opens_until_its_very_moment(tmp_path: Path, clock: FixedClock) -> None:
    async with a_stage(tmp_path, clock=clock) as stage:
        key = await stage.key_named("alice")
        await stage.store.keys.update_gateway_key(replace(key, expires_at=NOON + timedelta(hours=1)))
        clock.advance(timedelta(minutes=59, seconds=59))
        assert (await stage.ask(asking())).status == 200
        clock.advance(timedelta(seconds=1))
        assert (await stage.ask(asking())).status == 401


async def refused_for(change: Callable[[GatewayKey], GatewayKey], folder: Path) -> Told:
    async with a_stage(folder) as stage:
        key = await stage.key_named("alice")
        await stage.store.keys.update_gateway_key(change(key))
        told = await stage.ask(asking())
        assert (stage.upstream.sent, await stage.rows()) == ([], [])
        return told


async def test_unknown_revoked_expired_and_misspelt_keys_get_the_same_bytes(tmp_path: Path) -> None:
    past = NOON - timedelta(days=1)
    told = [
        await refused_for(lambda key: replace(key, revoked_at=past), tmp_path / "revoked"),
        await refused_for(lambda key: replace(key, expires_at=past), tmp_path / "expired"),
        await refused_for(lambda key: replace(key, expires_at=past, revoked_at=past), tmp_path / "both"),
    ]
    for secret in (a_secret(99), a_secret(99)[:-1] + "!", "fb-"):
        async with a_stage(tmp_path / f"unknown-{len(told)}") as stage:
            told.append(await stage.tell(asking(), [(b"x-farebox-key", secret.encode())]))
    assert told[1:] == told[:1] * 5
    assert told[0].error == (
        401,
        "authentication_error",
        "This farebox gateway key is not valid (unknown, revoked or expired). "
        "Ask whoever gave it to you for a new one.",
    )
    assert told[0].header("x-should-retry") == "false"


async def test_a_revoked_key_is_refused_at_once_and_an_open_stream_of_it_ends_as_usual(
    tmp_path: Path,
) -> None:
    async with a_stage(tmp_path) as stage:
        stream = await stage.begin(asking())
        await revoke(stage, "alice")
        assert (await stage.ask(asking())).status == 401
        assert (await stage.ask(asking(), path="/v1/messages/count_tokens")).status == 401
        while await stream.receive():
            continue
        assert len(stage.upstream.sent) == 1
        assert [row.status for row in await stage.rows()] == [200]


async def test_a_rotated_key_opens_with_both_secrets_until_the_old_one_ends(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        key, old, new = await stage.key_named("alice"), stage.keys["alice"], a_secret(77)
        until = NOON + timedelta(hours=1)
        await stage.store.keys.add_secret(key.id, a_hash(77), "fb-000000", until)
        stage.keys["new"] = new
        assert [(await stage.ask(asking(), key=name)).status for name in ("alice", "new")] == [200, 200]
        stage.clock.advance(timedelta(hours=1))
        assert [(await stage.ask(asking(), key=name)).status for name in ("alice", "new")] == [401, 200]
        assert old != new


CALLER = a_file(providers=[a_provider("mine", credential="caller")])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("file", [a_file(), CALLER])
async def test_our_key_is_never_forwarded(
    place: tuple[bytes, bytes], file: dict[str, object], tmp_path: Path
) -> None:
    async with a_stage(tmp_path, file) as stage:
        name, form = place
        theirs = (
            (b"x-api-key", API_KEY) if name == b"authorization" else (b"authorization", b"Bearer " + OAUTH)
        )
        told = await stage.tell(asking(), [(name, form % stage.keys["alice"].encode()), theirs])
        assert told.status == 200
        [sent] = stage.upstream.sent
        everything = b"".join(name + value for name, value in sent.headers) + sent.body + sent.target
        assert b"fb-" not in everything


async def test_the_callers_own_credential_travels_untouched_where_the_provider_takes_it(
    tmp_path: Path,
) -> None:
    async with a_stage(tmp_path, CALLER) as stage:
        for own in [(b"authorization", b"Bearer " + OAUTH), (b"x-api-key", API_KEY)]:
            await stage.tell(asking(), [(b"x-farebox-key", stage.keys["alice"].encode()), own])
            headers = stage.upstream.sent[-1].headers
            assert [each for each in headers if each[0] in (b"authorization", b"x-api-key")] == [own]


async def test_the_callers_own_credential_stops_here_where_the_provider_has_one(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        told = await stage.ask(asking(), authorization=f"Bearer {OAUTH.decode()}", x_api_key=API_KEY.decode())
        assert told.status == 200
        headers = stage.upstream.sent[0].headers
        credentials = [each for each in headers if each[0] in (b"authorization", b"x-api-key")]
        assert credentials == [(b"x-api-key", SECRET.encode())]


async def test_a_helper_that_sends_the_key_in_both_headers_is_fine(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        alice = stage.keys["alice"]
        told = await stage.ask(asking(), key=None, authorization=f"Bearer {alice}", x_api_key=alice)
        assert told.status == 200


async def test_a_key_made_after_the_start_opens_at_once(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        await apply(stage, {"keys": [{"name": "carol"}]})
        assert (await stage.ask(asking(), key="carol")).status == 200
