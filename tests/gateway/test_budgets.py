"""Budgets through the whole gateway: whom they cover, what they count, and that nothing refused is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from farebox.domain.record import Billing
from farebox.domain.usage import CostStatus
from tests.gateway.peers import USED
from tests.gateway.stage import Stage, a_provider, a_stage, apply, asking, read_out
from tests.support.builders import FixedClock
from tests.support.upstream import json_message, sse_message, usage

# claude-opus-5-5 costs 4 and 20 USD per million tokens in and out: 100 and 50 of them are this much.
SPENT = 100 * 4_000_000 + 50 * 20_000_000
SPENT_TEXT = "$0.0014"
OAUTH = "Bearer sk-ant-oat01-of-alice"


def a_budget(name: str = "b", usd: object = 1, **fields: object) -> dict[str, object]:
    amount = {} if "tokens" in fields else {"usd": usd}
    return {"name": name, "scope": {}, "period": "day", **amount, **fields}


def governed(*budgets: dict[str, object], **sections: object) -> dict[str, object]:
    """Write a policy of two workspaces whose three keys differ in user and metadata."""
    keys = [
        {"name": "alice", "user": "alice@example.com", "metadata": {"team": "core"}},
        {"name": "bob", "user": "bob@example.com", "metadata": {"team": "web"}},
        {"name": "ci", "workspace": "platform", "metadata": {"team": "core", "env": "ci"}},
    ]
    providers = [a_provider(), a_provider("spare")]
    workspaces = [{"slug": "platform"}]
    file = {"providers": providers, "workspaces": workspaces, "keys": keys, "organisation": "acme"}
    return {**file, "budgets": list(budgets), **sections}


EVERYONE = {"alice", "bob", "ci"}
SCOPES: list[tuple[dict[str, object], set[str]]] = [
    ({}, EVERYONE),
    ({"organisation": "acme"}, EVERYONE),
    ({"organisation": "other"}, set()),
    ({"workspace": "default"}, {"alice", "bob"}),
    ({"workspace": ["plat*", "other"]}, {"ci"}),
    ({"user": "alice@example.com"}, {"alice"}),
    ({"user": "*@example.com"}, {"alice", "bob"}),
    ({"user": "*"}, {"alice", "bob"}),
    ({"key": "ci"}, {"ci"}),
    ({"key": ["alice", "c?"]}, {"alice", "ci"}),
    ({"metadata.team": "core"}, {"alice", "ci"}),
    ({"metadata.env": "*"}, {"ci"}),
    ({"metadata.nothing": "*"}, set()),
    ({"model": "claude-opus-*"}, EVERYONE),
    ({"model": "claude-haiku-*"}, set()),
    ({"provider": "anthropic"}, EVERYONE),
    ({"provider": "spare"}, set()),
    ({"session": "s-1"}, EVERYONE),
    ({"session": "s-2"}, set()),
    ({"metadata.team": "core", "workspace": "default"}, {"alice"}),
    ({"key": "*", "model": "claude-haiku-*"}, set()),
]


@pytest.mark.parametrize(("scope", "covered"), SCOPES)
async def test_a_budget_of_nothing_blocks_exactly_whom_it_covers(
    scope: dict[str, object], covered: set[str], tmp_path: Path
) -> None:
    async with a_stage(tmp_path, governed(a_budget(usd=0, scope=scope))) as stage:
        for key in sorted(EVERYONE):
            before = len(stage.upstream.sent)
            told = await stage.ask(asking(), key=key, x_claude_code_session_id="s-1")
            is_covered = key in covered
            assert told.status == (402 if is_covered else 200), key
            assert len(stage.upstream.sent) - before == (0 if is_covered else 1)
        assert [row.key for row in await stage.rows() if row.status == 402] == sorted(covered)


async def test_the_body_tells_the_session_where_no_header_does(tmp_path: Path) -> None:
    user_id = json.dumps({"session_id": "s-1"})
    async with a_stage(tmp_path, governed(a_budget(scope={"session": "*"}))) as stage:
        await stage.ask(asking(metadata={"user_id": user_id}))
        await stage.ask(asking(), x_claude_code_session_id="s-2")
        await stage.ask(asking())
        assert await stage.settled() == {("b", "s-1"): SPENT, ("b", "s-2"): SPENT}


async def test_a_session_of_the_body_is_cut_down_to_what_a_header_could_say(tmp_path: Path) -> None:
    user_id = json.dumps({"session_id": "s\n\x1b1" + "x" * 100_000})
    async with a_stage(tmp_path, governed(a_budget(scope={"session": "*"}))) as stage:
        await stage.ask(asking(metadata={"user_id": user_id}))
        await stage.ask(asking(metadata={"user_id": json.dumps({"session_id": "\n"})}))
        session = "s1" + "x" * 126
        assert await stage.settled() == {("b", session): SPENT}
        assert [row.session_id for row in await stage.rows()] == [session, None]


@pytest.mark.parametrize(
    ("scope", "buckets"),
    [
        ({"workspace": "*"}, {"default": 2, "platform": 1}),
        ({"user": "*"}, {"alice@example.com": 1, "bob@example.com": 1}),
        ({"key": "*"}, {"default/alice": 1, "default/bob": 1, "platform/ci": 1}),
        ({"metadata.team": "*"}, {"core": 2, "web": 1}),
        ({"model": "*"}, {"claude-opus-5-5": 3}),
        ({"workspace": "*", "metadata.team": "*"}, {"default|core": 1, "default|web": 1, "platform|core": 1}),
        ({"workspace": "default", "user": "*"}, {"alice@example.com": 1, "bob@example.com": 1}),
        ({}, {"": 3}),
    ],
)
async def test_a_star_gives_each_value_a_bucket_of_its_own(
    scope: dict[str, object], buckets: dict[str, int], tmp_path: Path
) -> None:
    async with a_stage(tmp_path, governed(a_budget(scope=scope))) as stage:
        for key in EVERYONE:
            assert (await stage.ask(asking(), key=key)).status == 200
        assert await stage.settled() == {("b", bucket): count * SPENT for bucket, count in buckets.items()}


async def test_a_full_bucket_blocks_its_owner_alone_and_says_everything(tmp_path: Path) -> None:
    budget = a_budget("key-day", "0.0215", scope={"key": "*"}, contact="ops@example.com")
    async with a_stage(tmp_path, governed(budget)) as stage:
        assert (await stage.ask(asking())).status == 200
        told = await stage.ask(asking())
        assert told.error == (
            402,
            "billing_error",
            f"Budget 'key-day' (alice) does not cover this request: {SPENT_TEXT} of $0.0215 spent, "
            "and it may cost up to $0.020324. "
            "It resets at 2026-11-24T00:00:00Z; ask ops@example.com to raise it.",
        )
        assert (await stage.ask(asking(), key="bob")).status == 200
        assert len(stage.upstream.sent) == 2


async def test_the_contact_of_the_whole_policy_is_asked_where_a_budget_names_none(tmp_path: Path) -> None:
    file = governed(a_budget(usd=0), contact="#ai-platform")
    async with a_stage(tmp_path, file) as stage:
        assert "ask #ai-platform to raise it." in (await stage.ask(asking())).error[2]


async def test_one_short_budget_refuses_and_leaves_every_other_as_it_was(tmp_path: Path) -> None:
    budgets = [a_budget("wide"), a_budget("none", 0), a_budget("tokens", tokens=100_000)]
    async with a_stage(tmp_path, governed(*budgets)) as stage:
        assert "'none'" in (await stage.ask(asking())).error[2]
        assert (await stage.settled(), await stage.held(), await stage.holds()) == ({}, 0, [])


@pytest.mark.parametrize("period", ["minute", "hour", "day", "week", "month", "3d"])
async def test_a_new_window_starts_at_nothing_without_any_job(period: str, tmp_path: Path) -> None:
    async with a_stage(tmp_path, governed(a_budget(usd="0.0215", period=period))) as stage:
        assert (await stage.ask(asking())).status == 200
        assert (await stage.ask(asking())).status == 402
        [standing] = await stage.standings()
        end = standing.budget.window_at(stage.clock.now()).end
        assert end is not None
        stage.clock.moment = end - timedelta(microseconds=1)
        assert (await stage.ask(asking())).status == 402
        stage.clock.moment = end
        assert (await stage.ask(asking())).status == 200
        assert await stage.settled() == {("b", ""): SPENT}


async def test_a_total_never_resets(tmp_path: Path) -> None:
    async with a_stage(tmp_path, governed(a_budget(usd="0.0215", period="total"))) as stage:
        assert (await stage.ask(asking())).status == 200
        stage.clock.advance(timedelta(days=4000))
        assert "It does not reset by itself" in (await stage.ask(asking())).error[2]


async def test_a_window_follows_the_clocks_of_its_time_zone(tmp_path: Path) -> None:
    budget = a_budget(usd=0, period="day", timezone="Asia/Tokyo")
    async with a_stage(tmp_path, governed(budget)) as stage:
        assert "It resets at 2026-11-23T15:00:00Z" in (await stage.ask(asking())).error[2]


async def test_a_stream_counts_in_the_window_in_which_it_was_admitted(tmp_path: Path) -> None:
    clock = FixedClock(datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC))
    async with a_stage(tmp_path, governed(a_budget()), clock=clock) as stage:
        stream = await stage.begin(asking())
        clock.advance(timedelta(minutes=1))
        await read_out(stream)
        assert await stage.settled() == {}
        clock.advance(timedelta(minutes=-1))
        assert await stage.settled() == {("b", ""): SPENT}


FULL = usage(
    input_tokens=1,
    cache_read_tokens=20,
    cache_write_5m_tokens=300,
    cache_write_1h_tokens=4000,
    output_tokens=5,
)


@pytest.mark.parametrize(
    ("count", "tokens"),
    [
        (None, 4326),
        (["input"], 1),
        (["cache_read"], 20),
        (["cache_write"], 4300),
        (["output"], 5),
        (["input", "cache_write", "output"], 4306),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_token_budget_counts_its_classes(
    count: list[str] | None, tokens: int, stream: bool, tmp_path: Path
) -> None:
    budget = a_budget(tokens=1_000_000) | ({"count": count} if count else {})
    async with a_stage(tmp_path, governed(budget)) as stage:
        stage.upstream.script = lambda _: (sse_message if stream else json_message)(usage=FULL)
        assert (await stage.ask(asking(stream=stream))).status == 200
        assert await stage.settled() == {("b", ""): tokens}


async def test_a_token_budget_blocks_by_tokens_and_says_so(tmp_path: Path) -> None:
    async with a_stage(tmp_path, governed(a_budget(tokens=1040, count=["output"]))) as stage:
        assert (await stage.ask(asking())).status == 200
        assert (
            (await stage.ask(asking()))
            .error[2]
            .startswith("Budget 'b' does not cover this request: 50 tokens of 1040 tokens spent, and")
        )
        assert (await stage.ask(asking(max_tokens=900))).status == 200


@pytest.mark.parametrize("limit", [{"usd": 0}, {"tokens": 0}])
async def test_a_limit_of_nothing_refuses_even_what_is_free(limit: dict[str, object], tmp_path: Path) -> None:
    free = a_provider(prices={"multiplier": 0})
    budget = {"name": "b", "scope": {}, "period": "day", **limit}
    async with a_stage(tmp_path, governed(budget, providers=[free])) as stage:
        assert (await stage.ask(asking())).status == 402
        assert stage.upstream.sent == []


async def test_an_alert_only_budget_counts_and_never_blocks(tmp_path: Path) -> None:
    budgets = [
        a_budget("watch", 0, on_exhausted="alert"),
        a_budget("tokens", tokens=0, on_exhausted="alert"),
    ]
    async with a_stage(tmp_path, governed(*budgets)) as stage:
        assert [(await stage.ask(asking())).status for _ in range(2)] == [200, 200]
        assert await stage.settled() == {("watch", ""): 2 * SPENT, ("tokens", ""): 300}


async def test_a_subscription_is_priced_for_information_and_counts_only_where_it_is_included(
    tmp_path: Path,
) -> None:
    budgets = [a_budget("paid", 0), a_budget("all", include_subscription=True)]
    mine = a_provider(credential="caller")
    async with a_stage(tmp_path, governed(*budgets, providers=[mine])) as stage:
        assert (await stage.ask(asking(), authorization=OAUTH)).status == 200
        assert await stage.settled() == {("all", ""): SPENT}
        told = await stage.ask(asking(), x_api_key="sk-ant-api03-of-alice")
        assert "'paid'" in told.error[2]
        rows = [(row.billing, row.cost_picodollars) for row in await stage.rows()]
        assert rows == [(Billing.SUBSCRIPTION, SPENT), (Billing.METERED, 0)]


async def test_a_login_beside_a_credential_of_ours_is_metered(tmp_path: Path) -> None:
    async with a_stage(tmp_path, governed(a_budget())) as stage:
        await stage.ask(asking(), authorization=OAUTH)
        assert await stage.settled() == {("b", ""): SPENT}


async def test_a_raised_limit_opens_and_a_lowered_one_closes_at_once(tmp_path: Path) -> None:
    async with a_stage(tmp_path, governed(a_budget(usd="0.0215"))) as stage:
        statuses = [(await stage.ask(asking())).status for _ in range(2)]
        await apply(stage, {"budgets": [a_budget(usd=1)]})
        statuses.append((await stage.ask(asking())).status)
        await apply(stage, {"budgets": [a_budget(usd="0.001")]})
        statuses.append((await stage.ask(asking())).status)
        assert statuses == [200, 402, 200, 402]
        assert await stage.settled() == {("b", ""): 2 * SPENT}


async def test_an_unknown_model_has_no_cost_is_charged_the_ceiling_and_counts(tmp_path: Path) -> None:
    async with a_stage(tmp_path, governed(a_budget())) as stage:
        stage.upstream.script = lambda _: sse_message(usage=USED, model="claude-next-9")
        await stage.ask(asking(model="claude-next-9"))
        [row] = await stage.rows()
        ceiling = 100 * 10_000_000 + 50 * 50_000_000
        assert (row.cost_picodollars, row.charged_picodollars) == (None, ceiling)
        assert (row.cost_status, row.status) == (CostStatus.UNPRICED, 200)
        assert await stage.settled() == {("b", ""): ceiling}


@pytest.mark.parametrize(
    ("negotiated", "cost"),
    [
        ({"multiplier": 0.9}, SPENT * 9 // 10),
        ({"multiplier": 0}, 0),
        ({"models": {"claude-opus-5-5": {"input": 1, "output": 2}}}, 100 * 1_000_000 + 50 * 2_000_000),
        ({"models": {"claude-haiku-5-5": {"input": 1, "output": 2}}}, SPENT),
    ],
)
async def test_negotiated_prices_decide_what_is_booked(
    negotiated: dict[str, object], cost: int, tmp_path: Path
) -> None:
    providers = [a_provider(prices=negotiated)]
    async with a_stage(tmp_path, governed(a_budget(), providers=providers)) as stage:
        await stage.ask(asking())
        [row] = await stage.rows()
        assert (row.cost_picodollars, row.cost_status) == (cost, CostStatus.PRICED)
        assert await stage.settled() == ({("b", ""): cost} if cost else {})


async def test_a_model_override_of_a_config_is_held_and_booked_at_its_own_price(tmp_path: Path) -> None:
    config = {"provider": "@anthropic", "override_params": {"model": "claude-haiku-5-5"}}
    budgets = [a_budget(scope={"model": "*"})]
    async with a_stage(tmp_path, governed(*budgets)) as stage:
        stage.upstream.script = lambda _: sse_message(usage=USED, model="claude-haiku-5-5")
        await stage.ask(asking(), x_farebox_config=json.dumps(config))
        cost = 100 * 100_000 + 50 * 500_000
        assert await stage.settled() == {("b", "claude-haiku-5-5"): cost}
        assert json.loads(stage.upstream.sent[0].body)["model"] == "claude-haiku-5-5"


async def refused_by(stage: Stage, key: str) -> str:
    return (await stage.ask(asking(), key=key)).error[2].split("'")[1]


async def test_the_first_short_budget_of_the_file_is_the_one_that_is_named(tmp_path: Path) -> None:
    budgets = [a_budget("z", 0, scope={"key": "alice"}), a_budget("a", 0)]
    async with a_stage(tmp_path, governed(*budgets)) as stage:
        assert [await refused_by(stage, key) for key in ("alice", "bob")] == ["z", "a"]
