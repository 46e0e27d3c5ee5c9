"""`farebox cost --jsonl` as a command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from farebox.cli.cost import cost_command
from farebox.cli.cost_record import RecordInvalid, price_record
from tests.domain.price_cases import BOOK

Json = dict[str, object]

USAGE: Json = {"input_tokens": 1_000, "output_tokens": 100}
GOOD: Json = {"id": "a", "provider": "anthropic", "model": "claude-opus-5-5", "usage": USAGE}
PRICED: Json = {"id": "a", "status": "priced", "usd": "0.006", "picodollars": 6_000_000_000}


def app() -> typer.Typer:
    application = typer.Typer()
    application.command("cost")(cost_command(lambda: BOOK))
    return application


def run(*arguments: str, given: str | None = None) -> tuple[int, list[Json], str]:
    result = CliRunner().invoke(app(), ["--jsonl", *arguments], input=given)
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def lines(*records: object) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def test_one_line_in_is_one_line_out() -> None:
    assert run(given=lines(GOOD, {**GOOD, "id": 7})) == (0, [PRICED, {**PRICED, "id": 7}], "")


def test_files_are_priced_in_order_and_a_dash_is_standard_input(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(lines({**GOOD, "id": 1}))
    status, out, _ = run(str(tmp_path / "one.jsonl"), "-", given=lines({**GOOD, "id": 2}))
    assert (status, [line["id"] for line in out]) == (0, [1, 2])


def test_a_bad_line_is_told_by_number_and_the_others_are_still_priced() -> None:
    no_model = {"id": "b", "provider": "anthropic", "usage": USAGE}
    status, out, errors = run(given=lines(GOOD) + "\nnope\n" + lines(no_model, [1], GOOD))
    unpriced: Json = {"status": "unpriced", "usd": None, "picodollars": None}
    assert status == 2
    assert out[0] == out[4] == PRICED
    assert {name: out[1][name] for name in ("id", *unpriced)} == {"id": None, **unpriced}
    assert out[2] == {"id": "b", **unpriced, "error": "model is missing or not a text"}
    assert out[3] == {"id": None, **unpriced, "error": "not a JSON object"}
    assert [error.split(":")[0] for error in errors.splitlines()] == ["line 3", "line 4", "line 5"]


def test_a_missing_file_is_told_and_the_others_are_still_priced(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(lines(GOOD))
    status, out, errors = run(str(tmp_path / "none.jsonl"), str(tmp_path / "one.jsonl"))
    assert (status, out) == (2, [PRICED])
    assert "none.jsonl" in errors


def test_counts_beyond_the_precision_of_floats_are_exact() -> None:
    record = {**GOOD, "usage": {"input_tokens": 2**53 + 1, "output_tokens": 0}}
    assert price_record(record, BOOK).line("a") == {
        **PRICED,
        "usd": "36028797018.963972",
        "picodollars": (2**53 + 1) * 4_000_000,
    }


def test_an_identifier_comes_back_as_it_was() -> None:
    strange = "\ud800\u00e9"
    status, out, _ = run(given=lines({**GOOD, "id": strange}))
    assert (status, out) == (0, [{**PRICED, "id": strange}])


def test_the_format_has_to_be_named() -> None:
    assert CliRunner().invoke(app(), [], input=lines(GOOD)).exit_code == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"provider": None}, "provider is missing or not a text"),
        ({"model": 5}, "model is missing or not a text"),
        ({"usage": 5}, "usage is not an object"),
        ({"stream": {}}, "stream is not a list of events"),
        ({"stream": [1]}, "stream is not a list of events"),
        ({"api": "telepathy"}, "api is not one of messages, chat, responses, generate_content, converse"),
        ({"at": "yesterday"}, "at is not an RFC 3339 time: 'yesterday'"),
        ({"attempts": []}, "attempts is not a list of objects"),
        ({"attempts": "one"}, "attempts is not a list of objects"),
        ({"attempts": [1]}, "attempts is not a list of objects"),
    ],
)
def test_a_record_that_cannot_be_priced_says_why(change: Json, problem: str) -> None:
    with pytest.raises(RecordInvalid) as refused:
        price_record({**GOOD, **change}, BOOK)
    assert str(refused.value) == problem


def test_without_a_time_the_prices_are_those_of_the_tables_date() -> None:
    read: Json = {"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 10}
    record = {**GOOD, "model": "claude-sonnet-5-5", "usage": read}
    assert price_record(record, BOOK) == price_record({**record, "at": BOOK.claude.as_of}, BOOK)


def test_a_record_without_any_usage_is_unpriced_but_an_error_answer_costs_nothing() -> None:
    nothing = {**GOOD, "usage": None}
    assert price_record(nothing, BOOK).line("a") == {
        **PRICED,
        "status": "unpriced",
        "usd": None,
        "picodollars": None,
    }
    assert price_record({**nothing, "http_status": 429}, BOOK).line("a") == {
        **PRICED,
        "usd": "0",
        "picodollars": 0,
    }


def test_one_unpriced_attempt_makes_the_request_unpriced() -> None:
    attempts = [{**GOOD, "model": "claude-opus-9"}, GOOD]
    assert price_record({"attempts": attempts}, BOOK).picodollars is None


def test_an_attempt_at_the_records_own_provider_is_in_its_region() -> None:
    vertex = {"provider": "vertex", "model": "claude-opus-5-5", "usage": USAGE}
    elsewhere = {**vertex, "provider": "anthropic"}
    record = {"provider": "vertex", "region": "us-east5", "attempts": [vertex, elsewhere]}
    assert price_record(record, BOOK).picodollars == 6_600_000_000 + 6_000_000_000


def test_how_an_answer_ended_is_about_the_last_attempt() -> None:
    ended = {"stop_reason": "refusal", "stop_details": {"category": "cyber"}, "content_empty": True}
    attempt = {"provider": "anthropic", "model": "claude-opus-5-5", "usage": USAGE}
    assert price_record({"attempts": [attempt, attempt], **ended}, BOOK).picodollars == 6_000_000_000


def test_a_refusal_without_output_tokens_has_no_content() -> None:
    refused = {**GOOD, "usage": {"input_tokens": 10, "output_tokens": 0}, "stop_reason": "refusal"}
    assert price_record(refused, BOOK).picodollars == 0
    assert price_record({**refused, "usage": USAGE}, BOOK).picodollars == 6_000_000_000


def stream(*, ends: bool = True) -> list[Json]:
    start = {"model": "claude-opus-5-5", "usage": {"input_tokens": 1_000, "output_tokens": 1}}
    events: list[Json] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 30}},
    ]
    if ends:
        final = {"stop_reason": "end_turn"}
        events += [
            {"type": "message_delta", "delta": final, "usage": {"output_tokens": 100}},
            {"type": "message_stop"},
        ]
    return events


def test_a_stream_costs_what_its_last_usage_says() -> None:
    record = {"id": "a", "provider": "anthropic", "model": "claude-opus-5-5", "stream": stream()}
    assert price_record(record, BOOK).line("a") == PRICED


def test_a_stream_that_breaks_off_is_an_estimate_of_what_was_delivered() -> None:
    record = {"provider": "anthropic", "model": "claude-opus-5-5", "stream": stream(ends=False)}
    priced = price_record(record, BOOK)
    assert (priced.status.value, priced.picodollars) == ("estimated", 1_000 * 4_000_000 + 10 * 20_000_000)


@pytest.mark.parametrize(
    ("record", "picodollars"),
    [
        (
            {"provider": "openai", "model": "gpt-4o", "usage": {"prompt_tokens": 10, "completion_tokens": 1}},
            35_000_000,
        ),
        (
            {"provider": "openai", "model": "gpt-4o", "usage": {"input_tokens": 10, "output_tokens": 1}},
            35_000_000,
        ),
        (
            {
                "provider": "google",
                "model": "gemini-2.5-pro",
                "stream": [
                    {"candidates": [], "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 1}}
                ],
            },
            20_000_000,
        ),
        (
            {
                "provider": "bedrock",
                "model": "global.anthropic.claude-opus-5-5",
                "usage": {"inputTokens": 5, "outputTokens": 1},
            },
            40_000_000,
        ),
        (
            {
                "provider": "anthropic",
                "model": "claude-opus-5-5",
                "usage": {"input_tokens": 5, "output_tokens": 1},
            },
            40_000_000,
        ),
    ],
)
def test_the_api_is_told_by_the_fields_when_it_is_not_named(record: Json, picodollars: int) -> None:
    assert price_record(record, BOOK).picodollars == picodollars


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("provider", "model", "usage", "stream", "region", "at", "api", "response_model", "stop_reason")
MORE = (
    "stop_details",
    "content_empty",
    "fallback_categories",
    "profile_model",
    "attempts",
    "service_tier",
    "id",
)


@given(st.dictionaries(st.sampled_from(FIELDS + MORE), anything), st.sampled_from([{}, GOOD]))
def test_any_record_is_priced_or_refused_by_name(changes: Json, base: Json) -> None:
    try:
        priced = price_record({**base, **changes}, BOOK)
    except RecordInvalid:
        return
    assert (priced.picodollars is None) == (priced.status.value == "unpriced")
    assert priced.picodollars is None or priced.picodollars >= 0


def test_the_command_starts_without_the_gateway() -> None:
    script = (
        "import sys, farebox.cli.cost; print(sorted({'fastapi', 'pydantic', 'uvicorn'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
