"""Adds up the JUnit reports named on the command line and closes the run with their one honest count."""

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

COUNTS = ("tests", "failures", "errors", "skipped")


@dataclass(frozen=True, slots=True)
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def tally_report(report: str) -> Tally:
    """Count one report; an error in set-up or collection is a failure."""
    total = Tally()
    for suite in ElementTree.fromstring(report).iter("testsuite"):
        tests, failures, errors, skipped = (int(suite.get(name, "0")) for name in COUNTS)
        bad = failures + errors
        total += Tally(passed=max(0, tests - bad - skipped), failed=bad, skipped=skipped)
    return total


def main(paths: list[str]) -> int:
    """Print the sum; fail when a test failed, a report is missing, or nothing passed."""
    missing = [path for path in paths if not Path(path).is_file()]
    for path in missing:
        print(f"no report: {path}")
    reports = (Path(path).read_text(encoding="utf-8") for path in paths if path not in missing)
    total = sum(map(tally_report, reports), Tally())
    print(total)
    return 1 if missing or total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
