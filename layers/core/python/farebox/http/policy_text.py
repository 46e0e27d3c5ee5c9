"""Reads the text of a policy document, YAML or JSON: bounded, exact, no key given twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import yaml

from farebox.domain.errors import ConfigInvalid

TEXT_BYTES_MAX = 1_048_576
ENTRIES_MAX = 50_000
DEPTH_MAX = 40

_TEXT_TAG = "tag:yaml.org,2002:str"
_FLOAT_TAG = "tag:yaml.org,2002:float"
# Dates stay text. A merge key copies what it names, so a few lines could grow without bound.
_TAGS_LEFT_OUT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")


def read_policy_text(text: bytes) -> object:
    """Read a document. Numbers with a point come as `Decimal`, so that amounts of money stay exact.

    Raises `ConfigInvalid` for text that is too large, too deep, not YAML or JSON, or gives a key twice.
    """
    if len(text) > TEXT_BYTES_MAX:
        raise ConfigInvalid("", f"the document is larger than {TEXT_BYTES_MAX} bytes")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigInvalid("", "the document is not UTF-8 text") from None
    document = _read(decoded)
    _check_bounds(document)
    return document


def plain_json(value: object) -> object:
    """Turn the exact decimals of a free-form part into what JSON stores."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: plain_json(inner) for name, inner in value.items()}
    return [plain_json(inner) for inner in value] if isinstance(value, list) else value


class _Loader(yaml.SafeLoader):
    """Safe YAML in which dates stay text and floats keep their digits."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own class attribute, never written to
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _TAGS_LEFT_OUT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node. PyYAML recurses, so depth has to end before Python's stack does."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise _too_deep()
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Construct one mapping, each of whose keys is plain text and given once."""
        seen: set[str] = set()
        for name, _ in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigInvalid("", f"a key is not plain text (line {line})")
            if name.value in seen:
                raise ConfigInvalid("", f"'{name.value}' is given twice (line {line})")
            if name.tag != _TEXT_TAG:  # such as `no`, which YAML reads as false
                raise ConfigInvalid("", f"the name '{name.value}' must be text: quote it (line {line})")
            seen.add(name.value)
        return super().construct_mapping(node, deep)

    def construct_exact_float(self, node: yaml.ScalarNode) -> Decimal | float:
        """Keep the digits as written; infinities, NaN and base 60 are left to the plain reading."""
        try:
            return Decimal(node.value.replace("_", ""))
        except InvalidOperation:
            return float(self.construct_yaml_float(node))


_Loader.add_constructor(_FLOAT_TAG, _Loader.construct_exact_float)


def _read(text: str) -> object:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_unique)
        except (json.JSONDecodeError, RecursionError):
            pass  # YAML may begin with a brace too, and its message has line and column.
    try:
        return _load_yaml(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigInvalid(
            "", f"the document is not YAML: {error.problem or error.context}{where}"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigInvalid("", f"the document is not YAML: {str(error).splitlines()[0]}") from None


def _load_yaml(text: str) -> object:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _check_bounds(document: object) -> None:
    """Walk the document as if every alias were written out, which is what all later steps do."""
    waiting = [(document, 1)]
    entries = 0
    while waiting:
        value, depth = waiting.pop()
        entries += 1
        if entries > ENTRIES_MAX:
            raise ConfigInvalid(
                "", f"the document has more than {ENTRIES_MAX} entries once aliases are written out"
            )
        if depth > DEPTH_MAX:
            raise _too_deep()
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            waiting.extend((each, depth + 1) for each in inner)


def _too_deep() -> ConfigInvalid:
    return ConfigInvalid("", f"the document is nested deeper than {DEPTH_MAX} levels")


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigInvalid("", f"'{name}' is given twice")
        found[name] = value
    return found


def _no_number(name: str) -> object:
    raise ConfigInvalid("", f"{name} is not a number")
