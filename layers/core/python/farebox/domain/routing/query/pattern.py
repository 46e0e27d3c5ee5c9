"""Regular expressions that cannot run away: every match takes time in proportion to pattern times text.

What can be written is the common ground of JavaScript's expressions (Portkey's) and everybody's: literals,
`.`, classes, groups, alternation, `*`, `+`, `?`, `{n,m}`, `^`, `$`, `\\b` and the usual escapes. A pattern is
run as a set of states that moves over the text once, so nothing is ever tried again. Look-around and back
references cannot be run so, and are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec import Struct

from farebox.domain.routing.query.syntax import (
    Alternatives,
    Assertion,
    Chain,
    CharSet,
    Part,
    Repeated,
    is_word,
    read_pattern,
)

STEPS_MAX = 256
TEXT_LENGTH_MAX = 1_024
TAKERS_MAX = 512


class PatternInvalid(ValueError):
    """Says what of a pattern cannot be read or run."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled expression, equal to another of the same source. `steps` bounds what one character costs."""

    source: str
    _machine: _Machine = field(repr=False, compare=False)
    ignores_case: bool = False

    @property
    def steps(self) -> int:
        """How many states there are."""
        return self._machine.steps

    def is_in(self, text: str) -> bool:
        """Say whether the expression matches anywhere in the first 1,024 characters of a text."""
        return self._machine.is_in(text[:TEXT_LENGTH_MAX])


class _Machine:
    """Passes over texts. Sets of states are whole numbers, a bit for each; what was worked out is kept."""

    def __init__(self, program: tuple[_Step, ...], ignores_case: bool) -> None:
        self.steps = len(program)
        self._asserts = any(step.assertion is not None for step in program)
        self._program, self._ignores_case = program, ignores_case
        self._end = 1 << len(program)
        self._consuming: dict[CharSet, int] = {}
        for state, step in enumerate(program):
            if step.consumes is not None:
                self._consuming[step.consumes] = self._consuming.get(step.consumes, 0) | 1 << state
        self._reached: dict[_Between, list[int]] = {}
        self._takers: dict[str, int] = {}

    def is_in(self, text: str) -> bool:
        states, before = 0, None
        for after in (*text, None):
            reached = self._follow(states | 1, _between(before, after) if self._asserts else _ANYWHERE)
            if reached & self._end:
                return True
            if after is None:
                break
            states = (reached & self._taking(after)) << 1
            before = after
        return False

    def _follow(self, states: int, between: _Between) -> int:
        """Give what is reached from some states without a character."""
        table = self._reached.get(between)
        if table is None:
            table = self._reached[between] = self._closures(between)
        reached = 0
        while states:
            lowest = states & -states
            reached |= table[lowest.bit_length() - 1]
            states ^= lowest
        return reached

    def _closures(self, between: _Between) -> list[int]:
        """Give what is reached from each state, as a fixed point: jumps back take more than one pass."""
        table = [1 << state if step.consumes else 0 for state, step in enumerate(self._program)]
        table.append(self._end)
        is_stable = False
        while not is_stable:
            is_stable = True
            for state in range(len(self._program) - 1, -1, -1):
                step = self._program[state]
                if step.assertion is not None and not step.assertion.holds(*between):
                    continue
                reached = table[state]
                for distance in step.jumps:
                    reached |= table[state + distance]
                if reached != table[state]:
                    table[state], is_stable = reached, False
        return table

    def _taking(self, char: str) -> int:
        """Give the states that consume a character."""
        found = self._takers.get(char)
        if found is None:
            spellings = _spellings(char) if self._ignores_case else (char,)
            found = 0
            for charset, states in self._consuming.items():
                if charset.holds(spellings):
                    found |= states
            if len(self._takers) < TAKERS_MAX:
                self._takers[char] = found
        return found


_Between = tuple[str | None, str | None]
_ANYWHERE: _Between = (None, None)


def _between(before: str | None, after: str | None) -> _Between:
    """Give two characters as far as assertions tell them apart: a letter, another one, or none."""
    return _kind(before), _kind(after)


def _kind(char: str | None) -> str | None:
    return None if char is None else "a" if is_word(char) else " "


def _spellings(char: str) -> set[str]:
    # Some characters have a longer twin, such as sharp s: it is another text, not another spelling.
    return {each for each in (char, char.lower(), char.upper()) if len(each) == 1}


class _Step(Struct, frozen=True):
    """Consumes a character of one set and goes on to the next step, or jumps there and elsewhere for free."""

    consumes: CharSet | None = None
    jumps: tuple[int, ...] = ()
    assertion: Assertion | None = None


def compile_pattern(source: str, *, ignores_case: bool = False) -> Pattern:
    """Compile an expression. Raises `PatternInvalid`."""
    try:
        program: list[_Step] = []
        for step in _steps(read_pattern(source)):
            program.append(step)
            if len(program) > STEPS_MAX:
                raise PatternInvalid(f"needs more than {STEPS_MAX} steps; write it shorter")
    except ValueError as error:
        raise PatternInvalid(str(error)) from None
    return Pattern(source, _Machine(tuple(program), ignores_case), ignores_case)


def _steps(part: Part) -> Iterator[_Step]:
    """Write a part as steps, with jumps relative to the step that takes them."""
    match part:
        case CharSet():
            yield _Step(consumes=part)
        case Assertion():
            yield _Step(jumps=(1,), assertion=part)
        case Chain(parts):
            for each in parts:
                yield from _steps(each)
        case Alternatives(choices):
            yield from _alternatives([_bounded(choice) for choice in choices])
        case Repeated(inner, least, most):
            yield from _repeated(_bounded(inner), least, most)


def _alternatives(choices: list[list[_Step]]) -> Iterator[_Step]:
    first, *rest = choices
    if not rest:
        yield from first
        return
    others = list(_alternatives(rest))
    yield _Step(jumps=(1, len(first) + 2))
    yield from first
    yield _Step(jumps=(len(others) + 1,))
    yield from others


def _repeated(inner: list[_Step], least: int, most: int | None) -> Iterator[_Step]:
    for _ in range(least):
        yield from inner
    if most is None:
        yield _Step(jumps=(1, len(inner) + 2))
        yield from inner
        yield _Step(jumps=(-len(inner) - 1,))
        return
    for left in range(most - least, 0, -1):
        yield _Step(jumps=(1, left * (len(inner) + 1)))
        yield from inner


def _bounded(part: Part) -> list[_Step]:
    """Write a part that is to be measured or copied, as long as it is not too long already."""
    found: list[_Step] = []
    for step in _steps(part):
        found.append(step)
        if len(found) > STEPS_MAX:
            raise ValueError(f"needs more than {STEPS_MAX} steps; write it shorter")
    return found
