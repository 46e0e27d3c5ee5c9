"""A target that refuses for itself is passed over; what the caller may not do ends the request."""

from __future__ import annotations

import json
from pathlib import Path

from farebox.domain.record import Outcome
from tests.gateway.stage import Stage, Told, a_file, a_provider, a_stage, asking
from tests.gateway.test_fallback import COST, GOOD, by_host
from tests.gateway.test_retries import no
from tests.support.upstream import Reply, error_reply

OPUS = "claude-opus-5-5"


def of(provider: str, usd: object, **fields: object) -> dict[str, object]:
    return {
        "name": f"of-{provider}",
        "scope": {"provider": provider},
        "usd": usd,
        "period": "day",
        "contact": "ops",
        **fields,
    }


def a_config(*slugs: str, statuses: list[int] | None = None) -> dict[str, object]:
    strategy = {"mode": "fallback"} | ({"on_status_codes": statuses} if statuses else {})
    return {"strategy": strategy, "targets": [{"provider": f"@{slug}"} for slug in slugs]}


def a_policy(*budgets: dict[str, object], **sections: object) -> dict[str, object]:
    return a_file(
        providers=[
            a_provider("first"),
            a_provider("second"),
            a_provider("haiku", models=["claude-haiku-*"]),
            a_provider("mine", credential="caller"),
            a_provider("lost", credential="env:LOST"),
        ],
        budgets=list(budgets),
        **sections,
    )


async def asked(stage: Stage, config: dict[str, object], **answers: Reply) -> Told:
    made = {slug: (lambda reply=reply: reply) for slug, reply in answers.items()}
    stage.upstream.script = by_host(**{"first": lambda: GOOD, "second": lambda: GOOD, **made})
    return await stage.ask(asking(stream=True), x_farebox_config=json.dumps(config))


async def test_a_targets_own_exhausted_budget_moves_on_and_costs_nothing(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy(of("first", 0), of("second", 1))) as stage:
        told = await asked(stage, a_config("first", "second"))
        (row,) = await stage.rows()
        assert await stage.settled() == {("of-second", ""): COST}
    assert (told.status, told.header("x-farebox-provider")) == (200, "second")
    assert [attempt.provider for attempt in row.attempts] == ["second"]
    assert told.header("x-farebox-last-used-option-index") == "config.targets[1]"


async def test_it_counts_as_412(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy(of("first", 0))) as stage:
        assert (await asked(stage, a_config("first", "second", statuses=[412]))).status == 200
        told = await asked(stage, a_config("first", "second", statuses=[500]))
        assert told.error[:2] == (402, "billing_error")


async def test_a_callers_budget_ends_the_request_wherever_it_would_go(tmp_path: Path) -> None:
    everyone = {"name": "all", "scope": {}, "usd": 0, "period": "day"}
    async with a_stage(tmp_path, a_policy(everyone)) as stage:
        told = await asked(stage, a_config("first", "second"))
        (row,) = await stage.rows()
        assert stage.upstream.sent == []
    assert told.error[:2] == (402, "billing_error")
    assert (row.outcome, row.attempts) == (Outcome.REFUSED, ())


async def test_a_targets_own_rate_limit_moves_on(tmp_path: Path) -> None:
    limit = {"name": "rpm", "scope": {"provider": "first"}, "requests": 1, "per": "minute"}
    async with a_stage(tmp_path, a_policy(rate_limits=[limit])) as stage:
        tellings = [await asked(stage, a_config("first", "second")) for _ in range(2)]
    assert [told.header("x-farebox-provider") for told in tellings] == ["first", "second"]
    assert tellings[0].header("x-ratelimit-remaining-requests") == "0"
    assert tellings[1].header("x-ratelimit-remaining-requests") is None


