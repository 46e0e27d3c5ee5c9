"""What the store could not take is booked from the log, once."""

from __future__ import annotations

from pathlib import Path

import msgspec

from farebox.domain.record import RequestRecord
from tests.cli.gateway import Gateway
from tests.support.builders import a_record


def a_line(record: RequestRecord) -> str:
    text = msgspec.json.encode(record).decode()
    return f"2026-11-23 12:00:00 ERROR farebox.settle not settled: away; record: {text}\n"


def test_the_unsettled_requests_of_a_log_are_booked_once(gateway: Gateway, tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    lines = [
        a_line(a_record("req_1")),
        "something else\n",
        a_line(a_record("req_2")),
        a_line(a_record("req_1")),
    ]
    log.write_text("".join(lines))
    for _ in range(2):
        ran = gateway.run("replay", str(log), "--json")
        assert (ran.status, ran.json) == (0, {"replayed": 3})
    rows = gateway.run("requests", "--json").json["rows"]
    assert sorted(row["id"] for row in rows) == ["req_1", "req_2"]
    assert gateway.run("ledger", "verify").status == 0


def test_a_line_that_was_cut_is_named_and_nothing_is_made_up(gateway: Gateway, tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_text("fine\n" + a_line(a_record("req_1"))[:-20])
    ran = gateway.run("replay", str(log))
    assert (ran.status, "line 2: the record is not whole" in ran.err) == (2, True)


def test_a_record_that_farebox_never_wrote_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_text('x; record: {"id": 5}\n')
    ran = gateway.run("replay", str(log))
    assert (ran.status, "records[0]: is not a record as farebox logs it" in ran.err) == (1, True)
