"""Temporary raises of a limit: a piece of policy with an end, of a whole budget or of one bucket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from msgspec.structs import replace
from pydantic import Field, model_validator

from farebox.domain.budget import Budget, Raise, Unit
from farebox.domain.errors import ConfigInvalid, Conflict, NotFound
from farebox.domain.money import picodollars_from_usd
from farebox.domain.policy import BUDGET, ORIGIN_ADMIN, RAISE, raise_name
from farebox.http.admin.budgets.standings import standings_in_force
from farebox.http.admin.editor import Edit, PolicyEditor, find_resource
from farebox.http.admin.ports import AdminPorts
from farebox.http.moments import read_after, utc_text
from farebox.http.policy_sections import Pattern, Section, Tokens, Usd
from farebox.ports import Resource

_KEY = "key"


class RaiseRequest(Section):
    """To which limit, until when and why; for one bucket when it is named."""

    usd: Usd | None = None
    tokens: Tokens | None = None
    until: str
    reason: Pattern
    bucket: Annotated[str, Field(max_length=512)] | None = None

    @model_validator(mode="after")
    def check_unit(self) -> RaiseRequest:
        """Hold the raise to one unit."""
        if (self.usd is None) == (self.tokens is None):
            raise ValueError("needs exactly one of usd and tokens")
        return self


async def raise_limit(
    asked: RaiseRequest, budget: Budget, ports: AdminPorts, editor: PolicyEditor, *, actor: str
) -> tuple[Raise, Sequence[str]]:
    """Store a raise in the place of an earlier one of the same bucket; give it with warnings.

    Raises `ConfigInvalid` for one that ends before it begins, is in another unit or is not above what counts
    without it; `NotFound` and `Conflict` for its bucket.
    """
    now = ports.clock.now()
    until = _until(asked, now)
    bucket: str | None = None
    warnings: Sequence[str] = ()
    if asked.bucket is not None:
        bucket, warnings = await _raisable_bucket(ports, budget, asked.bucket, now)
    raised = Raise(_limit(asked, budget), until, asked.reason, bucket)
    _refuse_no_raise(raised, budget, now)
    name = raise_name(budget.name, bucket)
    document = {
        "budget": budget.name,
        **({} if bucket is None else {"bucket": bucket}),
        **({"usd": asked.usd} if budget.unit is Unit.USD else {"tokens": asked.tokens}),
        "until": utc_text(until),
        "reason": asked.reason,
    }

    def edit(stored: Sequence[Resource]) -> Edit:
        if find_resource(stored, BUDGET, budget.name) is None:
            raise NotFound(BUDGET, budget.name)
        return [Resource(RAISE, name, document, 0, ORIGIN_ADMIN, now)], []

    await editor.write(edit, actor)
    return raised, warnings


async def end_raise(
    budget: Budget, asked: str | None, ports: AdminPorts, editor: PolicyEditor, *, actor: str
) -> None:
    """End a raise at once. Raises `NotFound` when there is none of this budget or bucket."""
    bucket = None if asked is None else _raised_bucket(budget, asked)
    name = raise_name(budget.name, bucket)

    def edit(stored: Sequence[Resource]) -> Edit:
        if find_resource(stored, RAISE, name) is None:
            raise NotFound("raise of", name)
        return [], [(RAISE, name)]

    await editor.write(edit, actor)


async def known_bucket(ports: AdminPorts, budget: Budget, asked: str, now: datetime) -> str:
    """Find the bucket that people know by this name in the present window. Raises `NotFound`, `Conflict`."""
    known = {each.bucket for each in await standings_in_force(ports.reports, [budget], now)}
    return _the_one(budget, asked, known)


async def _raisable_bucket(
    ports: AdminPorts, budget: Budget, asked: str, now: datetime
) -> tuple[str, Sequence[str]]:
    """Find a bucket, one that no request has come to yet included."""
    try:
        return await known_bucket(ports, budget, asked, now), ()
    except NotFound:
        starred = [dimension for dimension, patterns in budget.scope.terms if patterns == ("*",)]
        if len(starred) != 1:
            raise
    if starred == [_KEY]:
        workspace, _, name = asked.rpartition("/")
        key = await ports.keys.get_gateway_key(name, workspace or None)
        return f"{key.workspace}/{key.name}", ()
    return asked, (f"no request has touched bucket '{asked}' in this window; is it spelt right?",)


def _raised_bucket(budget: Budget, asked: str) -> str:
    known = {each.bucket for each in budget.raises if each.bucket is not None}
    try:
        return _the_one(budget, asked, known)
    except NotFound:
        raise NotFound("raise of", f"{budget.name}/{asked}") from None


def _the_one(budget: Budget, asked: str, known: set[str]) -> str:
    if asked in known:
        return asked
    found = sorted(bucket for bucket in known if budget.scope.bucket_label(bucket) == asked)
    if not found:
        raise NotFound("bucket", asked)
    if len(found) > 1:
        raise Conflict(f"Several buckets are called '{asked}': {', '.join(found)}.")
    return found[0]


def _until(asked: RaiseRequest, now: datetime) -> datetime:
    try:
        until = read_after(asked.until, now)
    except ValueError as error:
        raise ConfigInvalid("until", str(error)) from None
    if until <= now:
        raise ConfigInvalid("until", "must be in the future")
    return until


def _limit(asked: RaiseRequest, budget: Budget) -> int:
    is_usd = asked.usd is not None
    if is_usd is not (budget.unit is Unit.USD):
        field, unit = ("usd", "tokens") if is_usd else ("tokens", "usd")
        raise ConfigInvalid(field, f"budget '{budget.name}' counts {unit}")
    return picodollars_from_usd(asked.usd) if asked.usd is not None else asked.tokens or 0


def _refuse_no_raise(raised: Raise, budget: Budget, now: datetime) -> None:
    others = tuple(each for each in budget.raises if each.bucket != raised.bucket)
    without = replace(budget, raises=others).in_force(raised.bucket or "", now)
    if raised.limit <= without.limit:
        field = "usd" if budget.unit is Unit.USD else "tokens"
        present = budget.amount_text(without.limit)
        raise ConfigInvalid(field, f"must be above the present limit of {present}: a raise goes TO an amount")
