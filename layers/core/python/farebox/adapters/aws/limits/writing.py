"""One update of one item in the making: names of any kind, nested paths, conditions that all have to hold."""

from __future__ import annotations

from farebox.adapters.aws.dynamodb.actions import Action, Key, update
from farebox.adapters.aws.dynamodb.attributes import Value


class Writing:
    """Collects clauses. Names and values go by short aliases, since an expression has 4 KB."""

    def __init__(self, table: str, key: Key) -> None:
        self._table, self._key = table, key
        self._clauses: dict[str, list[str]] = {}
        self._conditions: list[str] = []
        self._aliases: dict[str, str] = {}
        self._values: dict[str, Value] = {}

    @property
    def does_anything(self) -> bool:
        """Whether there is something to write."""
        return bool(self._clauses)

    def path(self, *names: str) -> str:
        """Give what to write for an attribute, or for an entry of a map."""
        return ".".join(f"#{self._aliases.setdefault(name, f'n{len(self._aliases)}')}" for name in names)

    def value(self, value: Value) -> str:
        """Give what to write for a value."""
        name = f"v{len(self._values)}"
        self._values[name] = value
        return f":{name}"

    def set(self, path: str, expression: str) -> None:
        """Give an attribute the value of an expression."""
        self._clause("SET", f"{path} = {expression}")

    def remove(self, path: str) -> None:
        """Take an attribute away."""
        self._clause("REMOVE", path)

    def add(self, path: str, value: str) -> None:
        """Add to a number or to a set, at the top of the item alone."""
        self._clause("ADD", f"{path} {value}")

    def require(self, condition: str) -> None:
        """Write only if this holds too."""
        self._conditions.append(condition)

    def action(self) -> Action:
        """Give the whole write."""
        change = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in self._clauses.items())
        names = {alias: name for name, alias in self._aliases.items()}
        return update(self._table, self._key, change, self._condition(), self._values, names=names)

    def _condition(self) -> str:
        # DynamoDB refuses parentheses that change nothing.
        if len(self._conditions) == 1:
            return self._conditions[0]
        return " AND ".join(f"({each})" if " OR " in each else each for each in self._conditions)

    def _clause(self, verb: str, part: str) -> None:
        self._clauses.setdefault(verb, []).append(part)
