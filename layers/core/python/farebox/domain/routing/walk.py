"""The order in which the targets of a config are tried, as a conversation: a leaf out, a status back."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from farebox.domain.errors import PolicyRefused
from farebox.domain.routing.tree import Conditional, Fallback, Leaf, LoadBalance, Node


class Chooser(Protocol):
    """Decides where the tree alone does not: by drawing, by the session, by what the request says."""

    def draw(self, node: LoadBalance) -> int:
        """Give the index of the child that serves."""

    def match(self, node: Conditional) -> int | None:
        """Give the index of the child whose condition holds first; None when none does."""

    def is_open(self, leaf: Leaf) -> bool:
        """Whether the leaf's circuit breaker leaves it out just now."""


def walk(node: Node, chooser: Chooser) -> Generator[Leaf, int, int]:
    """Yield the leaf to try; to be sent the status that it ended with. Returns the last status.

    A fallback passes over leaves that a breaker leaves out, unless it would pass over all of its children.
    Raises `PolicyRefused` where no condition holds and there is no default.
    """
    match node:
        case Leaf():
            return (yield node)
        case LoadBalance():
            return (yield from walk(node.children[chooser.draw(node)], chooser))
        case Conditional():
            child = chooser.match(node)
            child = node.default if child is None else child
            if child is None:
                raise PolicyRefused(
                    f"No condition of {node.path} holds for this request, and it has no default."
                )
            return (yield from walk(node.children[child], chooser))
        case Fallback():
            return (yield from _one_after_another(node, chooser))


def _one_after_another(node: Fallback, chooser: Chooser) -> Generator[Leaf, int, int]:
    closed = [child for child in node.children if not (isinstance(child, Leaf) and chooser.is_open(child))]
    status = 0
    for child in closed or node.children:
        status = yield from walk(child, chooser)
        if not node.moves_on(status):
            break
    return status
