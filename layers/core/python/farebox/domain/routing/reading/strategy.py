"""How a node chooses among its targets: weights, what keeps a caller on one, conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import gcd

from farebox.domain.routing.query import QueryInvalid, read_path, read_query
from farebox.domain.routing.query.reading import Allowance
from farebox.domain.routing.reading.fields import Fields
from farebox.domain.routing.tree import Condition, Sticky

MODES = ("single", "fallback", "loadbalance", "conditional")
CONDITIONS_MAX = 1_000
WEIGHT_MAX = 1_000_000
STICKY_TTL_S_MAX = 7 * 86_400

_WEIGHT_PARTS = 1_000_000
_MODE_OF = {
    "on_status_codes": "fallback",
    "sticky": "loadbalance",
    "conditions": "conditional",
    "default": "conditional",
}


def read_mode(strategy: Fields) -> str | None:
    """Read `mode`; None stands for single."""
    mode = strategy.take("mode")
    if mode is None or mode in MODES:
        return str(mode) if mode else None
    strategy.error("mode", f"must be one of {', '.join(MODES)}")
    return None


def check_places(strategy: Fields, mode: str | None) -> None:
    """Note what stands in a strategy of another mode."""
    for name, its_mode in _MODE_OF.items():
        if strategy.has(name) and mode != its_mode:
            strategy.error(name, f"goes with mode {its_mode}")


def read_conditions(strategy: Fields, names: Sequence[object], allowance: Allowance) -> tuple[Condition, ...]:
    """Read `conditions`: a query each, and the name of the target for what it matches."""
    found = []
    for index, item in enumerate(strategy.items("conditions", CONDITIONS_MAX) or ()):
        place = f"conditions[{index}]"
        if not isinstance(item, Mapping):
            strategy.error(place, "must be an object with query and then")
            continue
        fields = Fields(item, strategy.place(place), strategy.findings)
        query, child = fields.take("query"), _child(fields, "then", names)
        fields.close()
        try:
            read = read_query(query, allowance)
        except QueryInvalid as error:
            fields.error(f"query.{error.path}" if error.path else "query", error.detail)
            continue
        if child is not None:
            found.append(Condition(read, child))
    return tuple(found)


def read_default(strategy: Fields, names: Sequence[object]) -> int | None:
    """Read `default`, the target where no condition holds."""
    return _child(strategy, "default", names) if strategy.has("default") else None


def read_weight(fields: Fields) -> int:
    """Give a weight in millionths; one that is above 0 stays so."""
    value = fields.take("weight")
    if value is None:
        return _WEIGHT_PARTS
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        fields.error("weight", "must be a number")
        return 0
    if not 0 <= value <= WEIGHT_MAX:
        fields.error("weight", f"must be from 0 to {WEIGHT_MAX}")
        return 0
    return max(round(value * _WEIGHT_PARTS), 1) if value else 0


def proportions(weights: Sequence[int]) -> tuple[int, ...]:
    """Give weights as the smallest whole numbers of the same proportion."""
    common = gcd(*weights) or 1
    return tuple(weight // common for weight in weights)


def read_sticky(strategy: Fields) -> Sticky | None:
    """Read `sticky`; without fields of its own it is the session that stays."""
    inner = strategy.inner("sticky")
    if inner is None:
        return None
    is_enabled = inner.flag("enabled")
    hash_fields, ttl_s = inner.texts("hash_fields"), inner.whole("ttl", 1, STICKY_TTL_S_MAX)
    inner.close()
    paths = []
    for index, name in enumerate(hash_fields or ()):
        try:
            paths.append(read_path(name))
        except QueryInvalid as error:
            inner.error(f"hash_fields[{index}]", error.detail)
    if is_enabled is False:
        return None
    return Sticky(tuple(paths), Sticky().ttl_s if ttl_s is None else ttl_s)


def _child(fields: Fields, field_name: str, names: Sequence[object]) -> int | None:
    """Find the target that a condition names."""
    name = fields.text(field_name)
    if name is None:
        if not fields.has(field_name):
            fields.error(field_name, "is required: the name of a target")
        return None
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        fields.error(field_name, f"is not clear: several targets are named '{name}'")
        return None
    known = [each for each in names if isinstance(each, str)]
    meant = fields.meant(name, known)
    hint = f"did you mean '{meant}'?" if meant else f"named are {', '.join(known[:20]) or 'none'}"
    fields.error(field_name, f"there is no target named '{name}'; {hint}")
    return None
