"""A config as a tree: which targets there are, and how one is tried after another.

What a node inherits from those above it is already resolved: a leaf knows all that holds for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct, field

from farebox.domain.routing.query import Path, Query

RETRIED_STATUSES = frozenset((429, 500, 502, 503, 504, 529))
"""What is tried again where a config names no statuses of its own."""

REFUSED_BY_POLICY = 412
"""What a target counts as whose own budget or models refuse the request: Portkey's status for it."""


class Retry(Struct, frozen=True):
    """How often one target is tried again. `heeds_retry_after` waits as long as the provider asks."""

    attempts: int = 0
    statuses: frozenset[int] = RETRIED_STATUSES
    heeds_retry_after: bool = True


class CacheRule(Struct, frozen=True):
    """Whether answers are kept. `max_age_s` is None for the deployment's default; `is_shared` says that other
    workspaces may have them too, whose configs say the same.
    """

    mode: str = "simple"
    max_age_s: int | None = None
    is_shared: bool = False


class Params(Struct, frozen=True):
    """What is changed in the body, in this order: `default` where it is absent, `override`, then `drop`.

    The model of `override_params` is `Leaf.model` instead.
    """

    default: Mapping[str, object] = field(default_factory=dict)
    override: Mapping[str, object] = field(default_factory=dict)
    drop: tuple[str, ...] = ()

    @property
    def changes_nothing(self) -> bool:
        """Whether body bytes can stay as they came."""
        return not (self.default or self.override or self.drop)


class BreakerRule(Struct, frozen=True):
    """When a target is left out for a while: Portkey's `cb_config`."""

    failure_threshold: int | None = None
    failure_threshold_percent: int | None = None
    minimum_requests: int = 5
    cooldown_ms: int = 30_000
    failure_statuses: frozenset[int] | None = None


class Leaf(Struct, frozen=True):
    """One target. `path` is where it stands: 'config', or 'config.targets[0].targets[1]'.

    `provider` is '@slug' or a type as written, None where the request decides; `model` is None where the
    request's stays.
    """

    path: str
    provider: str | None = None
    model: str | None = None
    name: str | None = None
    retry: Retry = Retry()  # frozen
    timeout_ms: int | None = None
    cache: CacheRule | None = None
    params: Params = field(default_factory=Params)
    custom_host: str | None = None
    forward_headers: tuple[str, ...] = ()
    breaker: BreakerRule | None = None


class Fallback(Struct, frozen=True):
    """Children one after the other, while the status is one of `statuses`; None moves on at any but 2xx."""

    path: str
    children: tuple[Node, ...]
    statuses: frozenset[int] | None = None

    def moves_on(self, status: int) -> bool:
        """Whether the next child is tried after this status."""
        return not 200 <= status < 300 if self.statuses is None else status in self.statuses


class Sticky(Struct, frozen=True):
    """What keeps a caller on one child: values of the request, and for how long."""

    fields: tuple[Path, ...] = ()
    ttl_s: int = 3_600


class LoadBalance(Struct, frozen=True):
    """One child, drawn by weight. `weights` are whole numbers in proportion, one for each child."""

    path: str
    children: tuple[Node, ...]
    weights: tuple[int, ...]
    sticky: Sticky | None = None


class Condition(Struct, frozen=True):
    """A query, and the index of the child that serves what it matches."""

    query: Query
    child: int


class Conditional(Struct, frozen=True):
    """The child of the first condition that holds; else `default`, an index too."""

    path: str
    children: tuple[Node, ...]
    conditions: tuple[Condition, ...]
    default: int | None = None


Node: TypeAlias = Leaf | Fallback | LoadBalance | Conditional
