"""Alerts in words that a person can act on: who, how much of what, when it ends, and which command helps."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from farebox.domain.budget import Budget, Unit
from farebox.domain.budget.alert import EXHAUSTED, Crossing
from farebox.domain.errors import lift_command
from farebox.domain.money import PICODOLLARS_PER_USD, usd_exact_text, usd_text
from farebox.domain.record import RequestRecord
from farebox.jobs.notify import crossing_document
from farebox.jobs.webhook import chat_text
from farebox.ports.behind import Alert
from farebox.wire.shown_text import shown

BUDGET_THRESHOLD = "budget_threshold"
BUDGET_EXHAUSTED = "budget_exhausted"
RUNAWAY = "runaway"
UNPRICED = "unpriced"
DEAD_LETTERS = "dead_letters"

NAME_MAX = 200
"""Characters of a name that callers choose, as an alert shows it."""


class AlertWords(Struct, frozen=True):
    """Words of one deployment; `admin_url` is where `farebox` commands go, if that is known."""

    stage: str
    admin_url: str | None

    def crossing(self, crossing: Crossing, budget: Budget | None) -> Alert:
        """Tell of a threshold; `budget` as the policy has it now, None where it is gone."""
        is_end = crossing.threshold >= EXHAUSTED and crossing.is_blocking
        who = f" ({_name(crossing.label)})" if crossing.label else ""
        state = "is exhausted" if is_end else f"has reached {crossing.threshold} %"
        spent, limit = (_amount(crossing.unit, each) for each in (crossing.settled, crossing.limit))
        consequence = " Requests that do not fit are refused." if is_end else ""
        lines = [
            f"Budget '{crossing.budget}'{who} {state}: {spent} of {limit} spent.{consequence}",
            _reset_line(crossing, budget),
            *([f"It covers {_name(budget.scope.text())}."] if budget else []),
            *([f"Whom to ask: {_name(budget.contact)}."] if budget and budget.contact else []),
            "",
            "To give more for a time:",
            f"  {_raise_command(crossing)}",
        ]
        document = crossing_document(crossing)
        return self._alert(
            BUDGET_EXHAUSTED if is_end else BUDGET_THRESHOLD,
            f"budget '{crossing.budget}'{who} {state}",
            lines,
            {**document, "text": chat_text(crossing.text), "command": _raise_command(crossing)},
        )

    def runaway(self, record: RequestRecord, is_last: bool = False) -> Alert:
        """Tell of a session that a brake stopped; `is_last` of those that this key's requests give today."""
        session = record.session_id or ""
        command = lift_command(shown(session))
        why = "it has spent what it may" if record.error_type == "BrakeSpent" else "it asks too fast"
        told = f"A runaway brake stopped session {_name(session)}: {why}."
        lines = [
            told,
            f"It runs for {_who(record)}, with model {_name(record.model)}.",
            "",
            "If the work is wanted, let it go on for a time; else revoke the key:",
            f"  {command}",
            f"  farebox keys revoke {shlex.quote(record.key_id)}",
            *_last_lines(is_last),
        ]
        return self._alert(
            RUNAWAY, f"runaway session of key '{record.key}'", lines, _of_request(record, told, command)
        )

    def unpriced(self, record: RequestRecord, is_last: bool = False) -> Alert:
        """Tell of a model without a price; `is_last` of those that this key's requests give today."""
        charged = usd_exact_text(record.charged_picodollars)
        told = (
            f"Model {_name(record.model)} of provider {record.provider} has no price: its cost is not known."
        )
        command = "farebox apply farebox.yaml"
        lines = [
            told,
            f"First seen at {record.at:%Y-%m-%dT%H:%M:%SZ} by {_who(record)}. So that budgets still count,",
            f"each request of it is charged at a stated ceiling; this one at {charged}.",
            "",
            "Give it a price under `prices` of the provider in the policy file, or take the model from its",
            "`models`, and apply the file:",
            f"  {command}",
            *_last_lines(is_last),
        ]
        subject = f"no price for model {_name(record.model)}"
        return self._alert(UNPRICED, subject, lines, _of_request(record, told, command))

    def dead_letters(self, queue: str, count: int) -> Alert:
        """Tell of messages that nobody could process."""
        some = "1 message" if count == 1 else f"{count} messages"
        told = f"{some} could not be processed and wait in '{queue}', for 14 days at most."
        command = "farebox replay --since 14d"
        lines = [
            told,
            "Budgets are exact all the same. Usage reports may lack requests, and alerts may be late.",
            "",
            "Read why in the log of the function that the queue is named after, mend it, then send the",
            "ledger's rows again (what was counted is not counted twice) and empty the queue:",
            f"  {command}",
        ]
        document = {"text": told, "queue": queue, "count": count, "command": command}
        return self._alert(DEAD_LETTERS, f"{some} in {queue}", lines, document)

    def _alert(self, kind: str, subject: str, lines: list[str], document: Mapping[str, object]) -> Alert:
        where = [f"\nThe commands reach this deployment with FAREBOX_URL={self.admin_url}"]
        text = "\n".join([*lines, *(where if self.admin_url else [])]) + "\n"
        told = {"kind": kind, "stage": self.stage, "url": self.admin_url, **document}
        return Alert(kind, f"[farebox {self.stage}] {subject}", text, told)


