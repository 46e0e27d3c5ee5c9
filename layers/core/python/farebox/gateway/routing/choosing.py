"""Which child of a config serves this request, where the tree alone does not say."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from farebox.domain.routing.query import Facts, matches
from farebox.domain.routing.tree import Conditional, Leaf, LoadBalance, Node
from farebox.domain.routing.walk import leaves
from farebox.ports import Randomness
from farebox.wire.messages import MessagesHead
from farebox.wire.request_body.changes import opening_text


class RequestChooser(Struct, frozen=True):
    """Fills `Chooser` for one request; what it has decided stands."""

    session_id: str | None
    key_id: str
    head: MessagesHead
    facts: Facts
    randomness: Randomness
    leaves_out: Callable[[Leaf], bool]
    _drawn: dict[str, int] = field(default_factory=dict)
    _matched: dict[str, int | None] = field(default_factory=dict)

    def draw(self, node: LoadBalance) -> int:
        """Give the child that serves: by rendezvous over what binds the caller to one of them, in proportion
        to the weights; by lot where nothing does.

        A child that a breaker leaves out is nobody's, unless all of them are. Nobody else moves meanwhile:
        that is what rendezvous is for.
        """
        if node.path not in self._drawn:
            self._drawn[node.path] = self._best(node)
        return self._drawn[node.path]

    def match(self, node: Conditional) -> int | None:
        """Give the child whose condition holds first."""
        if node.path not in self._matched:
            held = (each.child for each in node.conditions if matches(each.query, self.facts))
            self._matched[node.path] = next(held, None)
        return self._matched[node.path]

    def is_open(self, leaf: Leaf) -> bool:
        """Whether the leaf's circuit breaker leaves it out just now."""
        return leaf.breaker is not None and self.leaves_out(leaf)

    def _best(self, node: LoadBalance) -> int:
        binding = self._binding(node)
        if binding is None:
            binding = self.randomness.bytes(16).hex()
        names = _names(node.children)
        scores = [
            _score(f"{node.path}|{name}|{binding}", weight)
            for name, weight in zip(names, node.weights, strict=True)
        ]
        usable = [index for index, child in enumerate(node.children) if not self._is_left_out(child)]
        usable = [index for index in usable if node.weights[index] > 0]
        return max(usable or range(len(scores)), key=scores.__getitem__)

    def _is_left_out(self, child: object) -> bool:
        return isinstance(child, Leaf) and self.is_open(child)

    def _binding(self, node: LoadBalance) -> str | None:
        """Name what keeps a caller on one child: the values that a config names, else the conversation."""
        values = [self.facts.text(path) for path in node.sticky.fields] if node.sticky is not None else []
        if any(value is not None for value in values):
            return json.dumps([self.key_id, values])
        return self.session_id or self._conversation()

    def _conversation(self) -> str | None:
        """Name a conversation without a session by how it begins, where moving it would cost: thinking that a
        provider has signed and a prompt that it has cached are worth something there alone.
        """
        if not (self.head.input.caches or self.head.thinks):
            return None
        text = opening_text(self.head.messages)
        return None if text is None else f"{self.head.frame_digest.hex()}|{text}"


def _names(children: Iterable[Node]) -> list[str]:
    """Name each child by whom it asks, not by its place: that changes where another one goes or comes."""
    counted: Counter[str] = Counter()
    names = []
    for child in children:
        name = ",".join(f"{leaf.provider}/{leaf.model}/{leaf.custom_host}" for leaf in leaves(child))
        counted[name] += 1
        names.append(f"{name}/{counted[name]}")
    return names


def _score(text: str, weight: int) -> float:
    """Score a child for a caller: the highest of all wins in proportion to the weights, and a child that goes
    or comes moves only those whom it wins or loses.

    Source: weighted rendezvous hashing (Schindelhauer and Schomaker, 2005).
    """
    if weight <= 0:
        return 0.0
    drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return weight / -math.log((drawn + 0.5) / 2**64)
