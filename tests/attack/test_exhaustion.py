"""What a caller can write that costs much work, much room, or somebody else's terminal."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from farebox.adapters.local.sql.codec import cursor_place
from farebox.domain.errors import ConfigInvalid
from farebox.providers.demo.reply import reply_to
from farebox.providers.demo.request import Asked, Format, Message, OutputConfig
from farebox.wire.messages import read_head
from tests.cli.gateway import Gateway, running_gateway
from tests.gateway.stage import a_stage, asking
from tests.support.builders import a_record

NAMES = [f"p{number}" for number in range(16)]
LOOKS_MAX = 10_000
ESCAPE = "claude\x1b]0;owned\x07\x9b31m"


class CountingSchema(Mapping[str, object]):
    """A JSON schema that counts how often it is read."""

    def __init__(self, fields: Mapping[str, object], looks: list[int]) -> None:
        self._fields, self._looks = fields, looks

    def __getitem__(self, name: str) -> object:
        self._looks[0] += 1
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def test_a_schema_that_refers_to_itself_costs_the_demo_model_little() -> None:
    looks = [0]
    node = CountingSchema(
        {
            "type": "object",
            "required": NAMES,
            "properties": {name: {"$ref": "#/$defs/node"} for name in NAMES},
        },
        looks,
    )
    root = CountingSchema({"$ref": "#/$defs/node", "$defs": {"node": node}}, looks)
    messages = [Message("user", msgspec.Raw(b'"Hi."'))]
    asked = Asked("claude-demo", messages, output_config=OutputConfig(Format("json_schema", root)))
    reply_to(asked)
    assert looks[0] < LOOKS_MAX


def test_nested_content_is_read_about_once() -> None:
    def cpu_s(depth: int) -> float:
        content = json.dumps("y" * 4_000_000)
        for _ in range(depth):
            content = f'[{{"type":"tool_result","content":{content}}}]'
        body = f'{{"model":"m","source":1,"messages":[{{"role":"user","content":{content}}}]}}'.encode()
        begun = time.thread_time()
        read_head(body)
        return time.thread_time() - begun

    assert min(cpu_s(400) for _ in range(3)) < 10 * min(cpu_s(4) for _ in range(3))


async def test_a_model_name_without_end_is_refused_and_not_kept(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        told = await stage.ask(asking(model="m" * 100_000))
        [row] = await stage.rows()
        assert (told.status, len(told.body) < 1_000, len(row.model) < 1_000) == (400, True, True)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path / "data") as gateway:
        yield gateway


@pytest.mark.parametrize(
    "command", [["requests"], ["usage", "--by", "model"], ["usage", "--by", "metadata.team"]], ids=str
)
def test_what_callers_wrote_cannot_speak_to_the_terminal(gateway: Gateway, command: list[str]) -> None:
    gateway.book(a_record("req_1", model=ESCAPE, metadata={"team": ESCAPE}))
    out = gateway.run(*command).out
    assert [char for char in out if not (char.isprintable() or char == "\n")] == []


def test_csv_cells_are_no_formulas(gateway: Gateway) -> None:
    gateway.book(a_record("req_1", metadata={"team": "=1+1"}))
    out = gateway.run("usage", "--by", "metadata.team", "--csv").out
    assert [line for line in out.splitlines() if line.startswith(("=", '"='))] == []


@pytest.mark.parametrize("option", ["--models", "--providers"])
def test_an_empty_allow_list_on_the_command_line_does_not_mean_everything(
    gateway: Gateway, option: str
) -> None:
    ran = gateway.run("keys", "create", "--name", "narrow", option, "")
    assert ran.status != 0


def test_a_cursor_with_a_giant_number_is_refused_as_no_cursor() -> None:
    cursor = base64.urlsafe_b64encode(b"[1180591620717411303424,0]").decode().rstrip("=")
    with pytest.raises(ConfigInvalid):
        cursor_place(cursor, tuple[int, int])
