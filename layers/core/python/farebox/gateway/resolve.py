"""Step two: what was asked for, from whom, and under which budgets. Makes the immutable plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from farebox.domain.budget import Subject, subject_of, touches
from farebox.domain.budget.rate_limit import draws
from farebox.domain.config import Policy, ProviderSpec, Target, Workspace, admits
from farebox.domain.errors import PolicyRefused, ProviderUnresolved, RequestMalformed
from farebox.domain.plan import Caller, Plan, Quote
from farebox.domain.price import PriceBook, Rates, dearest
from farebox.domain.record import Billing
from farebox.gateway.charging.known_inputs import KnownInputs
from farebox.gateway.incoming import IncomingRequest
from farebox.providers.registry import Providers
from farebox.wire.messages import MessagesHead

# What is held for output at first, where the answer can be cut and topped up: a few seconds of writing.
OUTPUT_SLICE_TOKENS = 4_096
OUTPUT_TOKENS_DEFAULT_MAX = 128_000
ADVISOR_OUTPUT_TOKENS = 32_000
TOKENS_MAX = 10_000_000
SESSION_ID_LENGTH_MAX = 128


def resolve(
    request: IncomingRequest,
    head: MessagesHead,
    caller: Caller,
    *,
    policy: Policy,
    prices: PriceBook,
    providers: Providers,
    inputs: KnownInputs,
    now: datetime,
) -> Plan:
    """Decide target, budgets and the quote of one request.

    Raises `PolicyRefused`, `ProviderUnresolved` and `RequestMalformed`.
    """
    target, option_path = choose_target(request, head, caller, policy)
    provider = providers.of(target.provider)
    billing = _billing(caller, target)
    session_id = caller.session_id or _printable(head.session_id)
    subject = _subject(policy, caller, target, session_id)
    rates = _rates(prices, target, head, now)
    conversation, known_bound = inputs.recognise(
        (caller.key.id, session_id, caller.agent_id, target.model), head.messages, head.frame_digest
    )
    budgets = policy.budgets_of(session_id, now)
    counted = [budget for budget in budgets if billing is Billing.METERED or budget.include_subscription]
    return Plan(
        request_id=request.request_id,
        admitted_at=now,
        caller=caller,
        model=target.model,
        is_stream=head.is_stream,
        session_id=session_id,
        targets=(target,),
        subject=subject,
        touches=touches(counted, subject, now),
        billing=billing,
        rates=rates,
        quote=_quote(
            head,
            _input_bound(head, known_bound),
            is_cuttable=head.is_stream and provider.cancel_stops_billing,
        ),
        option_path=option_path,
        conversation=conversation,
        draws=draws(policy.rate_limits_of(session_id, now), subject, request.request_id),
    )


def choose_target(
    request: IncomingRequest, head: MessagesHead, caller: Caller, policy: Policy
) -> tuple[Target, str]:
    """Give the target and where in the config it stands, checked against what key, workspace and provider
    admit.
    """
    workspace = policy.workspaces.get(caller.key.workspace)
    if workspace is None:  # its narrowing is gone with it: refuse closed
        raise PolicyRefused(f"The workspace '{caller.key.workspace}' of this key does not exist any more.")
    name, model, option_path = _asked_for(request, head.model, caller, workspace, policy)
    for owner, patterns in (("key", caller.key.models), ("workspace", workspace.models)):
        _check_admitted(f"for this {owner}", patterns, (model, *head.other_models))
    reachable = [
        spec
        for spec in policy.providers
        if admits(caller.key.providers, spec.slug) and admits(workspace.providers, spec.slug)
    ]
    if name is None:
        spec = next((spec for spec in reachable if admits(spec.models, model)), None)
        if spec is None:
            raise ProviderUnresolved(
                f"No provider you may use serves model '{model}'. Name one with the header "
                "x-farebox-provider: @slug or as @slug/model, use a config, or ask your administrator "
                "to add the model to a provider."
            )
        _check_admitted(f"at provider '{spec.slug}'", spec.models, head.other_models)
        return Target(spec, model), option_path
    spec = _named_provider(name, reachable)
    _check_admitted(f"at provider '{spec.slug}'", spec.models, (model, *head.other_models))
    return Target(spec, model), option_path


def _check_admitted(where: str, patterns: tuple[str, ...], models: Iterable[str]) -> None:
    for model in models:
        if not admits(patterns, model):
            raise PolicyRefused(f"Model '{model}' is not allowed {where} (allowed: {', '.join(patterns)}).")


def _asked_for(
    request: IncomingRequest, model: str, caller: Caller, workspace: Workspace, policy: Policy
) -> tuple[str | None, str, str]:
    """Give the provider's name if one was asked for, the bare model, and the option path."""
    named = _named_in_request(request, model)
    document = _config_document(request, caller, workspace, policy)
    if named is None:
        return (None, model, "config") if document is None else _first_target(document, model)
    name, bare = named
    if document is not None and not _may_override(caller, workspace) and _decides(document, bare):
        raise PolicyRefused("This key uses a fixed config; no other provider may be named with it.")
    return name, bare, "config"


