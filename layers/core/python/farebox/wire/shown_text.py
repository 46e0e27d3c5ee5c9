"""Text that others chose, made fit to be shown: nothing in it can speak to a terminal or forge a line."""

from __future__ import annotations

import re

# Controls (C0, DEL, C1), lone surrogates, and what turns or hides text: direction marks, line separators,
# zero-width characters. Joiners stay, since whole scripts are written with them.
_CONTROLS = "\x00-\x1f\x7f-\x9f"
_UNSEEN = "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f"
_UNFIT = re.compile(f"[{_CONTROLS}{_UNSEEN}]")
_UNFIT_IN_JSON = re.compile(f"[\x00-\x09\x0b-\x1f\x7f-\x9f{_UNSEEN}]")  # all but the ends of lines
_WORDS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(text: str) -> str:
    """Give one line of text in which every control character and every trick of direction is spelled out."""
    return text if text.isascii() and text.isprintable() else _UNFIT.sub(_spelled, text)


def shown_json(document: str) -> str:
    """Give a JSON document that says the same and holds such characters only as escapes; its lines stay."""
    is_fit = document.isascii() and document.isprintable()
    return document if is_fit else _UNFIT_IN_JSON.sub(_in_json, document)


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    plain = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _WORDS.get(found[0], plain)


def _in_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
