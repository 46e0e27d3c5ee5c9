"""Rows of the admin plane (budgets have their own): decimal amounts, RFC 3339 times, whole tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from farebox.domain.identity import GatewayKey
from farebox.domain.money import usd_text
from farebox.domain.policy import Change
from farebox.domain.record import RequestRecord
from farebox.http.admin.issue import IssuedKey
from farebox.http.moments import optional_utc_text, utc_text
from farebox.ports import AuditEntry, Resource, UsageRow

Row = dict[str, object]

_TOKEN_FIELDS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)


def listing(rows: Sequence[Row], following: str | None = None) -> Row:
    """Give a list as it is always given; `next` is the cursor of the following page."""
    return {"rows": list(rows), "next": following}


def key_row(key: GatewayKey, now: datetime) -> Row:
    """Give a gateway key, without its secret."""
    state = "revoked" if key.revoked_at else "active" if key.is_valid(now) else "expired"
    return {
        "id": key.id,
        "name": key.name,
        "workspace": key.workspace,
        "state": state,
        "shown": key.shown,
        "user": key.user,
        "metadata": dict(key.metadata),
        "models": list(key.models),
        "providers": list(key.providers),
        "config": key.config,
        "allow_config_override": key.allow_config_override,
        "created_at": utc_text(key.created_at),
        "expires_at": optional_utc_text(key.expires_at),
        "revoked_at": optional_utc_text(key.revoked_at),
    }


def issued_key_row(issued: IssuedKey, now: datetime) -> Row:
    """Give a new key with its secret, the only time that it is told."""
    row = key_row(issued.key, now)
    return {"id": row.pop("id"), "name": row.pop("name"), "key": issued.secret, **row}


def resource_row(resource: Resource) -> Row:
    """Give a piece of policy: its section of the file, and where it comes from."""
    return {
        **resource.document,
        "position": resource.position,
        "origin": resource.origin,
        "updated_at": utc_text(resource.updated_at),
    }


def request_row(record: RequestRecord) -> Row:
    """Give one ledger row."""
    cost = record.cost_picodollars
    return {
        "id": record.id,
        "at": utc_text(record.at),
        "key": record.key,
        "workspace": record.workspace,
        "user": record.user,
        "model": record.model,
        "provider": record.provider,
        "status": record.status,
        "outcome": str(record.outcome),
        "cost_usd": None if cost is None else usd_text(cost),
        "charged_usd": usd_text(record.charged_picodollars),
        "cost_status": str(record.cost_status),
        "billing": str(record.billing),
        "ttft_ms": record.ttft_ms,
        "duration_ms": record.duration_ms,
        "session_id": record.session_id,
        "agent_id": record.agent_id,
        "upstream_request_id": record.upstream_request_id,
        "attempts": len(record.attempts),
        **_tokens(record.usage),
        "metadata": dict(record.metadata),
        "trace_id": record.trace_id,
        "error_type": record.error_type,
        "overrun_usd": usd_text(record.overrun_picodollars),
        "cache_status": str(record.cache_status),
        "saved_usd": usd_text(record.saved_picodollars),
    }


def usage_row(by: str, row: UsageRow) -> Row:
    """Give one group of a usage report; the group stands under the name of what it is grouped by."""
    return {by: row.group, **_sums([row])}


def usage_total(rows: Sequence[UsageRow]) -> Row:
    """Give the sum of a whole usage report."""
    return _sums(rows)


def change_row(change: Change) -> Row:
    """Give what an apply does to one piece."""
    return {
        "kind": change.kind,
        "name": change.name,
        "action": str(change.action),
        "fields": [{"path": each.path, "before": each.before, "after": each.after} for each in change.fields],
    }


def audit_row(entry: AuditEntry) -> Row:
    """Give one line of the audit trail."""
    return {
        "at": utc_text(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "kind": entry.kind,
        "name": entry.name,
        "before": _plain(entry.before),
        "after": _plain(entry.after),
    }


def _plain(document: Mapping[str, object] | None) -> Row | None:
    return None if document is None else dict(document)


def _tokens(counters: object) -> Row:
    return {name: getattr(counters, name) for name in _TOKEN_FIELDS}


def _sums(rows: Sequence[UsageRow]) -> Row:
    return {
        "requests": sum(row.requests for row in rows),
        "errors": sum(row.errors for row in rows),
        **{name: sum(getattr(row, name) for row in rows) for name in _TOKEN_FIELDS},
        "cost_usd": usd_text(sum(row.cost_picodollars for row in rows)),
        "charged_usd": usd_text(sum(row.charged_picodollars for row in rows)),
        "cache_hits": sum(row.cache_hits for row in rows),
        "saved_usd": usd_text(sum(row.saved_picodollars for row in rows)),
    }
