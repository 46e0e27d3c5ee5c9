"""Step four: which target is tried, what a failure leads to, and when nothing is left to try."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from farebox.domain.errors import FareboxError, Refusal
from farebox.domain.plan import Option, Plan
from farebox.domain.price import PriceBook
from farebox.domain.routing.breaker import BreakerKey, counts_as_failure
from farebox.domain.routing.walk import LEFT_OUT, Course, falls_back, leaves
from farebox.gateway.charging.journal import Journal
from farebox.gateway.incoming import RETRIES_EXHAUSTED
from farebox.gateway.routing.relay import upstream_request_id
from farebox.gateway.routing.trying.breakers import CircuitBreakers, Permit, breaker_key
from farebox.gateway.routing.trying.failure import Failure, refused_status, used_by_failure
from farebox.gateway.routing.trying.patience import Patience
from farebox.gateway.routing.trying.sending import Sender
from farebox.ports import Clock, Randomness
from farebox.providers.base import Call
from farebox.wire.http import HttpAnswer

ATTEMPTS_MAX = 50
"""Of one request, whose config may bring a thousand targets: its row has them all, and is bounded."""


class Trying(Struct, frozen=True):
    """What it takes to try, wired once per process."""

    sender: Sender
    prices: PriceBook
    patience: Patience
    breakers: CircuitBreakers
    clock: Clock
    randomness: Randomness


class Attempts:
    """The targets of a plan one after another, each as often as it may be, until one answers.

    Ask for the `next` one, admit the request there, and `send`; a target that does not admit it is `refused`.
    An attempt that failed is closed, and its cost stands, before anything else is tried.
    """

    def __init__(self, plan: Plan, journal: Journal, trying: Trying) -> None:
        self._plan, self._journal, self._trying = plan, journal, trying
        self._opening: Course | None = None
        self._falls_back = falls_back(plan.tree)
        self._wait_ms: int | None = None
        self._retries = 0
        self._has_turned = False
        self._asked: tuple[Option, int] | None = None
        self._failure: Failure | None = None
        self._permit: Permit | None = None

    async def next(self) -> Option | None:
        """Give the target to try, after the wait that a retry asks for; None when nothing is left.

        Raises what the last of them refused with, if none was ever asked.
        """
        await self.aclose()
        if self._wait_ms is not None and self._asked is not None:
            await self._trying.clock.sleep_ms(self._wait_ms)
            self._wait_ms = None
            self._retries += 1
            return self._turn_to(self._asked[0], self._retries)
        if self._opening is None:
            self._opening = await self._begun()
        while (leaf := self._course.leaf) is not None:
            if self._has_turned:
                # A thousand targets may refuse one by one: others have their turns too.
                await asyncio.sleep(0)
            self._has_turned = True
            self._retries = 0
            try:
                option = self._plan.option_of(leaf)
            except Refusal as refusal:
                self.refused(refusal)
                continue
            if await self._may_try(option):
                return self._turn_to(option, 0)
        return None

    def refused(self, refusal: FareboxError) -> None:
        """Pass over the target that refuses for itself, by its own budget or models, say.

        Raises the refusal where it is the caller's, and where nothing else is left and nothing was asked.
        """
        status = refused_status(refusal, self._journal.option)
        if status is None:
            raise refusal
        self._course.move(status)
        if self._course.leaf is None and self._failure is None:
            raise refusal
        if self._asked is not None:
            self._turn_to(*self._asked)  # it has the last word, if nobody else gets a turn

    async def send(self, option: Option, call: Call) -> HttpAnswer | None:
        """Send the call, and give the answer: a good one, or the last one there will be. None where something
        else is to be tried.

        Raises what stands in the place of the last answer, where there is none.
        """
        self._asked = option, self._retries
        sender, is_watched = self._trying.sender, self._is_watched(option)
        result = await sender.send(option, call, self._journal, is_watched=is_watched)
        await self._tell_breaker(option, result)
        if not isinstance(result, Failure):
            return result
        goes_on = self._goes_on(result, option)
        if not goes_on and result.answer is not None and not result.is_broken:
            return result.answer  # whoever ends the request closes the attempt
        await self._close(result, option)
        if not goes_on:
            raise result.error
        return None

    async def aclose(self) -> None:
        """Let others probe the target whose probe this request was to be, and did not come to be."""
        permit, self._permit = self._permit, None
        if permit is not None:
            await self._trying.breakers.give_back(permit)

    def last_word(self) -> tuple[HttpAnswer, Option]:
        """Give the answer of the last target that was asked, and that target, when no other one admits the
        request. Raises what stands in its place, where there is none.
        """
        if self._failure is None or self._asked is None:
            raise RuntimeError("nothing was tried")
        if self._failure.answer is None or not self._failure.is_whole:
            raise self._failure.error
        return self._failure.answer, self._asked[0]

    @property
    def _course(self) -> Course:
        if self._opening is None:
            raise RuntimeError("no target was asked for yet")
        return self._opening

    async def _begun(self) -> Course:
        if any(leaf.breaker is not None for leaf in leaves(self._plan.tree)):
            await self._trying.breakers.refresh()
        return Course(self._plan.tree, self._plan.chooser)

    async def _may_try(self, option: Option) -> bool:
        """Ask a half-open breaker for its probe; where another process has it, this target is passed over,
        unless nothing else is left.
        """
        leaf = option.leaf
        if leaf.breaker is None or self._plan.chooser.is_open(leaf):
            return True  # left out targets come up only where all of them are
        self._permit = await self._trying.breakers.may_try(self._breaker_key(option))
        if self._permit is not None:
            return True
        self._course.move(LEFT_OUT)
        return self._course.leaf is None and self._failure is None

    async def _tell_breaker(self, option: Option, result: HttpAnswer | Failure) -> None:
        rule, breakers, began_at = option.leaf.breaker, self._trying.breakers, self._journal.dispatched_at
        if rule is None or began_at is None:
            return
        if isinstance(result, Failure) and counts_as_failure(rule, result.status):
            self._permit = None
            await breakers.failed(self._breaker_key(option), rule)
        elif not isinstance(result, Failure):
            self._permit = None
            await breakers.succeeded(self._breaker_key(option), rule, began_at)

    def _breaker_key(self, option: Option) -> BreakerKey:
        return breaker_key(option.target, self._plan.caller.key.workspace)

    async def _close(self, failure: Failure, option: Option) -> None:
        self._failure, answer = failure, failure.answer
        fold, reading = used_by_failure(failure, option.quote)
        self._journal.attempted(
            self._trying.prices,
            status=answer.status if answer is not None else None,
            reading=reading,
            fold=fold,
            upstream_request_id=upstream_request_id(answer) if answer is not None else None,
            reason=failure.reason,
        )
        if answer is not None and not failure.is_whole:
            answer.abort()
            await answer.aclose()

    def _turn_to(self, option: Option, retries: int) -> Option:
        self._journal.option = option
        handling = self._journal.request.handling
        handling.provider, handling.option_path = option.target.provider.slug, option.leaf.path
        handling.retries = retries
        handling.max_tokens = option.lowered_to
        return option

    def _is_watched(self, option: Option) -> bool:
        """Whether it matters how an answer begins. Where nothing else can be tried, bytes pass at once."""
        leaf = option.leaf
        has_rules = leaf.retry.attempts > 0 or leaf.timeout_ms is not None or leaf.breaker is not None
        return self._falls_back or has_rules

    def _goes_on(self, failure: Failure, option: Option) -> bool:
        """Decide what comes after a failure: the same target again, another one, or nothing."""
        if len(self._journal.attempts) + 1 >= ATTEMPTS_MAX:
            return False
        trying, retry = self._trying, option.leaf.retry
        elapsed_ms = trying.clock.monotonic_ms() - self._journal.started_ms
        if not self._plan.chooser.is_open(option.leaf):
            self._wait_ms = trying.patience.wait_ms(
                retry,
                failure,
                tried=self._retries,
                elapsed_ms=elapsed_ms,
                randomness=trying.randomness,
                now=trying.clock.now(),
            )
        if self._wait_ms is not None:
            return True
        if retry.attempts and self._retries == retry.attempts:
            self._asked = option, RETRIES_EXHAUSTED
            self._turn_to(*self._asked)
        if elapsed_ms > trying.patience.answer_within_ms:
            return False
        self._course.move(failure.status)
        return self._course.leaf is not None
