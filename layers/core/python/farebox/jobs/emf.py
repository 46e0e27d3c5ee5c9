"""Metrics of requests and jobs as log lines that CloudWatch turns into metrics, with bounded dimensions.

Source: CloudWatch user guide, "Embedded metric format specification", read 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TypeAlias

import msgspec
from msgspec import Struct

from farebox.domain.event import BreakerMoved, Event, RequestFinished
from farebox.domain.money import PICODOLLARS_PER_USD
from farebox.domain.price import normalised_model
from farebox.domain.record import Outcome, RequestRecord
from farebox.domain.routing.breaker import BreakerKey, BreakerState
from farebox.domain.routing.caching import CacheStatus
from farebox.domain.usage import CostStatus
from farebox.ports import Clock

NAMESPACE = "farebox"

# Every distinct set of dimension values is a metric that is paid for. Callers choose names of models, so only
# models that have a price are named, and of each kind not more than so many by one process.
VALUES_MAX = 50
VALUE_LENGTH_MAX = 128
OTHER, NONE = "other", "none"

_COUNT, _MS, _USD = "Count", "Milliseconds", "None"
_TOKENS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
_TOKEN_METRICS = tuple(f"{name}_tokens" for name in _TOKENS)

UNITS: Mapping[str, str] = {
    "requests": _COUNT,
    "errors_4xx": _COUNT,
    "errors_5xx": _COUNT,
    "refused": _COUNT,
    "throttled": _COUNT,
    "unpriced": _COUNT,
    "cold_starts": _COUNT,
    "failed_attempts": _COUNT,
    "breakers_opened": _COUNT,
    "cache_hits": _COUNT,
    "cache_misses": _COUNT,
    "ttft_ms": _MS,
    "duration_ms": _MS,
    **dict.fromkeys(_TOKEN_METRICS, _COUNT),
    "charged_usd": _USD,
    "overrun_usd": _USD,
    "saved_usd": _USD,
}
"""Every metric and its unit. Dollars are rounded; the ledger is exact."""

BY_STAGE = tuple(UNITS)
BY_MODEL = ("requests", "ttft_ms", "duration_ms", *_TOKEN_METRICS, "charged_usd")
BY_OUTCOME = ("requests",)
BY_WORKSPACE = ("requests", "charged_usd")

Directives: TypeAlias = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
"""Sets of dimensions, and the metrics that are kept by each."""

DIRECTIVES: Directives = (
    (("stage",), BY_STAGE),
    (("stage", "provider", "model"), BY_MODEL),
    (("stage", "provider", "model", "outcome"), BY_OUTCOME),
    (("stage", "workspace"), BY_WORKSPACE),
)
"""Which metrics there are by which dimensions. A key, user or session is never one."""

BREAKER_DIRECTIVES: Directives = (
    (("stage",), ("breakers_opened",)),
    (("stage", "provider", "model"), ("breakers_opened",)),
)

JOB_UNITS: Mapping[str, str] = dict.fromkeys(
    (
        "rows_announced",
        "rows_counted",
        "rows_known",
        "records_failed",
        "holds_swept",
        "alerts_told",
        "alerts_untold",
        "dead_letters",
    ),
    _COUNT,
)
"""What the functions behind requests count, all by stage and job."""

JOB_DIRECTIVES: Directives = ((("stage", "job"), tuple(JOB_UNITS)),)


class Told(Struct, frozen=True):
    """What one line says: text by dimension, numbers by metric."""

    dimensions: Mapping[str, str]
    metrics: Mapping[str, float]


class EmfMetrics:
    """A listener that writes one line a finished request to `write`, which gets it without its end.

    The first one counts as a cold start, unless nobody waits for what the process does.
    `known_models` are named by their plain ids whatever becomes of a request; others once they were priced.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        stage: str,
        known_models: Container[str],
        *,
        counts_cold_start: bool = True,
    ) -> None:
        self._write, self._stage = write, stage
        self._known_models = known_models
        self._seen: dict[str, set[str]] = {"model": set(), "provider": set(), "workspace": set()}
        self._is_first = counts_cold_start

    def __call__(self, event: Event) -> None:
        """Write the metrics of a finished request, or of a circuit breaker that opened."""
        if isinstance(event, BreakerMoved) and event.state is BreakerState.OPEN:
            self._write(emf_line(self._opened(event.key), event.at, BREAKER_DIRECTIVES))
        if not isinstance(event, RequestFinished):
            return
        record = event.record
        told = Told(self._dimensions(record), metrics_of(record, is_cold_start=self._is_first))
        self._is_first = False
        self._write(emf_line(told, _ended_at(record)))

    def _opened(self, key: BreakerKey) -> Told:
        model = normalised_model(key.model)
        dimensions = {
            "stage": _clean(self._stage),
            "provider": self._capped("provider", key.provider),
            "model": self._capped("model", model if model in self._known_models else OTHER),
        }
        return Told(dimensions, {"breakers_opened": 1})

    def _dimensions(self, record: RequestRecord) -> dict[str, str]:
        return {
            "stage": _clean(self._stage),
            "provider": self._capped("provider", record.provider),
            "model": self._capped("model", self._model(record)),
            "outcome": record.outcome.value,
            "workspace": self._capped("workspace", record.workspace),
        }

    def _model(self, record: RequestRecord) -> str:
        model = normalised_model(record.model)
        is_priced = bool(record.rates) and record.cost_status is not CostStatus.UNPRICED
        return model if is_priced or model in self._known_models else OTHER

    def _capped(self, dimension: str, value: str | None) -> str:
        name, seen = _clean(value or NONE), self._seen[dimension]
        if name not in seen:
            if len(seen) >= VALUES_MAX:
                return OTHER
            seen.add(name)
        return name