def _decides(document: Mapping[str, object], model: str) -> bool:
    """Whether a config says which provider or which model it shall be."""
    name, decided, _ = _first_target(document, model)
    return name is not None or decided != model


def _named_in_request(request: IncomingRequest, model: str) -> tuple[str, str] | None:
    """Give the provider that the request itself names, and the bare model."""
    if model.startswith("@"):
        slug, _, bare = model.partition("/")
        if not bare:
            raise RequestMalformed(f"model: '{model}' should read @provider/model.")
        return slug, bare
    header = request.farebox_header(b"provider")
    return (header, model) if header else None


def _may_override(caller: Caller, workspace: Workspace) -> bool:
    return caller.key.allow_config_override and workspace.allow_config_override


def _config_document(
    request: IncomingRequest, caller: Caller, workspace: Workspace, policy: Policy
) -> Mapping[str, object] | None:
    asked = request.farebox_header(b"config")
    if asked:
        if not _may_override(caller, workspace):
            raise PolicyRefused("This key uses a fixed config; x-farebox-config is not allowed with it.")
        if asked.startswith("{"):
            return _inline_config(asked)
    slug = asked or caller.key.config or workspace.config
    if slug is None:
        return None
    saved = policy.configs.get(slug)
    if saved is None:
        raise PolicyRefused(f"There is no config '{slug}'.")
    return saved.document


def _inline_config(text: str) -> Mapping[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise RequestMalformed("x-farebox-config: is neither a config's slug nor a JSON object.") from None
    return document  # type: ignore[no-any-return]  # begins with a brace, so it is an object


def _first_target(document: Mapping[str, object], model: str) -> tuple[str | None, str, str]:
    """Read a config of one target, or the first target of a fallback."""
    targets = document.get("targets")
    if isinstance(targets, list) and targets and isinstance(targets[0], dict):
        strategy = document.get("strategy")
        mode = strategy.get("mode") if isinstance(strategy, dict) else None
        if mode not in (None, "single", "fallback"):
            raise PolicyRefused(f"Configs with strategy '{mode}' are not served by this version of farebox.")
        return _target_fields(targets[0], model, "config.targets[0]")
    return _target_fields(document, model, "config")


def _target_fields(target: Mapping[str, object], model: str, path: str) -> tuple[str | None, str, str]:
    overrides = target.get("override_params")
    override = overrides.get("model") if isinstance(overrides, dict) else None
    if isinstance(override, str) and override:
        model = override
    provider = target.get("provider")
    if model.startswith("@"):
        slug, _, model = model.partition("/")
        return slug, model, path
    return (provider if isinstance(provider, str) else None), model, path


def _named_provider(name: str, reachable: list[ProviderSpec]) -> ProviderSpec:
    slug = name.removeprefix("@")
    for spec in reachable:
        if spec.slug == slug:
            return spec
    if not name.startswith("@"):
        for spec in reachable:
            if spec.type == name and spec.uses_caller_credential:
                return spec
    slugs = ", ".join(f"@{spec.slug}" for spec in reachable) or "none"
    raise PolicyRefused(f"There is no provider '{name}' that you may use (yours: {slugs}).")


def _billing(caller: Caller, target: Target) -> Billing:
    credential = caller.credential
    travels = target.provider.uses_caller_credential and credential is not None
    return Billing.SUBSCRIPTION if travels and credential and credential.is_subscription else Billing.METERED


def _subject(policy: Policy, caller: Caller, target: Target, session_id: str | None) -> Subject:
    return subject_of(
        organisation=policy.organisation,
        workspace=caller.key.workspace,
        key=caller.key.name,
        user=caller.key.user,
        provider=target.provider.slug,
        model=target.model,
        session=session_id,
        agent=caller.agent_id,
        metadata=caller.metadata,
    )


def _printable(session_id: str | None) -> str | None:
    """Cut a session of the body down to what may be logged; it names a bucket, too."""
    text = "".join(char for char in session_id or "" if " " <= char <= "~")
    return text[:SESSION_ID_LENGTH_MAX].strip() or None


def _rates(prices: PriceBook, target: Target, head: MessagesHead, now: datetime) -> Rates:
    """Give the dearest unit prices among the models that may answer."""
    book = prices.with_overrides(target.provider.prices)
    rates = [
        book.rates(
            provider=target.provider.type,
            model=model,
            region=target.provider.region,
            at=now,
            speed=head.speed,
            inference_geo=head.inference_geo,
        )
        for model in (target.model, *head.other_models)
    ]
    return rates[0] if len(rates) == 1 else dearest(rates)


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
    )
