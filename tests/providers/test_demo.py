"""The demo model answers as Anthropic would, and always the same."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.demo.reply import PARAGRAPH
from tests.providers.demo_client import (
    BASH,
    HOUR,
    MARK,
    Json,
    asking,
    events,
    folded,
    parsed,
    post,
    reading,
    whole,
    without_digests,
)

PROMPTS = ["Hi.", "demo: thinking", 'demo: tool Bash {"command": "echo hi"} please', "demo: long 50"]


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_a_stream_adds_up_to_the_message_that_does_not_stream(prompt: str) -> None:
    streamed = folded(await events(asking(prompt, tools=[BASH], stream=True)))
    single = await whole(asking(prompt, tools=[BASH], stream=False))
    assert without_digests(streamed) == without_digests(single)


async def test_the_same_request_gives_the_same_bytes_and_another_another_id() -> None:
    first, again = await reading(post(asking(stream=True))), await reading(post(asking(stream=True)))
    assert first == again
    other = await whole(asking("Hi again."))
    assert other["id"].startswith("msg_demo_")
    assert other["id"].encode() not in first[2]


async def test_the_events_come_in_anthropics_order() -> None:
    kinds = [event["type"] for event in await events(asking(stream=True, max_tokens=5))]
    assert kinds == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_the_usual_answer_says_what_it_is() -> None:
    message = await whole(asking(model="@demo/claude-demo-2"))
    assert message["content"] == [{"type": "text", "text": PARAGRAPH}]
    assert (message["model"], message["stop_reason"]) == ("claude-demo-2", "end_turn")
    assert message["usage"]["output_tokens"] == len(PARAGRAPH.split())


async def test_a_first_turn_writes_what_is_marked_and_reads_nothing() -> None:
    system = [{"type": "text", "text": "x" * 400, **MARK}]
    usage = (await whole(asking(system=system)))["usage"]
    marked = len(json.dumps(system[0]))
    assert usage == {
        "input_tokens": 2,
        "cache_creation_input_tokens": -(-marked // 4),
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": -(-marked // 4), "ephemeral_1h_input_tokens": 0},
        "output_tokens": len(PARAGRAPH.split()),
        "service_tier": "standard",
    }


async def test_a_later_turn_reads_what_was_there_before_and_writes_what_is_new_for_the_asked_time() -> None:
    old = [{"type": "text", "text": "a" * 400}]
    said = [{"type": "text", "text": "b" * 200}]
    new = [{"type": "text", "text": "c" * 100, **HOUR}]
    messages = [
        {"role": "user", "content": old},
        {"role": "assistant", "content": said},
        {"role": "user", "content": new},
    ]
    usage = (await whole(asking(messages=messages, tools=[BASH])))["usage"]
    read = len(json.dumps(BASH)) + len(json.dumps(old[0]))
    written = len(json.dumps(said[0])) + len(json.dumps(new[0]))
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (1, -(-read // 4))
    assert usage["cache_creation"] == {
        "ephemeral_5m_input_tokens": 0,
        "ephemeral_1h_input_tokens": -(-written // 4),
    }


async def test_count_tokens_counts_what_the_message_would_report() -> None:
    body = asking(system=[{"type": "text", "text": "x" * 400, **MARK}])
    usage = (await whole(body))["usage"]
    assert await whole(body, b"/v1/messages/count_tokens?beta=true") == {
        "input_tokens": usage["input_tokens"] + usage["cache_creation_input_tokens"]
    }


async def test_an_offered_tool_is_called_with_the_very_input_that_was_asked_for() -> None:
    asked = asking('Please\ndemo: tool Bash {"command": "echo \\u00e9"} go', tools=[BASH])
    message = await whole(asked)
    call = message["content"][1]
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "Bash", {"command": "echo é"})
    assert message["stop_reason"] == "tool_use"


async def test_a_tool_result_ends_the_turn_even_when_the_prompt_comes_along() -> None:
    content = [
        {"type": "tool_result", "tool_use_id": "toolu_demo_1", "content": "hi"},
        {"type": "text", "text": "demo: tool Bash {}"},
    ]
    message = await whole(asking(messages=[{"role": "user", "content": content}], tools=[BASH]))
    assert [block["type"] for block in message["content"]] == ["text"]
    assert message["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("demo: tool Write {}", "No such tool is offered. There is: Bash."),
        ("demo: tool", "No such tool is offered. There is: Bash."),
        ("demo: tool Bash [1]", "The input of Bash must be a JSON object."),
        ('demo: tool Bash {"a": "\\ud800"}', "The input of Bash must be a JSON object."),
        ("demo: tool Bash {", "The input of Bash must be a JSON object."),
        ("demo: stall soon", f"`demo: stall` wants a number. {PARAGRAPH}"),
        ("demo: fail 200", f"I can only fail with a status from 400 to 599. {PARAGRAPH}"),
        ("demo: dance", f"I do not know how to `demo: dance`. {PARAGRAPH}"),
        ("A word about demo: fail 529", PARAGRAPH),
    ],
)
async def test_what_cannot_be_done_is_explained(prompt: str, said: str) -> None:
    message = await whole(asking(prompt, tools=[BASH]))
    assert message["content"] == [{"type": "text", "text": said}]


async def test_the_newest_user_message_decides_even_before_a_system_message() -> None:
    messages = [
        {"role": "user", "content": "demo: fail 529"},
        {"role": "assistant", "content": "No."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "demo: long 3"}, {"type": "text", "text": "x"}],
        },
        {"role": "system", "content": "demo: fail 500"},
    ]
    assert (await whole(asking(messages=messages)))["usage"]["output_tokens"] == 3


@pytest.mark.parametrize(("wanted", "given_tokens"), [(2000, 1000), (2, 2), (0, 1)])
async def test_a_long_answer_has_as_many_tokens_as_asked_within_max_tokens(
    wanted: int, given_tokens: int
) -> None:
    message = await whole(asking(f"demo: long {wanted}"))
    assert len(message["content"][0]["text"].split()) == message["usage"]["output_tokens"] == given_tokens
    assert message["stop_reason"] == ("max_tokens" if wanted > given_tokens else "end_turn")


async def test_a_tool_call_that_max_tokens_breaks_off_has_no_input() -> None:
    prompt = 'demo: tool Bash {"command": "echo hello"}'
    message = await whole(asking(prompt, tools=[BASH], max_tokens=6))
    assert (message["content"][1]["input"], message["stop_reason"]) == ({}, "max_tokens")


async def test_a_tool_call_beyond_max_tokens_is_left_out() -> None:
    message = await whole(asking("demo: tool Bash {}", tools=[BASH], max_tokens=2))
    assert (message["content"], message["stop_reason"]) == (
        [{"type": "text", "text": "Calling Bash, "}],
        "max_tokens",
    )


async def test_thinking_comes_first_signed_and_counted() -> None:
    message = await whole(asking("demo: thinking"))
    thought, text = message["content"]
    assert (thought["type"], thought["signature"], text["type"]) == ("thinking", "ZGVtbw==", "text")
    details = message["usage"]["output_tokens_details"]
    assert details == {"thinking_tokens": len(thought["thinking"].split())}


SCHEMA: Json = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "mood": {"enum": ["glad", "sad"]},
        "kind": {"const": "demo"},
        "count": {"type": ["integer", "null"]},
        "done": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"$ref": "#/$defs/Place"},
        "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        "optional": {"type": "string"},
    },
    "required": ["title", "mood", "kind", "count", "done", "tags", "place", "maybe"],
    "$defs": {"Place": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
}


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"effort": "medium", "format": {"type": "json_schema", "schema": SCHEMA}}},
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    ],
)
async def test_a_structured_request_gets_json_with_the_required_properties(fields: Json) -> None:
    message = await whole(asking("demo: fail 529", **fields))
    assert json.loads(message["content"][0]["text"]) == {
        "title": "Farebox demo",
        "mood": "glad",
        "kind": "demo",
        "count": 1,
        "done": True,
        "tags": [],
        "place": {"x": 1},
        "maybe": None,
    }


async def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    schema = {"$ref": "#/$defs/Loop", "$defs": {"Loop": {"$ref": "#/$defs/Loop"}}}
    message = await whole(asking(output_format={"type": "json_schema", "schema": schema}))
    assert message["content"][0]["text"] == "null"


async def test_a_small_schema_makes_no_huge_answer() -> None:
    long = {"enum": ["#" * 20_000]}
    wide = {"required": [f"p{number}" for number in range(1_000)]}
    schema = {
        "required": ["long", "wide"],
        "properties": {
            "long": {"required": ["a", "b", "c", "d"], "properties": dict.fromkeys("abcd", long)},
            "wide": {**wide, "properties": {name: {"$ref": "#/$defs/wide"} for name in wide["required"]}},
        },
        "$defs": {"wide": wide},
    }
    message = await whole(asking(output_format={"type": "json_schema", "schema": schema}))
    assert len(message["content"][0]["text"]) < 70_000


@given(text=st.text(), tokens=st.integers(1, 200), stream=st.booleans())
def test_any_prompt_gets_an_answer_within_its_tokens(text: str, tokens: int, stream: bool) -> None:
    body = asking(f"demo: tool {text}", max_tokens=tokens, stream=stream, tools=[BASH])
    status, _, received = asyncio.run(reading(post(body)))
    assert status == 200
    message = folded(parsed(received)) if stream else json.loads(received)
    assert 1 <= message["usage"]["output_tokens"] <= tokens
