"""`make costs` takes what can be, and names what cannot."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tools.costs.__main__ import main
from tools.costs.quantities import BOUNDS, Assumed


@pytest.mark.parametrize(
    ("option", "given", "between"),
    [
        ("--stream-s", "-1", "1 to 900"),
        ("--stream-s", "901", "1 to 900"),
        ("--proxy-memory-mb", "12288", "128 to 10240"),
        ("--models", "0", "1 to 1000"),
        ("--prompt-kb", "2.5", "0 to 5500"),
        ("--answer-kb", "99999999999999999999", "0 to 100000"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    capsys: pytest.CaptureFixture[str], option: str, given: str, between: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([option, given])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert (
        said == f"make costs: error: argument {option}: must be a whole number from {between}, not '{given}'"
    )


def test_a_longer_stream_costs_more(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--stream-s", "900"])
    longest = capsys.readouterr().out
    main([])
    assert longest != capsys.readouterr().out


def test_every_assumption_has_bounds_and_lies_within() -> None:
    assumed = Assumed()
    assert list(BOUNDS) == [field.name for field in fields(Assumed)]
    for name, (least, most) in BOUNDS.items():
        assert least <= getattr(assumed, name) <= most
