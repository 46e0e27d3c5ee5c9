"""Prometheus metrics of one process, counted from finished requests."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from farebox.domain.event import BreakerMoved, Event, RequestFinished
from farebox.domain.money import PICODOLLARS_PER_USD
from farebox.domain.record import RequestRecord
from farebox.domain.routing.breaker import BreakerState
from farebox.domain.routing.caching import CacheStatus
from farebox.domain.usage import CostStatus

# Callers choose model names; longer ones are cut, and beyond this many they share one label, so that nobody
# can fill the memory.
MODELS_MAX = 200
MODEL_LENGTH_MAX = 128
OTHER_MODEL = "other"
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """Bounded labels only: provider, model, outcome, status, token class, what the cache was. Never key, user
    or session.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._models: set[str] = set()
        served = ("provider", "model")
        self._requests = self._counter("requests", "Requests that ended.", *served, "outcome", "status")
        self._attempts = self._counter("attempts", "Tries at targets.", *served, "status", "result")
        self._breaker_moves = self._counter(
            "circuit_breaker_moves", "Circuit breakers that opened or closed.", *served, "region", "state"
        )
        self._breaker_open = Gauge(
            "farebox_circuit_breaker_open",
            "1 from when this process saw a breaker open until it saw it close.",
            (*served, "region"),
            registry=self._registry,
        )
        self._tokens = self._counter("tokens", "Tokens used.", *served, "class")
        self._cost = self._counter("charged_usd", "USD charged, rounded: the ledger is exact.", *served)
        self._lookups = self._counter(
            "cache_lookups", "Requests that the cache was asked for.", *served, "result"
        )
        self._saved = self._counter("saved_usd", "USD that cached answers cost when they were new.", *served)
        self._unpriced = self._counter("unpriced_requests", "Requests whose model has no price.", *served)
        self._first_byte = self._histogram("first_byte_seconds", "From request to first byte.", *served)
        self._duration = self._histogram("request_seconds", "From request to its end.", *served)

    def __call__(self, event: Event) -> None:
        """Count a finished request and its attempts, or a circuit breaker that moved."""
        if isinstance(event, BreakerMoved):
            self._moved(event)
        if not isinstance(event, RequestFinished):
            return
        record = event.record
        for attempt in record.attempts:
            result = "answered" if attempt.reason is None and attempt.status is not None else "failed"
            status = str(attempt.status or "none")
            self._attempts.labels(attempt.provider, self._model(attempt.model), status, result).inc()
        model = self._model(record.model)
        served = (record.provider or "none", model)
        self._requests.labels(*served, record.outcome.value, str(record.status)).inc()
        self._cost.labels(*served).inc(record.charged_picodollars / PICODOLLARS_PER_USD)
        self._duration.labels(*served).observe(record.duration_ms / 1000)
        if record.ttft_ms is not None:
            self._first_byte.labels(*served).observe(record.ttft_ms / 1000)
        if record.cache_status is not CacheStatus.DISABLED:
            self._lookups.labels(*served, record.cache_status.value).inc()
        if record.saved_picodollars:
            self._saved.labels(*served).inc(record.saved_picodollars / PICODOLLARS_PER_USD)
        if record.cost_status is CostStatus.UNPRICED:
            self._unpriced.labels(*served).inc()
        for name, tokens in _tokens(record):
            if tokens:
                self._tokens.labels(*served, name).inc(tokens)

    def text(self) -> str:
        """Give everything in the Prometheus text format."""
        return generate_latest(self._registry).decode()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"farebox_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"farebox_{name}", text, labels, buckets=SECONDS, registry=self._registry)

    def _moved(self, event: BreakerMoved) -> None:
        served = event.key.provider, self._model(event.key.model)
        self._breaker_moves.labels(*served, event.key.region, event.state.value).inc()
        is_open = event.state is not BreakerState.CLOSED
        self._breaker_open.labels(*served, event.key.region).set(int(is_open))

    def _model(self, name: str) -> str:
        model = name[:MODEL_LENGTH_MAX] or "none"
        if model in self._models:
            return model
        if len(self._models) >= MODELS_MAX:
            return OTHER_MODEL
        self._models.add(model)
        return model


def _tokens(record: RequestRecord) -> tuple[tuple[str, int], ...]:
    usage = record.usage
    return (
        ("input", usage.input_tokens),
        ("cache_read", usage.cache_read_tokens),
        ("cache_write_5m", usage.cache_write_5m_tokens),
        ("cache_write_1h", usage.cache_write_1h_tokens),
        ("output", usage.output_tokens),
    )