async def test_what_a_target_drew_on_its_limit_is_given_back_to_it_only_if_nothing_was_sent(
    tmp_path: Path,
) -> None:
    limits = [
        {"name": f"rpm-{slug}", "scope": {"provider": slug}, "requests": 2, "per": "minute"}
        for slug in ("first", "second")
    ]
    async with a_stage(tmp_path, a_policy(of("second", 0), rate_limits=limits)) as stage:
        # `second` is drawn on and then refuses by its budget; `first` is asked, and fails.
        for _ in range(2):
            stage.upstream.script = by_host(first=no(500))
            config = a_config("second", "first")
            told = await stage.ask(asking(stream=True), x_farebox_config=json.dumps(config))
            assert told.status == 500
        refused = await asked(stage, a_config("first"))
        assert refused.error[:2] == (429, "rate_limit_error")
        assert (await asked(stage, a_config("second"))).error[:2] == (402, "billing_error")


async def test_models_and_credentials_of_a_target_move_on(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, a_config("haiku", "nobody", "mine", "lost", "first"))
        (row,) = await stage.rows()
    assert (told.status, told.header("x-farebox-last-used-option-index")) == (200, "config.targets[4]")
    assert [attempt.provider for attempt in row.attempts] == ["first"]


async def test_where_every_target_refuses_the_last_refusal_is_told(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, a_config("nobody", "haiku"))
        assert stage.upstream.sent == []
    status, kind, message = told.error
    assert (status, kind) == (400, "policy_blocked")
    assert "at provider 'haiku'" in message


async def test_the_last_target_that_was_asked_has_the_last_word_where_the_rest_refuse(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        stage.upstream.script = by_host(first=no(529, ("Retry-After", "3")))
        config = a_config("first", "haiku", "nobody")
        told = await stage.ask(asking(stream=True), x_farebox_config=json.dumps(config))
        (row,) = await stage.rows()
    assert (told.error[0], told.error[2]) == (529, "Not now.")
    assert (told.header("retry-after"), told.header("x-farebox-provider")) == ("3", "first")
    assert (row.provider, row.status, row.outcome) == ("first", 529, Outcome.UPSTREAM_ERROR)
    assert [attempt.status for attempt in row.attempts] == [529]


async def test_a_stream_that_was_no_answer_is_told_as_an_error_where_the_rest_refuse(tmp_path: Path) -> None:
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, a_config("first", "haiku"), first=Reply(headers=GOOD.headers))
        (row,) = await stage.rows()
    assert told.error[:2] == (502, "api_error")
    assert (row.provider, row.outcome, len(row.attempts)) == ("first", Outcome.UPSTREAM_CUT, 1)


async def test_a_dearer_target_is_admitted_at_its_own_price(tmp_path: Path) -> None:
    """The first target holds on its budget; moving on gives that back and holds at the second in one step."""
    dear = a_provider("second", prices={"multiplier": 3})
    everyone = {"name": "all", "scope": {}, "usd": 100, "period": "day"}
    file = a_policy(everyone, of("first", 100), of("second", 100))
    file["providers"] = [a_provider("first"), dear]
    async with a_stage(tmp_path, file) as stage:
        stage.upstream.script = by_host(first=no(500), second=lambda: GOOD)
        stream = await stage.begin(
            asking(stream=True), x_farebox_config=json.dumps(a_config("first", "second"))
        )
        held = {each.budget.name: each.standing.held for each in await stage.standings()}
        assert stage.ledger.calls == ["reserve", "top_up"]
        while await stream.receive():
            pass
        settled = await stage.settled()
    assert held["of-first"] == 0
    assert held["of-second"] == held["all"] > 0
    assert settled == {("all", ""): 3 * COST, ("of-second", ""): 3 * COST}


async def test_who_has_the_last_word_is_told_with_all_its_tries(tmp_path: Path) -> None:
    config: dict[str, object] = {
        "strategy": {"mode": "fallback"},
        "targets": [{"provider": "@first", "retry": {"attempts": 1}}, {"provider": "@lost"}],
    }
    async with a_stage(tmp_path, a_policy()) as stage:
        told = await asked(stage, config, first=error_reply(503, "api_error", "Not now."))
    assert told.status == 503
    assert told.header("x-portkey-last-used-option-index") == "config.targets[0]"
    assert told.header("x-portkey-retry-attempt-count") == "-1"
