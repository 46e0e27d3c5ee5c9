"""The one line that is logged of a request."""

from __future__ import annotations

import json
from typing import Any

from farebox.domain.event import RequestFinished
from farebox.domain.record import Billing, Outcome
from farebox.domain.usage import CostStatus, Usage
from farebox.jobs.request_log import RequestLog
from tests.support.builders import a_record, an_attempt


def logged(**changes: Any) -> tuple[str, dict[str, object]]:
    lines: list[str] = []
    RequestLog(lines.append)(RequestFinished(a_record(**changes)))
    [line] = lines
    return line, json.loads(line)


def test_a_request_is_one_line_with_everything_that_was_charged() -> None:
    line, told = logged(
        usage=Usage(1, 2, 3, 4, 5), agent_id="agent_1", upstream_request_id="up_1", attempts=(an_attempt(),)
    )
    assert "\n" not in line
    assert told == {
        "event": "request",
        "id": "req_1",
        "at": "2026-11-23T12:00:00.000000Z",
        "trace_id": "trace_1",
        "workspace": "platform",
        "key": "alice",
        "user": "alice@example.com",
        "model": "claude-sonnet-4-5",
        "provider": "anthropic",
        "status": 200,
        "outcome": "finished",
        "error_type": None,
        "billing": "metered",
        "cost_usd": "0.00033",
        "charged_usd": "0.00033",
        "cost_status": "priced",
        "input_tokens": 1,
        "cache_read_tokens": 2,
        "cache_write_5m_tokens": 3,
        "cache_write_1h_tokens": 4,
        "output_tokens": 5,
        "ttft_ms": 400,
        "duration_ms": 900,
        "session_id": "session_1",
        "agent_id": "agent_1",
        "upstream_request_id": "up_1",
        "attempts": 1,
        "cache_status": "disabled",
        "saved_usd": "0",
    }


def test_an_unpriced_request_has_no_cost_and_a_charge() -> None:
    _, told = logged(cost_picodollars=None, cost_status=CostStatus.UNPRICED)
    assert (told["cost_usd"], told["charged_usd"], told["cost_status"]) == (None, "0.00033", "unpriced")


def test_a_refusal_says_what_kind_it_was() -> None:
    _, told = logged(
        outcome=Outcome.REFUSED, status=402, error_type="BudgetExhausted", billing=Billing.SUBSCRIPTION
    )
    assert (told["outcome"], told["status"], told["error_type"], told["billing"]) == (
        "refused",
        402,
        "BudgetExhausted",
        "subscription",
    )


def test_metadata_stays_out_since_callers_choose_it() -> None:
    line, _ = logged(metadata={"ticket": "canary"})
    assert "canary" not in line


def test_a_line_break_in_a_name_does_not_make_a_second_line() -> None:
    line, told = logged(model='x\n{"event":"request"}')
    assert "\n" not in line
    assert told["model"] == 'x\n{"event":"request"}'
