"""The order in which the targets of a config are tried, as a conversation: a leaf out, a status back."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

from farebox.domain.errors import PolicyRefused
from farebox.domain.routing.tree import Conditional, Fallback, Leaf, LoadBalance, Node

LEFT_OUT = 0
"""What is sent back for a leaf that was passed over: no status of an answer."""


class Chooser(Protocol):
    """Decides where the tree alone does not: by drawing, by the session, by what the request says."""

    def draw(self, node: LoadBalance) -> int:
        """Give the index of the child that serves."""

    def match(self, node: Conditional) -> int | None:
        """Give the index of the child whose condition holds first; None when none does."""

    def is_open(self, leaf: Leaf) -> bool:
        """Whether the leaf's circuit breaker leaves it out just now."""


def walk(node: Node, chooser: Chooser) -> Generator[Leaf, int, int]:
    """Yield the leaf to try; to be sent the status that it ended with, or `LEFT_OUT`. Returns the last one.

    A fallback passes over leaves that a breaker leaves out, unless it would pass over all of its children:
    then it tries them in their order. Raises `PolicyRefused` where no condition holds and there is no
    default.
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
    status = LEFT_OUT
    for child in node.children:
        if isinstance(child, Leaf) and chooser.is_open(child):
            continue
        last = yield from walk(child, chooser)
        if last == LEFT_OUT:
            continue
        status = last
        if not node.moves_on(status):
            return status
    return status if status != LEFT_OUT else (yield from _regardless(node, chooser))


def _regardless(node: Fallback, chooser: Chooser) -> Generator[Leaf, int, int]:
    status = LEFT_OUT
    for child in node.children:
        status = yield from walk(child, chooser)
        if not node.moves_on(status):
            break
    return status


def leaves(node: Node) -> Iterator[Leaf]:
    """Give every target of a tree, in the order in which they are written."""
    if isinstance(node, Leaf):
        yield node
    else:
        for child in node.children:
            yield from leaves(child)


def falls_back(node: Node) -> bool:
    """Say whether a failed target may be followed by another one."""
    if isinstance(node, Leaf):
        return False
    return isinstance(node, Fallback) or any(falls_back(child) for child in node.children)


class Course:
    """A walk under way. `leaf` is the target whose turn it is, None when there is none any more.

    Raises `PolicyRefused` where the walk cannot even begin.
    """

    def __init__(self, tree: Node, chooser: Chooser) -> None:
        self._walk = walk(tree, chooser)
        self.leaf: Leaf | None = next(self._walk)

    def move(self, status: int) -> None:
        """Tell how the leaf ended. A condition that holds for nobody ends the walk."""
        try:
            self.leaf = self._walk.send(status)
        except (StopIteration, PolicyRefused):
            self.leaf = None
