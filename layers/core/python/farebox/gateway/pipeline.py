"""One request, on one page: authenticate, resolve, limit, look up, reserve, route, relay, settle, emit."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.config import Policy
from farebox.domain.errors import CredentialUnavailable, Refusal, UpstreamCut
from farebox.domain.plan import Caller, Option, Plan
from farebox.domain.price import ListedModel, PriceBook
from farebox.domain.routing.caching import CacheEntry
from farebox.gateway.authenticate import authenticate, with_metadata
from farebox.gateway.caching.cache import AnswerCache, Lookup
from farebox.gateway.charging.hidden_output import HiddenOutput
from farebox.gateway.charging.journal import Journal
from farebox.gateway.charging.known_inputs import KnownInputs
from farebox.gateway.charging.leases import Leases
from farebox.gateway.charging.meter import StreamMeter
from farebox.gateway.charging.quota import Quota
from farebox.gateway.incoming import IncomingRequest
from farebox.gateway.limit import Admission, Limits
from farebox.gateway.reserve import HoldTerms, mark_exhausted, reserve
from farebox.gateway.resolve import resolve
from farebox.gateway.route import Attempts, Trying
from farebox.gateway.routing.counting import count_at_targets
from farebox.gateway.routing.models import listed_models
from farebox.gateway.routing.relay import answer_headers, breaks_off, is_event_stream
from farebox.gateway.routing.trying.sending import outgoing_call
from farebox.gateway.settle import Settler
from farebox.gateway.stream import Answer, MeteredStream
from farebox.ports import Clock, Credentials, Keys, Ledger, Policies, Randomness
from farebox.providers.registry import Providers
from farebox.wire.http import Headers, HttpAnswer, read_whole
from farebox.wire.limit_headers import with_limits
from farebox.wire.messages import MessagesHead, read_head


class Gateway(Struct, frozen=True):
    """Everything one request needs, wired once per process by `compose`."""

    keys: Keys
    policies: Policies
    ledger: Ledger
    credentials: Credentials
    providers: Providers
    prices: PriceBook
    settler: Settler
    leases: Leases
    inputs: KnownInputs
    limits: Limits
    cache: AnswerCache
    trying: Trying
    clock: Clock
    randomness: Randomness
    terms: HoldTerms

    async def answer(self, request: IncomingRequest) -> Answer:
        """Do everything that may still say no, and return with the first byte in hand.

        Raises `Refusal` (the caller's to mend) or `Fault`. Whatever happens after the key was accepted is
        one row of the ledger; cancelling counts as the client leaving or the process stopping, by the cancel
        message.
        """
        caller = await authenticate(request, self.keys, self.clock)
        journal = Journal(request, caller, self.clock, self.clock.now(), self.clock.monotonic_ms())
        try:
            journal.caller = caller = with_metadata(request, caller)
            policy = await self.policies.current()
            journal.organisation = policy.organisation
            body = await request.read_body()
            head = read_head(body)
            journal.model = head.model
            plan = journal.plan = self._resolved(request, body, head, caller, policy)
            return await self._first_answer(plan, journal)
        except BaseException as ending:
            await self.settler.failed(journal, ending)
            raise

    async def _first_answer(self, plan: Plan, journal: Journal) -> Answer:
        """Admit the request at one target after another, each at its own price, until one answers."""
        admission: Admission | None = None
        lookup: Lookup | None = None
        async with aclosing(Attempts(plan, journal, self.trying)) as attempts:
            while (option := await attempts.next()) is not None:
                try:
                    call = await outgoing_call(journal.request, option, plan.caller, self.credentials)
                    admission = await self.limits.admit(plan.request_id, option, admission, journal.spent)
                    journal.admission = admission
                    lookup = await self.cache.look_up(option, call, journal, lookup)
                    if lookup.entry is not None:
                        return await self._replay(lookup.entry, journal)
                    fitting, journal.hold = await reserve(
                        option, journal, self.ledger, self.clock, self.terms
                    )
                    self.leases.keep(journal.hold)
                    if fitting is not option:
                        # What answers is not quite what was asked, and not to be given again.
                        option, lookup = journal.shorten(fitting), None
                        call = replace(call, body=option.body)
                    source = await attempts.send(option, call)
                except (Refusal, CredentialUnavailable) as refusal:
                    attempts.refused(refusal)
                else:
                    if source is not None:
                        return await self._relay(source, option, journal, lookup)
            return await self._relay(*attempts.last_word(), journal)

    async def _replay(self, entry: CacheEntry, journal: Journal) -> Answer:
        """Give an answer again that was given before, byte for byte; it settles before it begins."""
        await self.settler.cached(journal, entry)
        return Answer(entry.status, _answer_headers(list(entry.headers), journal), entry.body)

    async def _relay(
        self, source: HttpAnswer, option: Option, journal: Journal, lookup: Lookup | None = None
    ) -> Answer:
        headers = _answer_headers(source.headers, journal)
        if not is_event_stream(source):
            body = await read_whole(source)
            if breaks_off(source, body):
                raise UpstreamCut("the provider", "its JSON ends too soon")
            await self.settler.answered(journal, source, body)
            self.cache.keep(source, body, journal, lookup)
            return Answer(source.status, headers, body)
        journal.first_byte()
        source = self.cache.recorded(source, lookup)
        meter = StreamMeter(HiddenOutput(self.clock.awake_ms) if option.quote.thinks else None)
        finish = partial(self.settler.streamed, journal, meter, source)
        stream = MeteredStream(
            source,
            meter,
            Quota(option, journal, self.ledger, self.clock, lease_ms=self.terms.lease_ms),
            finish=self.cache.kept_after(finish, source, meter, journal, lookup),
            exhaust=partial(mark_exhausted, ledger=self.ledger),
            cancel_stops_billing=self.providers.of(option.target.provider).cancel_stops_billing,
        )
        return Answer(source.status, headers, stream=stream)

    async def count_tokens(self, request: IncomingRequest) -> Answer:
        """Proxy a token count: authenticated and narrowed like a message, free, never held, never a row."""
        caller = with_metadata(request, await authenticate(request, self.keys, self.clock))
        policy = await self.policies.current()
        body = await request.read_body()
        head = read_head(body)
        plan = self._resolved(request, body, head, caller, policy)
        source = await count_at_targets(plan, request, self.providers, self.credentials)
        headers = answer_headers(source.headers, caller, request)
        return Answer(source.status, headers, await read_whole(source))

    async def models(self, request: IncomingRequest) -> tuple[ListedModel, ...]:
        """List the models this caller may use, each once, in the order of the policy's providers."""
        caller = await authenticate(request, self.keys, self.clock)
        return listed_models(await self.policies.current(), caller, self.prices)

    def _resolved(
        self, request: IncomingRequest, body: bytes, head: MessagesHead, caller: Caller, policy: Policy
    ) -> Plan:
        return resolve(
            request,
            body,
            head,
            caller,
            policy=policy,
            prices=self.prices,
            providers=self.providers,
            inputs=self.inputs,
            randomness=self.randomness,
            breakers=self.trying.breakers,
            now=self.clock.now(),
        )


def _answer_headers(headers: Headers, journal: Journal) -> Headers:
    told = answer_headers(headers, journal.caller, journal.request)
    return told if journal.admission is None else with_limits(told, journal.admission.headers)
