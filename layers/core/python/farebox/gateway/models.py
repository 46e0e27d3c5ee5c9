"""Which models a caller may ask for."""

from __future__ import annotations

from farebox.domain.config import Policy, admits
from farebox.domain.plan import Caller
from farebox.domain.price import ListedModel, PriceBook


def listed_models(policy: Policy, caller: Caller, prices: PriceBook) -> tuple[ListedModel, ...]:
    """List every model with a price that key, workspace and provider admit, each id once."""
    workspace = policy.workspaces.get(caller.key.workspace)
    if workspace is None:
        return ()
    found: dict[str, ListedModel] = {}
    for spec in policy.providers:
        if not (admits(caller.key.providers, spec.slug) and admits(workspace.providers, spec.slug)):
            continue
        for model in prices.models(spec.type):
            if all(
                admits(patterns, model.id) for patterns in (spec.models, workspace.models, caller.key.models)
            ):
                found.setdefault(model.id, model)
    return tuple(found.values())
