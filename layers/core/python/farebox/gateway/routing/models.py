"""Which models a caller may ask for."""

from __future__ import annotations

from msgspec.structs import replace

from farebox.domain.config import Policy, admits
from farebox.domain.plan import Caller
from farebox.domain.price import ListedModel, PriceBook


def listed_models(policy: Policy, caller: Caller, prices: PriceBook) -> tuple[ListedModel, ...]:
    """List every model with a price that key, workspace and provider admit, each id once.

    A bare id goes to the first provider that admits it; what only a later one has is listed as @slug/id.
    """
    workspace = policy.workspaces.get(caller.key.workspace)
    if workspace is None:
        return ()
    reachable = [
        spec
        for spec in policy.providers
        if admits(caller.key.providers, spec.slug) and admits(workspace.providers, spec.slug)
    ]
    found: dict[str, ListedModel] = {}
    for spec in reachable:
        for model in prices.models(spec.type):
            if not all(
                admits(models, model.id) for models in (spec.models, workspace.models, caller.key.models)
            ):
                continue
            first = next(other for other in reachable if admits(other.models, model.id))
            found.setdefault(model.id, model if first is spec else _named(model, spec.slug))
    return tuple(found.values())


def _named(model: ListedModel, slug: str) -> ListedModel:
    return replace(model, id=f"@{slug}/{model.id}")
