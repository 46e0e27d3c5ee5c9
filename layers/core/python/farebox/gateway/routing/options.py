"""What one target means for one request: its price, what may be used there, and whose budgets it draws on."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.budget import Subject, subject_of, touches
from farebox.domain.budget.rate_limit import draws
from farebox.domain.config import Target
from farebox.domain.plan import Caller, Option, Quote
from farebox.domain.price import PriceBook, Rates, dearest
from farebox.domain.record import Billing
from farebox.domain.routing.tree import Leaf
from farebox.gateway.charging.known_inputs import KnownInputs
from farebox.gateway.routing.targets import Targets
from farebox.providers.registry import Providers
from farebox.wire.messages import MessagesHead, read_head
from farebox.wire.request_body.changes import with_params

# What is held for output at first, where the answer can be cut and topped up: a few seconds of writing.
OUTPUT_SLICE_TOKENS = 4_096
OUTPUT_TOKENS_DEFAULT_MAX = 128_000
ADVISOR_OUTPUT_TOKENS = 32_000
TOKENS_MAX = 10_000_000


class Options(Struct, frozen=True):
    """Makes the options of one request, as of one policy and one moment, when it is their turn."""

    request_id: str
    session_id: str | None
    body: bytes
    head: MessagesHead
    targets: Targets
    prices: PriceBook
    providers: Providers
    inputs: KnownInputs
    at: datetime

    def of(self, leaf: Leaf) -> Option:
        """Give what a leaf means. Raises `PolicyRefused`, `ProviderUnresolved` and, for a body that a config
        makes unreadable, `RequestMalformed`.
        """
        body, head = self._changed(leaf)
        target = replace(self.targets, other_models=head.other_models).target(leaf)
        provider = self.providers.of(target.provider)
        caller, policy = self.targets.caller, self.targets.policy
        billing = _billing(caller, target)
        subject = self._subject(target)
        conversation, known_bound = self.inputs.recognise(
            (caller.key.id, self.session_id, caller.agent_id, target.model),
            head.messages,
            head.frame_digest,
        )
        budgets = policy.budgets_of(self.session_id, self.at)
        counted = [budget for budget in budgets if billing is Billing.METERED or budget.include_subscription]
        limits = policy.rate_limits_of(self.session_id, self.at)
        return Option(
            leaf=leaf,
            target=target,
            body=body,
            asked_model=head.model,
            is_stream=head.is_stream,
            billing=billing,
            rates=self._rates(target, head),
            quote=_quote(
                head,
                _input_bound(head, known_bound),
                is_cuttable=head.is_stream and provider.cancel_stops_billing,
            ),
            touches=touches(counted, subject, self.at),
            draws=draws(limits, subject, self.request_id),
            conversation=conversation,
        )

    def _changed(self, leaf: Leaf) -> tuple[bytes, MessagesHead]:
        """Give the body as this leaf changes it. What it may cost and use is read anew from that."""
        params = leaf.params
        if params.changes_nothing:
            return self.body, self.head
        # A target that nobody may use refuses before a large body is written anew for it.
        replace(self.targets, other_models=()).target(leaf)
        body = with_params(self.body, default=params.default, override=params.override, drop=params.drop)
        return body, read_head(body)

    def _subject(self, target: Target) -> Subject:
        caller = self.targets.caller
        return subject_of(
            organisation=self.targets.policy.organisation,
            workspace=caller.key.workspace,
            key=caller.key.name,
            user=caller.key.user,
            provider=target.provider.slug,
            model=target.model_name,
            session=self.session_id,
            agent=caller.agent_id,
            metadata=caller.metadata,
        )

    def _rates(self, target: Target, head: MessagesHead) -> Rates:
        """Give the dearest unit prices among the models that may answer."""
        book = self.prices.with_overrides(target.provider.prices)
        rates = [
            book.rates(
                provider=target.provider.type,
                model=model,
                region=target.provider.region,
                at=self.at,
                speed=head.speed,
                inference_geo=head.inference_geo,
            )
            for model in (target.priced_model, *head.other_models)
        ]
        return rates[0] if len(rates) == 1 else dearest(rates)


def _billing(caller: Caller, target: Target) -> Billing:
    credential = caller.credential
    travels = target.provider.uses_caller_credential and credential is not None
    return Billing.SUBSCRIPTION if travels and credential and credential.is_subscription else Billing.METERED


def _input_bound(head: MessagesHead, known_bound: int | None) -> int:
    """Bound the input by what was counted before, where that is lower. Pictures and documents are not counted
    by their bytes, so with them it is not.
    """
    if known_bound is None or head.input.has_attachments:
        return head.input.bound_tokens
    return min(head.input.bound_tokens, known_bound)


def _quote(head: MessagesHead, input_tokens_bound: int, *, is_cuttable: bool) -> Quote:
    """Quote a slice of the output where the answer can be cut; else all of it, and whatever the provider may
    run besides: an advisor reads the input anew and writes its own, a fallback is a second attempt.
    """
    output_max = head.max_tokens or OUTPUT_TOKENS_DEFAULT_MAX
    in_slices = is_cuttable and not head.has_server_tools
    runs = 1 + head.advisor_uses_bound + head.fallbacks
    all_output = output_max * (1 + head.fallbacks) + ADVISOR_OUTPUT_TOKENS * head.advisor_uses_bound
    return Quote(
        input_tokens_bound=min(input_tokens_bound * runs, TOKENS_MAX),
        input_tokens_expected=head.input.expected_tokens,
        caches=head.input.caches,
        caches_for_1h=head.input.caches_for_1h,
        output_tokens=min(output_max, OUTPUT_SLICE_TOKENS) if in_slices else min(all_output, TOKENS_MAX),
        output_tokens_max=output_max,
        web_searches=head.web_searches_bound,
        thinks=head.thinks,
        in_slices=in_slices,
        output_runs=1 + head.fallbacks,
        thinking_tokens=head.thinking_tokens,
    )
