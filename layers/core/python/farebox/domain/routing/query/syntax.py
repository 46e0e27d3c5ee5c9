"""The grammar of a safe regular expression, and what its parts mean for one character."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from msgspec import Struct

SOURCE_LENGTH_MAX = 512
REPEATS_MAX = 100
DEPTH_MAX = 30

_CODE_MAX = 0x10FFFF
_DIGITS = ((48, 57),)
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE = (
    (9, 13),
    (32, 32),
    (160, 160),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
)
_SPACE_MORE = ((0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF))
_LINE_ENDS = ((10, 10), (13, 13), (0x2028, 0x2029))
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIERS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class CharSet(Struct, frozen=True):
    """One character of some ranges of code points, or of none of them."""

    ranges: tuple[tuple[int, int], ...]
    is_negated: bool = False

    def holds(self, spellings: Iterable[str]) -> bool:
        """Whether a character, in any of its spellings, is one of the set."""
        codes = [ord(char) for char in spellings]
        return any(low <= code <= high for low, high in self.ranges for code in codes) != self.is_negated


class Assertion(Struct, frozen=True):
    """What must hold between two characters: `^`, `$`, `b` or `B`."""

    kind: str

    def holds(self, before: str | None, after: str | None) -> bool:
        """Whether it holds; None is where the text begins or ends."""
        match self.kind:
            case "^":
                return before is None
            case "$":
                return after is None
            case _:
                is_boundary = is_word(before) != is_word(after)
                return is_boundary == (self.kind == "b")


class Chain(Struct, frozen=True):
    """Parts one after the other."""

    parts: tuple[Part, ...]


class Alternatives(Struct, frozen=True):
    """One of several."""

    choices: tuple[Part, ...]


class Repeated(Struct, frozen=True):
    """A part from `least` to `most` times; None is without end."""

    inner: Part
    least: int
    most: int | None


Part: TypeAlias = CharSet | Assertion | Chain | Alternatives | Repeated


def is_word(char: str | None) -> bool:
    """Whether a character is a letter, digit or underscore of ASCII, as JavaScript has it."""
    return char is not None and CharSet(_WORD).holds(char)


def read_pattern(source: str) -> Part:
    """Read an expression. Raises `ValueError` that says what of it is wrong or not to be had."""
    if len(source) > SOURCE_LENGTH_MAX:
        raise ValueError(f"is longer than {SOURCE_LENGTH_MAX} characters")
    reader = _Reader(source)
    part = reader.alternatives(0)
    if reader.peek():
        raise ValueError(f"has a ')' too many at character {reader.at + 1}")
    return part


class _Reader:
    """Reads from left to right. One method for each kind of part, as the grammar has it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.at = 0

    def peek(self) -> str:
        return self._source[self.at : self.at + 1]

    def alternatives(self, depth: int) -> Part:
        if depth > DEPTH_MAX:
            raise ValueError(f"has groups nested deeper than {DEPTH_MAX}")
        choices = [self._sequence(depth)]
        while self._eat("|"):
            choices.append(self._sequence(depth))
        return choices[0] if len(choices) == 1 else Alternatives(tuple(choices))

    def _sequence(self, depth: int) -> Part:
        parts: list[Part] = []
        while self.peek() not in ("", "|", ")"):
            atom = self._atom(depth)
            times = self._quantifier()
            if times is None:
                parts.append(atom)
            elif isinstance(atom, Assertion):
                raise ValueError(f"repeats what has no length, before character {self.at + 1}")
            else:
                parts.append(Repeated(atom, *times))
        return Chain(tuple(parts))

    def _atom(self, depth: int) -> Part:
        char = self._next()
        match char:
            case "(":
                return self._group(depth)
            case "[":
                return self._class()
            case ".":
                return CharSet(_LINE_ENDS, is_negated=True)
            case "^" | "$":
                return Assertion(char)
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                raise ValueError(f"has nothing to repeat at character {self.at}")
        return _one(char)

    def _group(self, depth: int) -> Part:
        if self._eat("?"):
            if self._eat("<") and self.peek() not in ("=", "!"):
                _, end, _ = self._source[self.at :].partition(">")
                if not end:
                    raise ValueError("has a group whose name does not end")
                self.at = self._source.index(">", self.at) + 1
            elif not self._eat(":"):
                raise ValueError("looks around ('(?=', '(?!', '(?<'), which is not to be had here")
        inner = self.alternatives(depth + 1)
        if not self._eat(")"):
            raise ValueError("has a group that does not end")
        return inner

    def _class(self) -> CharSet:
        is_negated = self._eat("^")
        ranges: list[tuple[int, int]] = []
        while not self._eat("]"):
            low = self._member()
            is_range = self.peek() == "-" and self._source[self.at + 1 : self.at + 2] not in ("", "]")
            if not is_range or low.is_negated or len(low.ranges) != 1 or low.ranges[0][0] != low.ranges[0][1]:
                ranges.extend(_spread(low))
                continue
            self.at += 1
            high = self._member()
            first, last = low.ranges[0][0], high.ranges[0][1]
            if high.is_negated or len(high.ranges) != 1 or last < first:
                raise ValueError(f"has a range that runs backwards before character {self.at + 1}")
            ranges.append((first, last))
        return CharSet(tuple(ranges), is_negated)

    def _member(self) -> CharSet:
        char = self._next(within="a class that does not end")
        if char != "\\":
            return _one(char)
        if self._eat("b"):
            return _one("\b")
        escaped = self._escape()
        if not isinstance(escaped, CharSet):
            raise ValueError("has a boundary inside of a class")
        return escaped

    def _escape(self) -> CharSet | Assertion:
        char = self._next(within="a backslash at its end")
        match char.lower():
            case "d":
                return CharSet(_DIGITS, char == "D")
            case "w":
                return CharSet(_WORD, char == "W")
            case "s":
                return CharSet(_SPACE + _SPACE_MORE, char == "S")
        match char:
            case "b" | "B":
                return Assertion(char)
            case "x":
                return self._code(2)
            case "u":
                return self._code(4)
        if char in _CONTROLS:
            return _one(_CONTROLS[char])
        if char.isalnum():
            raise ValueError(f"has '\\{char}', which is not to be had here")
        return _one(char)

    def _code(self, digits: int) -> CharSet:
        text = self._source[self.at : self.at + digits]
        if len(text) != digits or not all(char in "0123456789abcdefABCDEF" for char in text):
            raise ValueError(f"wants {digits} hexadecimal digits at character {self.at + 1}")
        self.at += digits
        return _one(chr(int(text, 16)))

    def _quantifier(self) -> tuple[int, int | None] | None:
        times: tuple[int, int | None] | None = _QUANTIFIERS.get(self.peek())
        if times is not None:
            self.at += 1
        elif self.peek() == "{":
            times = self._counted()
        if times is not None:
            self._eat("?")  # how much is taken first changes nothing about whether it matches
            if self.peek() in tuple("*+?"):
                raise ValueError(f"repeats a repetition at character {self.at + 1}")
        return times

    def _counted(self) -> tuple[int, int | None] | None:
        """Read '{n}', '{n,}' or '{n,m}'; anything else in braces stands for itself."""
        inside, brace, _ = self._source[self.at + 1 :].partition("}")
        least, comma, most = inside.partition(",")
        digits = [text for text in (least, most) if text]
        if not brace or not least or not all(text.isascii() and text.isdigit() for text in digits):
            return None
        if any(len(text) > 3 or int(text) > REPEATS_MAX for text in digits):
            raise ValueError(f"repeats more than {REPEATS_MAX} times")
        low = int(least)
        high = None if comma and not most else int(most or least)
        if high is not None and high < low:
            raise ValueError(f"has a count that runs backwards at character {self.at + 1}")
        self.at += len(inside) + 2
        return low, high

    def _next(self, within: str = "an end too soon") -> str:
        char = self.peek()
        if not char:
            raise ValueError(f"has {within}")
        self.at += 1
        return char

    def _eat(self, char: str) -> bool:
        if self.peek() != char:
            return False
        self.at += 1
        return True


def _one(char: str) -> CharSet:
    return CharSet(((ord(char), ord(char)),))


def _spread(charset: CharSet) -> list[tuple[int, int]]:
    """Give a set as ranges, its negation too."""
    if not charset.is_negated:
        return list(charset.ranges)
    found, low = [], 0
    for first, last in sorted(charset.ranges):
        if low < first:
            found.append((low, first - 1))
        low = last + 1
    return [*found, (low, _CODE_MAX)]
