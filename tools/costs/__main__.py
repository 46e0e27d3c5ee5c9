"""`make costs`: what a deployment costs as you would use it; `--write` makes the tables of docs/cost.md."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields

from tools.costs.page import PAGE, filled, sections
from tools.costs.prices import read_prices
from tools.costs.quantities import BOUNDS, Assumed, Counted


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or write them into the page, which only takes the assumptions that it states."""
    parser = argparse.ArgumentParser(prog="make costs", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/cost.md")
    for field in fields(Assumed):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=_whole_number(*BOUNDS[field.name]), default=field.default)
    told = vars(parser.parse_args(arguments))
    write = told.pop("write")
    made = sections(read_prices(), Counted(), Assumed() if write else Assumed(**told))
    if write:
        PAGE.write_text(filled(PAGE.read_text(), made))
    else:
        print("\n\n".join(f"{name}\n\n{text}" for name, text in made.items() if name != "prices"))


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text!r}")

    return read


if __name__ == "__main__":
    main()
