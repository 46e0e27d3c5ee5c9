"""How a token count finds its target: as a message does, but free, so nothing is held and nothing booked."""

from __future__ import annotations

import asyncio

from farebox.domain.errors import CredentialUnavailable, FareboxError, Refusal, UpstreamFault
from farebox.domain.plan import Option, Plan
from farebox.domain.routing.walk import Course
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.routing.trying.failure import fault_failure, refused_status
from farebox.gateway.routing.trying.sending import bounds_of, outgoing_call
from farebox.ports import Credentials
from farebox.providers.registry import Providers
from farebox.wire.http import HttpAnswer, is_success


async def count_at_targets(
    plan: Plan, request: IncomingRequest, providers: Providers, credentials: Credentials
) -> HttpAnswer:
    """Ask one target after another until one counts; no target twice, since clients count in bursts.

    Gives the last answer where none does. Raises what the last target ended with where that is none.
    """
    course = Course(plan.tree, plan.chooser)
    while (leaf := course.leaf) is not None:
        option: Option | None = None
        try:
            option = plan.option_of(leaf)
            request.handling.provider = option.target.provider.slug
            request.handling.option_path = leaf.path
            call = await outgoing_call(request, option, plan.caller, credentials)
            bounds = bounds_of(providers.timeouts, leaf, call)
            source = await providers.send(option.target.provider, call, timeouts=bounds)
        except (Refusal, CredentialUnavailable, UpstreamFault) as error:
            course.move(_status_of(error, option))
            if course.leaf is None:
                raise
            await asyncio.sleep(0)  # a thousand targets may refuse one by one: others have their turns too
            continue
        course.move(source.status)
        if is_success(source.status) or course.leaf is None:
            return source
        await source.aclose()
    raise RuntimeError("a plan without targets")


def _status_of(error: FareboxError, option: Option | None) -> int:
    if isinstance(error, UpstreamFault) and option is not None:
        return fault_failure(error, option.leaf).status
    status = refused_status(error, option)
    if status is None:
        raise error
    return status
