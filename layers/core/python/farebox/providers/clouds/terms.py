"""What each cloud takes of Anthropic's betas and fields: what passes, under which name, and what does not.

Data, not code: when a cloud takes a beta, its line changes. An administrator need not wait for that: the
setting `pass_betas` of a provider lets more through.
Sources: the betas that Claude Code 2.1.330 itself sends to Bedrock and Vertex; LiteLLM's
anthropic_beta_headers_config.json; Amazon's and Google's pages on Claude. Read 2026-11-28.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field


class Terms(Struct, frozen=True):
    """`betas` maps a beta to its name there. With `takes_unknown_betas` one that is not listed passes as it
    is, and `refused_betas` do not.

    `fields` are those that need a beta: without it among those that pass, the field goes too.
    `dropped_fields` are never taken. `takes_cache_scope` says that `cache_control.scope` is,
    `turn_config_beta` what lets a message carry an `output_config`.
    """

    betas: Mapping[str, str] = field(default_factory=dict)
    takes_unknown_betas: bool = False
    refused_betas: frozenset[str] = frozenset()
    fields: Mapping[str, str] = field(default_factory=dict)
    dropped_fields: frozenset[str] = frozenset()
    takes_cache_scope: bool = False
    turn_config_beta: str | None = None


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


TOOL_SEARCH = {
    "advanced-tool-use-2025-11-20": "tool-search-tool-2025-10-19",
    "tool-search-tool-2025-10-19": "tool-search-tool-2025-10-19",
}
"""The first-party name and the one of Bedrock and Vertex for the same thing."""

_NEEDS_BETA = {
    "context_management": "context-management-2025-06-27",
    "safeguards": "dangerous-tool-use-2026-09-03",
}

BEDROCK_INVOKE = Terms(
    betas={
        **TOOL_SEARCH,
        **_same(
            "compact-2026-01-12",
            "computer-use-2025-01-24",
            "computer-use-2025-11-24",
            "context-1m-2025-08-07",
            "context-management-2025-06-27",
            "dangerous-tool-use-2026-09-03",
            "effort-2025-11-24",
            "fine-grained-tool-streaming-2025-05-14",
            "interleaved-thinking-2025-05-14",
            "mid-conversation-output-config-2026-07-01",
            "mid-conversation-tool-changes-2026-07-01",
            "thinking-binding-controls-2026-08-01",
            "thinking-display-updates-2026-08-18",
            "thinking-token-count-2026-05-13",
        ),
    },
    fields=_NEEDS_BETA,
    dropped_fields=frozenset({"speed", "tags"}),
    turn_config_beta="mid-conversation-output-config-2026-07-01",
)

BEDROCK_MESSAGES = Terms(
    betas={
        **BEDROCK_INVOKE.betas,
        **_same(
            "claude-code-20250219",
            "output-128k-2025-02-19",
            "per-turn-control-2026-07-01",
            "structured-outputs-2025-11-13",
            "structured-outputs-2025-12-15",
            "token-efficient-tools-2025-02-19",
            "tool-examples-2025-10-29",
            "web-search-2025-03-05",
        ),
    },
    fields=_NEEDS_BETA,
    dropped_fields=frozenset({"speed", "tags"}),
    turn_config_beta="per-turn-control-2026-07-01",
)

VERTEX = Terms(
    betas={
        **TOOL_SEARCH,
        **_same(
            "claude-code-20250219",
            "compact-2026-01-12",
            "compact-2026-09-04",
            "computer-use-2025-01-24",
            "computer-use-2025-11-24",
            "context-1m-2025-08-07",
            "context-management-2025-06-27",
            "dangerous-tool-use-2026-09-03",
            "effort-2025-11-24",
            "fast-mode-2026-02-01",
            "interleaved-thinking-2025-05-14",
            "per-turn-control-2026-07-01",
            "thinking-binding-controls-2026-08-01",
            "thinking-display-updates-2026-08-18",
            "thinking-token-count-2026-05-13",
            "web-search-2025-03-05",
        ),
    },
    fields={**_NEEDS_BETA, "speed": "fast-mode-2026-02-01"},
    dropped_fields=frozenset({"tags"}),
    turn_config_beta="per-turn-control-2026-07-01",
)

FOUNDRY = Terms(
    takes_unknown_betas=True,
    refused_betas=frozenset(
        {
            "advisor-tool-2026-03-01",
            "compact-2026-01-12",
            "fast-mode-2026-02-01",
            "fine-grained-tool-streaming-2025-05-14",
            "output-128k-2025-02-19",
            "thinking-binding-controls-2026-08-01",
            "token-efficient-tools-2025-02-19",
        }
    ),
    fields={"speed": "fast-mode-2026-02-01"},
    takes_cache_scope=True,
    turn_config_beta="per-turn-control-2026-07-01",
)

ANTHROPIC_AWS = Terms(
    takes_unknown_betas=True,
    refused_betas=frozenset({"fast-mode-2026-02-01"}),
    fields={"speed": "fast-mode-2026-02-01"},
    takes_cache_scope=True,
    turn_config_beta="per-turn-control-2026-07-01",
)
