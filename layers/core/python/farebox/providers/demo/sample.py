"""An answer that fits a JSON schema, of bounded size however the schema refers to itself."""

from __future__ import annotations

import json
from collections.abc import Mapping

from farebox.providers.demo.request import Failed

_DEEPEST = 8
_NODES_MAX = 200
_CHARS_MAX = 64_000
_SIMPLE: Mapping[str, object] = {
    "string": "Farebox demo",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
}


def sample_text(schema: Mapping[str, object]) -> str:
    """Write the smallest value that fits the schema's types, its required properties and nothing more.

    What lies beyond the bounds is null or left out. Raises `Failed` for a schema whose own values are nested
    too deep to be written.
    """
    try:
        return json.dumps(_Sampler(schema).sample(schema))
    except RecursionError:
        raise Failed(400, "output_config.format.schema: Schema is too complex.") from None


class _Sampler:
    """One walk through a schema. Every step is paid for, since references can make few bytes a huge tree."""

    def __init__(self, root: Mapping[str, object]) -> None:
        definitions = root.get("$defs")
        self._definitions = definitions if isinstance(definitions, Mapping) else {}
        self._nodes_left, self._chars_left = _NODES_MAX, _CHARS_MAX

    def sample(self, schema: object, depth: int = 0) -> object:
        self._nodes_left -= 1
        if not isinstance(schema, Mapping) or depth > _DEEPEST or self._is_spent:
            return None
        if "const" in schema:
            return self._paid(schema["const"])
        for choices in ("enum", "anyOf", "oneOf"):
            if isinstance(options := schema.get(choices), list) and options:
                return self._paid(options[0]) if choices == "enum" else self.sample(options[0], depth + 1)
        if isinstance(reference := schema.get("$ref"), str):
            return self.sample(self._definitions.get(reference.removeprefix("#/$defs/")), depth + 1)
        kinds = schema.get("type", "object")
        kind = str(kinds[0] if isinstance(kinds, list) and kinds else kinds)
        return self._object(schema, depth) if kind == "object" else _SIMPLE.get(kind)

    @property
    def _is_spent(self) -> bool:
        return self._nodes_left < 0 or self._chars_left < 0

    def _object(self, schema: Mapping[str, object], depth: int) -> dict[str, object]:
        required, properties = schema.get("required"), schema.get("properties")
        known = properties if isinstance(properties, Mapping) else {}
        sampled: dict[str, object] = {}
        for name in required if isinstance(required, list) else []:
            if self._is_spent:
                break
            if isinstance(name, str) and self._paid(name) is not None:
                sampled[name] = self.sample(known.get(name), depth + 1)
        return sampled

    def _paid(self, value: object) -> object:
        """Give a value that the schema itself holds, unless it is more than may still be written."""
        self._chars_left -= len(json.dumps(value))
        return None if self._chars_left < 0 else value
