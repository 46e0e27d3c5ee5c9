"""Words that must not be found again, and all that a gateway says and keeps, to look for them in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tests.support.gateway_process import GatewayProcess
from tests.support.laptop import RawAnswer, RawClient

PROMPT, SYSTEM, TOOL, ANSWER, FOREIGN = (
    f"canary-{place}-text" for place in ("prompt", "system", "tool", "answer", "foreign")
)


@dataclass(slots=True)
class Seen:
    """Everything that the gateway said or kept, by where; what it only relays is left out."""

    texts: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int | None] = field(default_factory=dict)

    def with_secret(self, secret: str) -> list[str]:
        return [place for place, text in self.texts.items() if secret.encode() in text]


Case = tuple[str, int | None, bytes, list[tuple[str, str]]]
"""A name, the status that is due (None: the connection ends before one), a body and headers."""

ADMIN_READS = [
    "/v1/requests",
    "/v1/usage?by=key",
    "/v1/api-keys",
    "/v1/audit-logs",
    "/v1/budgets",
    "/v1/providers",
    "/v1/ledger/verify",
    "/admin/metrics",
]


def a_body(**changes: object) -> bytes:
    body: dict[str, object] = {
        "model": "claude-opus-5-5",
        "max_tokens": 50,
        "stream": True,
        "system": [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "Bash", "description": TOOL, "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": PROMPT},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": TOOL}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": PROMPT}]},
        ],
    }
    return json.dumps({**body, **changes}).encode()


def ask(
    gateway: GatewayProcess,
    case: Case,
    seen: Seen,
    *,
    target: str = "/v1/messages",
    relayed: frozenset[str] = frozenset(),
) -> None:
    """Ask, and keep what the gateway itself said; the body of an answer that is `relayed` is a provider's."""
    name, _, body, headers = case
    client = RawClient(gateway.port)
    with client:
        client.request("POST", f"{target}?beta=true&x={FOREIGN}", headers, body)
        told: RawAnswer | None
        try:
            told = client.read_answer()
        except ConnectionError:
            told = None
    seen.statuses[name] = told.status if told else None
    if told is None:
        return
    seen.texts[f"headers of {name}"] = repr(told.headers).encode()
    if told.status >= 400 and name not in relayed:
        seen.texts[f"body of {name}"] = told.body


def read_admin(gateway: GatewayProcess, seen: Seen) -> None:
    """Read what the admin plane shows of requests, keys and changes."""
    for target in ADMIN_READS:
        with RawClient(gateway.port) as client:
            client.request("GET", target, [("authorization", f"Bearer {gateway.admin_key}")])
            told = client.read_answer()
        assert told.status == 200, (target, told.body)
        seen.texts[f"admin {target}"] = told.body


def read_store(gateway: GatewayProcess, seen: Seen, when: str) -> None:
    for path in gateway.data.iterdir():
        if path.name != "credentials.json":
            seen.texts[f"{path.name} {when}"] = path.read_bytes()