def _of_request(record: RequestRecord, told: str, command: str) -> dict[str, object]:
    return {
        "text": chat_text(told),
        "workspace": record.workspace,
        "key": record.key,
        "user": record.user,
        "session": None if record.session_id is None else _name(record.session_id),
        "provider": record.provider,
        "model": _name(record.model),
        "at": f"{record.at:%Y-%m-%dT%H:%M:%SZ}",
        "command": command,
    }


def _last_lines(is_last: bool) -> list[str]:
    if not is_last:
        return []
    return ["", "There may be more of this kind today by this key: look into `farebox requests`."]


def _who(record: RequestRecord) -> str:
    user = f" of {_name(record.user)}" if record.user else ""
    return f"key '{record.key}'{user} in workspace '{record.workspace}'"


def _reset_line(crossing: Crossing, budget: Budget | None) -> str:
    end = crossing.window.end
    if end is None:
        return "It does not reset by itself."
    zone = budget.timezone if budget else "UTC"
    return f"It resets on {_local(end, zone)}."


def _local(moment: datetime, zone: str) -> str:
    there = moment.astimezone(ZoneInfo(zone))
    told = f"{there:%A}, {there.day} {there:%B %Y at %H:%M} ({zone})"
    return told if zone == "UTC" else f"{told}, {moment:%Y-%m-%dT%H:%M:%SZ}"


def _raise_command(crossing: Crossing) -> str:
    """Propose half as much again, until the window ends."""
    # Metadata of callers may be in it: nothing of that may look like another line or command.
    bucket = f" --bucket {shlex.quote(shown(crossing.bucket))}" if crossing.bucket else ""
    end = crossing.window.end
    until = f"{end:%Y-%m-%dT%H:%M:%SZ}" if end else "1d"
    return (
        f"farebox budgets raise {shlex.quote(crossing.budget)}{bucket} {_more(crossing)} --until {until} "
        "--reason '...'"
    )


def _more(crossing: Crossing) -> str:
    if crossing.unit is Unit.TOKENS:
        return f"--tokens {crossing.limit * 3 // 2 + 1}"
    cent = PICODOLLARS_PER_USD // 100
    return f"--usd {usd_text(-(-crossing.limit * 3 // (2 * cent)) * cent + (0 if crossing.limit else cent))}"


def _amount(unit: Unit, amount: int) -> str:
    return usd_exact_text(amount) if unit is Unit.USD else f"{amount} tokens"


def _name(text: str) -> str:
    return shown(text if len(text) <= NAME_MAX else text[:NAME_MAX] + "...")
