"""How the room of a wide bucket lies on its shards: each may grant by itself, and none passes the limit.

Whatever happens, all that is used and all room on the shards add up to one limit. Unless the bucket is
overdrawn no room is below nothing; so a shard that grants out of its room keeps the whole under that limit.
A step on a shard moves an amount between what is used there and its room. A spread moves room between shards,
or changes their limit on all of them at once; it adds and never sets, so that it stands beside such steps.
"""

from __future__ import annotations

from msgspec import Struct


class Pool(Struct, frozen=True):
    """The rooms of a wide bucket's shards, and the limit that they belong to: None before the first use.

    Overdrawn: a booking found no room for what it was above its hold. Nobody grants from such a bucket until
    its rooms are spread anew.
    """

    rooms: tuple[int, ...]
    limit: int | None = None
    is_overdrawn: bool = False


class Spread(Struct, frozen=True):
    """What to add to each room. It holds only while the limit still is that of the pool it was made for, and
    no room goes below nothing by it.

    With a `limit` it is for all shards: they get this limit, and are overdrawn no more.
    """

    added: tuple[int, ...]
    limit: int | None = None


def spread_for(pool: Pool, own: int, growth: int, limit: int) -> Spread | None:
    """Make room for `growth` on the shard `own`, under `limit`; None where the bucket has not as much.

    Nothing is added where the shard has it already. Two shards are asked before all of them are.
    """
    if pool.limit is not None and pool.limit <= limit and not pool.is_overdrawn:
        borrowed = _borrowed(pool.rooms, own, growth)
        if borrowed is not None:
            return borrowed
    free = sum(pool.rooms) + limit - (pool.limit or 0)
    if free < growth:
        return None
    share, rest = divmod(free - growth, len(pool.rooms))
    wanted = [share] * len(pool.rooms)
    wanted[own] += growth + rest
    return Spread(tuple(new - old for new, old in zip(wanted, pool.rooms, strict=True)), limit)


def _borrowed(rooms: tuple[int, ...], own: int, growth: int) -> Spread | None:
    """Take from the shards that have most, and half of what the last one can spare, so as not to ask soon."""
    added = [0] * len(rooms)
    for number in sorted(range(len(rooms)), key=lambda number: rooms[number], reverse=True):
        missing = growth - rooms[own] - added[own]
        if missing <= 0:
            break
        if number != own:
            spare = max(0, rooms[number] - missing)
            taken = min(rooms[number], missing) + spare // 2
            added[number] -= taken
            added[own] += taken
    return Spread(tuple(added)) if rooms[own] + added[own] >= growth else None