class JobMetrics:
    """Writes what one invocation of a job has done.

    What it did not do is in the line and no metric: one is paid for in each hour in which it is written, and
    a job that runs each minute would pay for its silence.
    """

    def __init__(self, write: Callable[[str], None], stage: str, job: str, clock: Clock) -> None:
        self._write, self._clock = write, clock
        self._dimensions = {"stage": _clean(stage), "job": _clean(job)}

    def __call__(self, **counts: int) -> None:
        """Write counts by the names of `JOB_UNITS`."""
        told = Told(self._dimensions, counts)
        done = tuple(name for name in JOB_UNITS if counts.get(name))
        by = tuple((dimensions, done) for dimensions, _ in JOB_DIRECTIVES if done)
        self._write(emf_line(told, self._clock.now(), by, JOB_UNITS))


def metrics_of(record: RequestRecord, *, is_cold_start: bool) -> dict[str, float]:
    """Give what is measured of a request; no time to the first byte where there was none, and nothing of the
    cache where it was not asked.
    """
    usage = record.usage
    metrics: dict[str, float] = {
        "requests": 1,
        "errors_4xx": int(400 <= record.status < 500),
        "errors_5xx": int(record.status >= 500),
        "refused": int(record.outcome is Outcome.REFUSED),
        "throttled": int(record.status == HTTPStatus.TOO_MANY_REQUESTS),
        "unpriced": int(record.cost_status is CostStatus.UNPRICED),
        "cold_starts": int(is_cold_start),
        "duration_ms": record.duration_ms,
        "input_tokens": usage.input_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_tokens": usage.output_tokens,
        "charged_usd": record.charged_picodollars / PICODOLLARS_PER_USD,
        "overrun_usd": record.overrun_picodollars / PICODOLLARS_PER_USD,
    }
    failed = sum(attempt.reason is not None for attempt in record.attempts)
    if failed:
        metrics["failed_attempts"] = failed
    if record.ttft_ms is not None:
        metrics["ttft_ms"] = record.ttft_ms
    if record.cache_status is not CacheStatus.DISABLED:  # a metric is paid for, and most have no cache
        metrics["cache_hits"] = int(record.cache_status is CacheStatus.HIT)
        metrics["cache_misses"] = int(record.cache_status is CacheStatus.MISS)
        metrics["saved_usd"] = record.saved_picodollars / PICODOLLARS_PER_USD
    return metrics


def emf_line(told: Told, at: datetime, by: Directives = DIRECTIVES, units: Mapping[str, str] = UNITS) -> str:
    """Write one line of the embedded metric format; a plain one where nothing is to be a metric."""
    directives = [
        {
            "Namespace": NAMESPACE,
            "Dimensions": [list(dimensions)],
            "Metrics": [{"Name": name, "Unit": units[name]} for name in names if name in told.metrics],
        }
        for dimensions, names in by
    ]
    line: dict[str, object] = {**told.dimensions, **told.metrics}
    if directives:
        timestamp_ms = int(at.astimezone(UTC).timestamp() * 1000)
        line = {"_aws": {"Timestamp": timestamp_ms, "CloudWatchMetrics": directives}, **line}
    return msgspec.json.encode(line).decode()


def _clean(value: str) -> str:
    """Make a value that CloudWatch takes as a dimension's: printable ASCII, not blank."""
    text = "".join(each if " " < each <= "~" else "?" for each in value[:VALUE_LENGTH_MAX])
    return text or NONE


def _ended_at(record: RequestRecord) -> datetime:
    return record.at + timedelta(milliseconds=record.duration_ms)
