"""What the store could not take is booked from the log, once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from farebox.cli.admin.client import connect
from farebox.domain.record import RequestRecord
from farebox.jobs.replay import PAGE, Replayer
from farebox.ports import Page
from farebox.ports.behind import Announcement, LedgerRow
from tests.cli.gateway import Gateway, running_gateway
from tests.support.builders import FixedClock, a_record


class ManyRows:
    """Ledger rows by number; a cursor is where to go on."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[tuple[datetime, datetime, str | None]] = []

    async def rows(self, ids: Sequence[str]) -> Sequence[LedgerRow]:
        raise AssertionError("nobody needs the rows themselves")

    async def ids(
        self, since: datetime, until: datetime, *, limit: int = 1_000, cursor: str | None = None
    ) -> Page[str]:
        self.asked.append((since, until, cursor))
        start = int(cursor or 0)
        end = min(start + limit, self.count)
        return Page([f"req_{each}" for each in range(start, end)], str(end) if end < self.count else None)


class Bus:
    """Takes events until it has had enough."""

    def __init__(self, enough: int) -> None:
        self.taken: list[str] = []
        self.enough = enough

    async def announce(self, announcements: Sequence[Announcement]) -> Sequence[int]:
        if len(self.taken) >= self.enough:
            return range(len(announcements))
        for each in announcements:
            ids = each.document["ids"]
            assert isinstance(ids, list)
            self.taken += ids
        return ()


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


def test_messages_that_the_aws_cli_has_joined_are_told_apart(gateway: Gateway, tmp_path: Path) -> None:
    log = tmp_path / "messages.txt"
    records = [replace(a_record(f"req_{number}"), session_id="; record: {") for number in (1, 2, 3)]
    log.write_text("\t".join(a_line(record).strip() for record in records) + "\n")
    assert gateway.run("replay", str(log), "--json").json == {"replayed": 3}


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


def test_rows_of_a_time_are_told_again_page_by_page(tmp_path: Path) -> None:
    rows, bus = ManyRows(2 * PAGE + 5), Bus(10 * PAGE)
    with running_gateway(tmp_path, Replayer(rows, bus, FixedClock())) as gateway:
        ran = gateway.run("replay", "--since", "2d", "--json")
    assert ran.status == 0
    assert ran.json == {"announced": 2 * PAGE + 5, "until": "2026-11-23T12:00:00Z"}
    assert ran.err.splitlines() == [f"{count} ledger rows told again ..." for count in (PAGE, 2 * PAGE)]
    assert len(set(bus.taken)) == len(bus.taken) == 2 * PAGE + 5
    assert len({until for _, until, _ in rows.asked}) == 1


def test_whoever_has_rows_told_again_is_in_the_audit_log_page_by_page(tmp_path: Path) -> None:
    with running_gateway(tmp_path, Replayer(ManyRows(PAGE + 5), Bus(10 * PAGE), FixedClock())) as gateway:
        gateway.run("replay", "--since", "2d")
        *noted, _ = connect(tmp_path).get("audit-logs")["rows"]  # the first was the admin key
    assert {(row["actor"], row["action"], row["kind"], row["name"]) for row in noted} == {
        ("admin:root", "replay", "ledger", "rows")
    }
    span = {"since": "2026-11-21T12:00:00Z", "until": "2026-11-23T12:00:00Z"}
    assert [row["after"] for row in noted] == [{**span, "cursor": str(PAGE)}, {**span, "cursor": None}]


def test_a_run_that_stops_midway_says_how_to_go_on(tmp_path: Path) -> None:
    bus = Bus(PAGE)
    with running_gateway(tmp_path, Replayer(ManyRows(PAGE + 5), bus, FixedClock())) as gateway:
        stopped = gateway.run("replay", "--since", "2d")
        assert stopped.status == 1
        [go_on] = [line for line in stopped.err.splitlines() if "to go on: " in line]
        bus.enough = 10 * PAGE
        ran = gateway.run("replay", *go_on.partition("to go on: ")[2].split())
    assert (ran.status, ran.out) == (0, "5 ledger rows told to sums and alerts again\n")
    assert len(set(bus.taken)) == len(bus.taken) == PAGE + 5


def test_a_laptop_has_nobody_to_tell(gateway: Gateway) -> None:
    ran = gateway.run("replay", "--since", "2d")
    assert (ran.status, "reads its ledger for every report" in ran.err) == (1, True)


def test_a_log_and_a_time_are_two_things(gateway: Gateway) -> None:
    for arguments in (
        ("replay",),
        ("replay", "x.log", "--since", "1d"),
        ("replay", "x.log", "--until", "1d"),
    ):
        assert gateway.run(*arguments).status == 2
