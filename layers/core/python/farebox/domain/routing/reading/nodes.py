"""Targets and what stands above them: who is asked, with what settings, and in which order."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from farebox.domain.routing.finding import Finding
from farebox.domain.routing.query.reading import Allowance
from farebox.domain.routing.reading.fields import Fields
from farebox.domain.routing.reading.settings import Settings, read_breaker, read_settings
from farebox.domain.routing.reading.strategy import (
    check_places,
    proportions,
    read_conditions,
    read_default,
    read_mode,
    read_sticky,
    read_weight,
)
from farebox.domain.routing.tree import Conditional, Fallback, Leaf, LoadBalance, Node

DEPTH_MAX = 12
TARGETS_MAX = 1_000

_GUARDS = (
    "input_guardrails",
    "output_guardrails",
    "before_request_hooks",
    "after_request_hooks",
    "input_mutators",
    "output_mutators",
)
_WITHOUT_EFFECT = ("strict_open_ai_compliance", "fetch_integrated_models")
_PROVIDER_PREFIXES = (
    "aws_",
    "amzn_",
    "vertex_",
    "azure_",
    "openai_",
    "anthropic_",
    "huggingface_",
    "workers_ai_",
    "snowflake_",
    "oracle_",
    "databricks_",
    "stability_",
    "fireworks_",
    "mistral_",
)


class NodeReader(Struct):
    """Reads one document; what is counted is counted over all of it."""

    findings: list[Finding] = field(default_factory=list)
    targets: int = 0
    allowance: Allowance = field(default_factory=Allowance)

    def node(self, fields: Fields, above: Settings, depth: int) -> Node | None:
        """Read a target, or a strategy with its targets. None where too much of it is wrong."""
        if fields.has("targets"):
            return self._branch(fields, above, depth)
        strategy = fields.inner("strategy")
        if strategy is not None:
            read_mode(strategy)
            fields.error("targets", "is required beside a strategy")
        return self._leaf(fields, above)

    def _leaf(self, fields: Fields, above: Settings) -> Leaf:
        name, provider = fields.text("name"), _provider(fields)
        settings = read_settings(fields, above)
        is_passthrough = fields.flag("passthrough") is True
        _close(fields)
        if is_passthrough and provider is not None:
            fields.error("passthrough", "leaves the provider to the request; it goes without one here")
        is_named = provider is not None or (settings.model or "").startswith("@")
        if settings.custom_host is not None and not is_named:
            fields.error("custom_host", "needs a provider beside it, so that no other credential goes there")
        return Leaf(
            path=fields.path,
            provider=provider,
            model=settings.model,
            name=name,
            retry=settings.retry,
            timeout_ms=settings.timeout_ms,
            cache=settings.cache,
            params=settings.params,
            custom_host=settings.custom_host,
            forward_headers=settings.forward_headers,
            breaker=settings.breaker,
        )

    def _branch(self, fields: Fields, above: Settings, depth: int) -> Node | None:
        strategy = fields.inner("strategy") or Fields({}, fields.place("strategy"), self.findings)
        settings = read_settings(fields, above)
        if (breaker := read_breaker(strategy)) is not None:
            settings = replace(settings, breaker=breaker)
        fields.text("name")
        for ignored in ("provider", "virtual_key", "passthrough"):
            if fields.take(ignored) is not None:
                fields.warn(ignored, "has no effect beside targets; write it in each target")
        targets = self._targets(fields, depth)
        node = self._strategy(fields, strategy, settings, targets, depth)
        strategy.close()
        _close(fields)
        return node

    def _targets(self, fields: Fields, depth: int) -> list[Fields]:
        items = fields.items("targets", TARGETS_MAX) or []
        self.targets += len(items)
        if not items:
            fields.error("targets", f"must be a list of 1 to {TARGETS_MAX} targets")
        elif depth >= DEPTH_MAX:
            fields.error("targets", f"are nested deeper than {DEPTH_MAX} levels")
            return []
        elif self.targets > TARGETS_MAX:
            fields.error("targets", f"are more than {TARGETS_MAX} in the whole config")
            return []
        found = []
        for index, item in enumerate(items):
            if isinstance(item, Mapping):
                found.append(Fields(item, fields.place(f"targets[{index}]"), self.findings))
            else:
                fields.error(f"targets[{index}]", "must be an object")
        return found

    def _strategy(
        self, fields: Fields, strategy: Fields, settings: Settings, targets: list[Fields], depth: int
    ) -> Node | None:
        mode = read_mode(strategy)
        weights = [read_weight(target) for target in targets]
        names = [target.take("name") for target in targets]
        children = [self.node(target, settings, depth + 1) for target in targets]
        found = tuple(child for child in children if child is not None)
        statuses, sticky = strategy.statuses("on_status_codes"), read_sticky(strategy)
        conditions, default = read_conditions(strategy, names, self.allowance), read_default(strategy, names)
        check_places(strategy, mode)
        if not found or len(found) != len(children):
            return None
        match mode:
            case "fallback":
                return Fallback(fields.path, found, statuses)
            case "loadbalance":
                if not any(weights):
                    fields.error("targets", "have no weight above 0, so none would ever be asked")
                return LoadBalance(fields.path, found, proportions(weights), sticky)
            case "conditional":
                if not conditions:
                    strategy.error("conditions", "must be a list of at least one condition")
                return Conditional(fields.path, found, conditions, default)
        if len(found) > 1:
            fields.warn("targets", "are several, of which mode single asks the first alone")
        return found[0]


def _provider(fields: Fields) -> str | None:
    """Read `provider`, or its older twin `virtual_key`, which is a provider's slug without the @."""
    provider, older = fields.text("provider"), fields.text("virtual_key")
    if provider is not None and not provider.strip("@"):
        fields.error("provider", "must be @slug, or a provider type")
    if older is None:
        return provider
    slug = "@" + older.removeprefix("@")
    if provider is not None and provider.startswith("@") and provider != slug:
        fields.error("virtual_key", f'says otherwise than provider; write provider: "{slug}" alone')
    return slug


def _close(fields: Fields) -> None:
    """Say of every field that is left why it is not served, or that nobody knows it."""
    if fields.take("api_key") is not None:
        fields.error("api_key", "a config holds no secrets; name a provider that has a credential (@slug)")
    for name in _GUARDS:
        if fields.take(name) not in (None, []):
            fields.error(name, "guardrails and hooks are not served by this version")
    for name in _WITHOUT_EFFECT:
        if fields.flag(name) is not None:
            fields.warn(name, "has no effect on /v1/messages")
    if fields.take("prompt_id") is not None:
        fields.error("prompt_id", "prompt templates are not served")
    for name in fields.left():
        if name.startswith(_PROVIDER_PREFIXES):
            fields.take(name)
            fields.error(name, "belongs to a provider of the policy file; name that one here (@slug)")
    fields.take("weight")
    fields.close()
