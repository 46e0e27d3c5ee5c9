"""What Prometheus sees of finished requests, and what it never sees."""

from __future__ import annotations

from farebox.domain.event import BreakerMoved, RequestFinished
from farebox.domain.record import Outcome
from farebox.domain.routing.breaker import BreakerKey, BreakerState
from farebox.domain.routing.caching import CacheStatus
from farebox.domain.usage import CostStatus, Usage
from farebox.jobs.metrics import MODEL_LENGTH_MAX, MODELS_MAX, Metrics
from tests.support.builders import NOON, a_record, an_attempt


def samples(metrics: Metrics) -> dict[str, float]:
    """Give every sample but the buckets and the moments of creation."""
    lines = [line for line in metrics.text().splitlines() if not line.startswith("#")]
    pairs = [line.rpartition(" ") for line in lines]
    return {
        name: float(value) for name, _, value in pairs if "_bucket" not in name and "_created" not in name
    }


SERVED = 'model="claude-sonnet-4-5",provider="anthropic"'


def test_a_finished_request_is_counted_in_every_measure() -> None:
    metrics = Metrics()
    usage = Usage(10, 20, 30, 40, 50)
    metrics(RequestFinished(a_record(usage=usage, charged_picodollars=250_000_000_000)))
    assert samples(metrics) == {
        f"farebox_requests_total{{{SERVED.replace(',', ',outcome=' + chr(34) + 'finished' + chr(34) + ',')},"
        'status="200"}': 1,
        f'farebox_tokens_total{{class="input",{SERVED}}}': 10,
        f'farebox_tokens_total{{class="cache_read",{SERVED}}}': 20,
        f'farebox_tokens_total{{class="cache_write_5m",{SERVED}}}': 30,
        f'farebox_tokens_total{{class="cache_write_1h",{SERVED}}}': 40,
        f'farebox_tokens_total{{class="output",{SERVED}}}': 50,
        f"farebox_charged_usd_total{{{SERVED}}}": 0.25,
        f"farebox_first_byte_seconds_count{{{SERVED}}}": 1,
        f"farebox_first_byte_seconds_sum{{{SERVED}}}": 0.4,
        f"farebox_request_seconds_count{{{SERVED}}}": 1,
        f"farebox_request_seconds_sum{{{SERVED}}}": 0.9,
    }


def test_a_refusal_has_no_first_byte_and_needs_no_provider() -> None:
    metrics = Metrics()
    record = a_record(
        outcome=Outcome.REFUSED,
        status=402,
        provider=None,
        model="",
        ttft_ms=None,
        usage=Usage(),
        charged_picodollars=0,
    )
    metrics(RequestFinished(record))
    found = samples(metrics)
    line = 'farebox_requests_total{model="none",outcome="refused",provider="none",status="402"}'
    assert found[line] == 1
    assert not [name for name in found if "first_byte" in name or "tokens" in name]


def test_unpriced_requests_stand_out() -> None:
    metrics = Metrics()
    for status in CostStatus:
        metrics(RequestFinished(a_record(cost_status=status)))
    assert samples(metrics)[f"farebox_unpriced_requests_total{{{SERVED}}}"] == 1


def test_answers_from_the_cache_are_counted_with_what_they_saved() -> None:
    metrics = Metrics()
    for status in CacheStatus:
        saved = 500_000_000_000 if status is CacheStatus.HIT else 0
        metrics(RequestFinished(a_record(cache_status=status, saved_picodollars=saved)))
    found = samples(metrics)
    assert {name: value for name, value in found.items() if "cache_lookups" in name} == {
        f'farebox_cache_lookups_total{{{SERVED},result="{status}"}}': 1
        for status in ("hit", "miss", "refresh")
    }
    assert found[f"farebox_saved_usd_total{{{SERVED}}}"] == 0.5


def test_callers_cannot_fill_the_memory_with_names_of_models() -> None:
    metrics = Metrics()
    for number in range(MODELS_MAX + 50):
        metrics(RequestFinished(a_record(model=f"model-{number}")))
    metrics(RequestFinished(a_record(model="model-0")))
    counted = {name: value for name, value in samples(metrics).items() if "requests_total" in name}
    assert len(counted) == MODELS_MAX + 1
    assert sorted(counted.values())[-2:] == [2, 50]
    assert [value for name, value in counted.items() if 'model="other"' in name] == [50]


def test_the_name_of_a_model_is_cut_where_no_real_one_reaches() -> None:
    metrics = Metrics()
    metrics(RequestFinished(a_record(model="m" * 1_000_000)))
    assert len(metrics.text()) < 20_000
    assert f'model="{"m" * MODEL_LENGTH_MAX}"' in metrics.text()


def test_nothing_that_names_a_person_is_a_label() -> None:
    metrics = Metrics()
    metrics(
        RequestFinished(
            a_record(
                key="k-canary",
                user="u-canary",
                session_id="s-canary",
                trace_id="t-canary",
                metadata={"m": "m-canary"},
            )
        )
    )
    assert "canary" not in metrics.text()


def test_each_attempt_is_counted_at_its_own_target() -> None:
    metrics = Metrics()
    failed = an_attempt(provider="first", status=529, reason="status 529")
    lost = an_attempt(provider="first", status=None, reason="not reached")
    metrics(RequestFinished(a_record(attempts=(failed, lost, an_attempt(provider="second")))))
    found = {name: value for name, value in samples(metrics).items() if "attempts" in name}
    model = 'model="claude-sonnet-4-5"'
    assert found == {
        f'farebox_attempts_total{{{model},provider="first",result="failed",status="529"}}': 1,
        f'farebox_attempts_total{{{model},provider="first",result="failed",status="none"}}': 1,
        f'farebox_attempts_total{{{model},provider="second",result="answered",status="200"}}': 1,
    }


def test_a_circuit_breaker_is_seen_to_open_and_close() -> None:
    metrics = Metrics()
    key = BreakerKey("first", "claude-opus-5-5", "eu")
    labels = 'model="claude-opus-5-5",provider="first",region="eu"'
    for state, is_open in ((BreakerState.OPEN, 1), (BreakerState.OPEN, 1), (BreakerState.CLOSED, 0)):
        metrics(BreakerMoved(key, state, NOON))
        assert samples(metrics)[f"farebox_circuit_breaker_open{{{labels}}}"] == is_open
    assert samples(metrics)[f'farebox_circuit_breaker_moves_total{{{labels},state="open"}}'] == 2
    assert samples(metrics)[f'farebox_circuit_breaker_moves_total{{{labels},state="closed"}}'] == 1
