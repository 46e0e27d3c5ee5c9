"""Who serves a request under a load balance: by its weights, and by what keeps a caller."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.plan import Caller
from farebox.domain.routing.reading import config_tree
from farebox.domain.routing.tree import Leaf, LoadBalance
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.routing.choosing import RequestChooser
from farebox.gateway.routing.facts import facts_of
from farebox.wire.http import Headers
from farebox.wire.messages import read_head
from tests.support.builders import a_key

CACHED = {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]}


async def no_body() -> bytes:
    return b""


class Seeded:
    """Bytes that look drawn and are the same in each run."""

    def __init__(self) -> None:
        self.calls = 0

    def bytes(self, count: int) -> bytes:
        self.calls += 1
        return hashlib.sha256(str(self.calls).encode()).digest()[:count]


def a_chooser(
    session: str | None = None,
    *,
    randomness: Seeded | None = None,
    team: str | None = None,
    headers: Headers | None = None,
    **fields: object,
) -> RequestChooser:
    """Give what chooses for one request; `fields` are of its body."""
    body: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "Hi."}]}
    head = read_head(json.dumps({**body, **fields}).encode())
    request = IncomingRequest("req_1", "messages", b"", headers or [], no_body)
    caller = Caller(a_key(), None, {"team": team} if team else {}, None, None, "trace")
    facts = facts_of(request, head, caller)
    return RequestChooser(session, "key_1", head, facts, randomness or Seeded(), lambda _: False)


def a_balance(*weights: int, **strategy: object) -> LoadBalance:
    targets = [{"provider": f"@p{index}", "weight": weight} for index, weight in enumerate(weights)]
    return balance_of(targets, **strategy)


def balance_of(targets: Sequence[Mapping[str, object]], **strategy: object) -> LoadBalance:
    node = config_tree({"strategy": strategy | {"mode": "loadbalance"}, "targets": list(targets)})
    assert isinstance(node, LoadBalance)
    return node


def drawn_by_sessions(node: LoadBalance, count: int) -> list[int]:
    return [a_chooser(f"session-{number}").draw(node) for number in range(count)]


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (7, 2, 1)])
def test_sessions_and_draws_fall_in_proportion_to_the_weights(weights: tuple[int, ...]) -> None:
    node, count = a_balance(*weights), 4000
    randomness = Seeded()
    by_lot = [a_chooser(randomness=randomness).draw(node) for _ in range(count)]
    for drawn in (drawn_by_sessions(node, count), by_lot):
        shares = Counter(drawn)
        for index, weight in enumerate(weights):
            assert shares[index] / count == pytest.approx(weight / sum(weights), abs=0.04)


def test_a_session_stays_and_a_weight_of_nothing_gets_nobody() -> None:
    node = a_balance(1, 0, 1)
    drawn = drawn_by_sessions(node, 300)
    assert drawn == drawn_by_sessions(node, 300)
    assert set(drawn) == {0, 2}


def test_a_target_that_goes_moves_only_its_own_sessions() -> None:
    before = drawn_by_sessions(a_balance(1, 1, 1), 600)
    after = drawn_by_sessions(a_balance(1, 1, 0), 600)
    assert all(now == was for was, now in zip(before, after, strict=True) if was != 2)


def test_a_target_that_is_taken_out_or_put_in_anywhere_moves_only_what_it_had_or_gets() -> None:
    names = ["@a", "@b", "@b", "@c"]  # twice the same is two targets
    targets: list[dict[str, object]] = [{"provider": name} for name in names]
    targets.append({"strategy": {"mode": "fallback"}, "targets": [{"provider": "@d"}, {"provider": "@e"}]})
    whole = drawn_by_sessions(balance_of(targets), 600)
    for gone in (0, 3, 4):
        rest = [target for index, target in enumerate(targets) if index != gone]
        there = [index for index in range(len(targets)) if index != gone]
        drawn = [there[index] for index in drawn_by_sessions(balance_of(rest), 600)]
        stayed = [now for was, now in zip(whole, drawn, strict=True) if was == now]
        assert len(stayed) == 600 - whole.count(gone)


def test_a_weight_that_grows_takes_from_others_and_gives_to_none() -> None:
    before = drawn_by_sessions(a_balance(1, 1), 600)
    after = drawn_by_sessions(a_balance(1, 3), 600)
    assert all(now == 1 for was, now in zip(before, after, strict=True) if was == 1)


def test_a_conversation_with_a_warm_cache_or_thinking_stays_while_it_grows() -> None:
    node = a_balance(1, 1)
    for binding in (CACHED, {"thinking": {"type": "enabled", "budget_tokens": 2048}}):
        seen = set()
        for number in range(40):
            first = {"role": "user", "content": f"Question {number}."}
            for length in range(4):
                messages = [first, *({"role": "user", "content": str(each)} for each in range(length))]
                seen.add((number, a_chooser(randomness=Seeded(), messages=messages, **binding).draw(node)))
        assert len(seen) == 40
        assert len({child for _, child in seen}) == 2


def test_what_binds_nobody_is_drawn_anew_each_time() -> None:
    node, randomness = a_balance(1, 1), Seeded()
    assert {a_chooser(randomness=randomness).draw(node) for _ in range(40)} == {0, 1}


def test_a_config_names_what_keeps_a_caller() -> None:
    node = a_balance(1, 1, sticky={"enabled": True, "hash_fields": ["metadata.team", "headers.X-Kind"]})
    by_team: dict[str, set[int]] = {}
    for number in range(200):
        team = f"team-{number % 20}"
        chooser = a_chooser(f"session-{number}", team=team, headers=[(b"x-kind", b"batch")])
        by_team.setdefault(team, set()).add(chooser.draw(node))
    assert all(len(children) == 1 for children in by_team.values())
    assert set.union(*by_team.values()) == {0, 1}
    assert a_chooser("session-1").draw(node) == a_chooser("session-1").draw(a_balance(1, 1))


def test_one_request_is_drawn_once() -> None:
    node, chooser = a_balance(1, 1), a_chooser(randomness=Seeded())
    assert len({chooser.draw(node) for _ in range(20)}) == 1


@given(st.text(max_size=20), st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any))
def test_only_a_child_with_a_weight_is_drawn(session: str, weights: list[int]) -> None:
    node = LoadBalance("config", tuple(Leaf(f"p{index}") for index in range(len(weights))), tuple(weights))
    assert weights[a_chooser(session or "s").draw(node)] > 0
