"""The closing line of a run counts what really ran."""

from pathlib import Path

import pytest

from tools.tally import Tally, main, tally_report


def report(tests: int, *, failures: int = 0, errors: int = 0, skipped: int = 0) -> str:
    counts = f'tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
    return f'<?xml version="1.0"?><testsuites><testsuite name="pytest" {counts}/></testsuites>'


def test_an_error_counts_as_a_failure() -> None:
    assert tally_report(report(9, failures=1, errors=2, skipped=3)) == Tally(passed=3, failed=3, skipped=3)


@pytest.mark.parametrize(
    ("reports", "line", "status"),
    [
        ([report(3), report(4, skipped=1)], "6 passed, 0 failed, 1 skipped", 0),
        ([report(3), report(4, failures=1)], "6 passed, 1 failed, 0 skipped", 1),
        ([report(2, skipped=2)], "0 passed, 0 failed, 2 skipped", 1),
        ([], "0 passed, 0 failed, 0 skipped", 1),
    ],
)
def test_the_run_passes_only_when_tests_passed_and_none_failed(
    reports: list[str], line: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{number}.xml" for number in range(len(reports))]
    for path, text in zip(paths, reports, strict=True):
        path.write_text(text)
    assert main([str(path) for path in paths]) == status
    assert capsys.readouterr().out == f"{line}\n"


def test_a_missing_report_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there.xml").write_text(report(1))
    assert main([str(tmp_path / "there.xml"), str(tmp_path / "gone.xml")]) == 1
    assert capsys.readouterr().out == f"no report: {tmp_path / 'gone.xml'}\n1 passed, 0 failed, 0 skipped\n"
