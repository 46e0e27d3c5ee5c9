"""How much of everything a deployment uses: counted from code and templates, or assumed and said so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counted:
    """What the code does; `tests/costs` counts each of these again.

    Of one request with a budget on the organisation, the workspace, the user and the key, a session and one
    metadata name; of one deployment with the default options.
    """

    reserve_write_units: int = 13
    settle_write_units: int = 19
    proxy_read_units: int = 2
    """Key and policy, read again when what the environment knows is older than a few seconds."""
    rollup_write_units: int = 18
    """Sums of its hour, day and month, of its session, of its metadata, and the mark that it was counted."""
    metric_line_bytes: int = 2_000
    request_line_bytes: int = 750
    stored_bytes: int = 3_600
    """The ledger row and its entries in the indexes, each with the 100 bytes that DynamoDB adds."""

    metrics_of_stage: int = 16
    metrics_of_model: int = 9
    """For each provider and model."""
    metrics_of_outcome: int = 1
    """For each provider, model and outcome."""
    metrics_of_workspace: int = 2
    metrics_of_jobs: int = 3
    """Rows told, rows counted, alerts told: a job writes no metric of what it did not do."""

    alarm_metrics: int = 16
    secrets: int = 1
    dashboards: int = 2
    polled_queues: int = 2
    dead_letter_queues: int = 4
    lease_partitions: int = 8


@dataclass(frozen=True, slots=True)
class Assumed:
    """What depends on how it is used; each is an option of `make costs`."""

    stream_s: int = 20
    """How long an answer streams; the proxy is paid for all of it."""
    proxy_memory_mb: int = 512
    prompt_kb: int = 250
    answer_kb: int = 40
    models: int = 3
    outcomes: int = 3
    """Of a model that come up in a month: finished, client_gone, upstream_error."""
    workspaces: int = 5
    requests_a_developer: int = 5_000
    """In a month: 240 on each of 21 days."""


BOUNDS = {
    "stream_s": (1, 900),
    "proxy_memory_mb": (128, 10_240),
    "prompt_kb": (0, 5_500),
    "answer_kb": (0, 100_000),
    "models": (1, 1_000),
    "outcomes": (1, 100),
    "workspaces": (1, 10_000),
    "requests_a_developer": (1, 1_000_000),
}
"""What may be assumed: Lambda's longest run and memory, the largest request; else what nobody goes beyond."""

JOB_MEMORY_MB = 256
JOB_MS = 100
"""Assumed of each invocation behind a request, as the whole of it on Lambda's bill."""

PLATFORM_LINES_BYTES = 900
"""Assumed: what Lambda itself logs of one invocation, start to report, as JSON."""

POLLS_A_QUEUE = 648_000
"""In a month of silence: five pollers of a queue, each asking every 20 s."""

MINUTES_A_MONTH = 43_200
