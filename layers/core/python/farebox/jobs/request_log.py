"""One JSON line a request, from the ledger row: no prompt, no secret, no key text."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from farebox.domain.event import Event, RequestFinished
from farebox.domain.money import usd_text
from farebox.domain.record import RequestRecord


class RequestLog:
    """Writes to `write`, which gets a whole line without its end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def __call__(self, event: Event) -> None:
        """Log a finished request."""
        if isinstance(event, RequestFinished):
            self._write(msgspec.json.encode(request_line(event.record)).decode())


def request_line(record: RequestRecord) -> dict[str, object]:
    """Give what is logged of a request. Metadata stays out: callers choose it."""
    usage = record.usage
    return {
        "event": "request",
        "id": record.id,
        "at": f"{record.at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "trace_id": record.trace_id,
        "workspace": record.workspace,
        "key": record.key,
        "user": record.user,
        "model": record.model,
        "provider": record.provider,
        "status": record.status,
        "outcome": record.outcome.value,
        "error_type": record.error_type,
        "billing": record.billing.value,
        "cost_usd": None if record.cost_picodollars is None else usd_text(record.cost_picodollars),
        "charged_usd": usd_text(record.charged_picodollars),
        "cost_status": record.cost_status.value,
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_tokens": usage.output_tokens,
        "ttft_ms": record.ttft_ms,
        "duration_ms": record.duration_ms,
        "session_id": record.session_id,
        "agent_id": record.agent_id,
        "upstream_request_id": record.upstream_request_id,
        "attempts": len(record.attempts),
        "cache_status": record.cache_status.value,
        "saved_usd": usd_text(record.saved_picodollars),
    }
