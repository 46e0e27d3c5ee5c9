"""Regular expressions that cannot run away: every match takes time in proportion to pattern times text.

What can be written is the common ground of JavaScript's expressions (Portkey's) and everybody's: literals,
`.`, classes, groups, alternation, `*`, `+`, `?`, `{n,m}`, `^`, `$`, `\\b` and the usual escapes. A pattern is
run as a set of states that moves over the text once, so nothing is ever tried again. Look-around and back
references cannot be run so, and are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from farebox.domain.routing.query.syntax import (
    Alternatives,
    Assertion,
    Chain,
    CharSet,
    Part,
    Repeated,
    read_pattern,
)

STEPS_MAX = 256
TEXT_LENGTH_MAX = 2_048


class PatternInvalid(ValueError):
    """Says what of a pattern cannot be read or run."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled expression, equal to another of the same source. `steps` bounds what one character costs."""

    source: str
    ignores_case: bool = False
    _program: tuple[_Step, ...] = field(default=(), repr=False, compare=False)

    @property
    def steps(self) -> int:
        """How many states there are."""
        return len(self._program)

    def is_in(self, text: str) -> bool:
        """Say whether the expression matches anywhere in the first 2,048 characters of a text."""
        text = text[:TEXT_LENGTH_MAX]
        states: set[int] = set()
        for index in range(len(text) + 1):
            before = text[index - 1] if index else None
            after = text[index] if index < len(text) else None
            states.add(0)
            reached = self._reached(states, before, after)
            if reached is None:
                return True
            if after is None:
                return False
            spellings = self._spellings(after)
            states = {
                state + 1
                for state in reached
                if (charset := self._program[state].consumes) and charset.holds(spellings)
            }
        return False

    def _spellings(self, char: str) -> set[str]:
        if not self.ignores_case:
            return {char}
        # Some characters have a longer twin, such as sharp s: it is another text, not another spelling.
        return {each for each in (char, char.lower(), char.upper()) if len(each) == 1}

    def _reached(self, states: set[int], before: str | None, after: str | None) -> set[int] | None:
        """Follow what consumes nothing; None when the end of the program is among what is reached."""
        waiting = list(states)
        reached: set[int] = set()
        while waiting:
            state = waiting.pop()
            if state in reached:
                continue
            if state == len(self._program):
                return None
            reached.add(state)
            step = self._program[state]
            if step.assertion is None or step.assertion.holds(before, after):
                waiting.extend(state + distance for distance in step.jumps)
        return reached


@dataclass(frozen=True, slots=True)
class _Step:
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
    return Pattern(source, ignores_case, tuple(program))


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
