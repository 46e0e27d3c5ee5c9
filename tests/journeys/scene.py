"""The scene of most journeys: a gateway before the scripted upstream, and a second opinion on cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.gateway_process import GatewayProcess
from tests.support.upstream import ScriptedUpstream

CREDENTIAL = "sk-ant-api03-canary-of-the-provider"
PROVIDER = "anthropic-test"
MODEL = "claude-opus-5-5"

# USD per million tokens. Source: Anthropic's price page, read 2026-08; kept apart from the price data.
OPUS_5_5 = {
    "input_tokens": Decimal("4"),
    "output_tokens": Decimal("20"),
    "cache_read_tokens": Decimal("0.20"),
    "cache_write_5m_tokens": Decimal("5"),
    "cache_write_1h_tokens": Decimal("8"),
}


def gateway_before(
    folder: Path,
    upstream: ScriptedUpstream,
    *,
    credential: str = "env:CANARY",
    environment: Mapping[str, str] | None = None,
    **sections: object,
) -> GatewayProcess:
    """Configure a gateway whose provider is `upstream`; `sections` are more of the file's."""
    provider = {
        "slug": PROVIDER,
        "type": "anthropic",
        "credential": credential,
        "base_url": upstream.base_url,
    }
    return GatewayProcess(
        folder,
        config=json.dumps({"providers": [provider], **sections}),
        environment={"CANARY": CREDENTIAL, **(environment or {})},
    )


def cost_usd(tokens: dict[str, int]) -> Decimal:
    """Price token counts at list, exactly."""
    return sum((OPUS_5_5[name] * count for name, count in tokens.items()), Decimal(0)) / 1_000_000


def row_of(tokens: dict[str, int], session_id: str) -> dict[str, Any]:
    """Give the fields of a `farebox requests` row that the upstream's report decides."""
    return {
        "model": MODEL,
        "provider": PROVIDER,
        "session_id": session_id,
        "status": 200,
        "outcome": "finished",
        "billing": "metered",
        "cost_status": "priced",
        "cost_usd": cost_usd(tokens),
        "attempts": 1,
        "upstream_request_id": "req_011CScripted",
        **dict.fromkeys(OPUS_5_5, 0),
        **tokens,
    }


def shown(row: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Cut a row down to the expected fields, with its cost as a number."""
    return {**{name: row[name] for name in expected}, "cost_usd": Decimal(row["cost_usd"])}
