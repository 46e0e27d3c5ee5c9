"""Frames, counts and errors as Bedrock gives them, read by botocore as its clients read them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import EventStreamJSONParser
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.errors import UpstreamCut
from farebox.http.clients import bedrock_answers
from farebox.http.clients.bedrock_answers import FrameWriter, stream_headers, whole_answer
from tests.support.bedrock import data_lines
from tests.support.upstream import sse_message, usage

SHAPE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2")).shape_for("ResponseStream")
STREAM = sse_message("Füße und mehr.", usage=usage(input_tokens=3, output_tokens=2)).body


def read(frames: bytes) -> list[dict[str, Any]]:
    buffer = EventStreamBuffer()
    buffer.add_data(frames)
    return [EventStreamJSONParser().parse(event.to_response_dict(), SHAPE) for event in buffer]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_every_event_becomes_one_frame_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    writer = FrameWriter()
    at = [0, *sorted(cuts), len(STREAM)]
    frames = b"".join(writer.feed(STREAM[start:end]) for start, end in pairwise(at))
    frames += writer.end()
    assert [event["chunk"]["bytes"] for event in read(frames)] == data_lines(STREAM)


def test_a_ping_is_nothing_and_an_unknown_event_passes() -> None:
    stream = b'event: ping\ndata: {"type": "ping"}\n\nevent: new\ndata: {"type":"new"}\r\n\r\n'
    assert [event["chunk"]["bytes"] for event in read(FrameWriter().feed(stream))] == [b'{"type":"new"}']


@pytest.mark.parametrize(
    ("kind", "exception"),
    [
        ("rate_limit_error", "throttlingException"),
        ("overloaded_error", "serviceUnavailableException"),
        ("invalid_request_error", "validationException"),
        ("timeout_error", "modelTimeoutException"),
        ("billing_error", "internalServerException"),
        ("never_seen", "internalServerException"),
    ],
)
def test_an_error_event_is_an_exception_frame(kind: str, exception: str) -> None:
    data = json.dumps({"type": "error", "error": {"type": kind, "message": "No more."}})
    (told,) = read(FrameWriter().feed(f"event: error\ndata: {data}\n\n".encode()))
    assert told["Error"] == {"Code": exception, "Message": "No more."}


def test_an_event_that_no_frame_can_hold_is_a_cut() -> None:
    event = b'event: content_block_start\ndata: "%b"\n\n' % (b"x" * bedrock_answers.EVENT_BYTES_MAX)
    with pytest.raises(UpstreamCut):
        FrameWriter().feed(event)


def test_a_compressed_stream_is_a_cut() -> None:
    with pytest.raises(UpstreamCut, match="compressed"):
        stream_headers([(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")])


@pytest.mark.parametrize(
    ("status", "kind", "exception"),
    [
        (402, "billing_error", b"ServiceQuotaExceededException"),
        (401, "authentication_error", b"UnrecognizedClientException"),
        (400, "policy_blocked", b"AccessDeniedException"),
        (429, "rate_limit_error", b"ThrottlingException"),
        (404, "not_found_error", b"ResourceNotFoundException"),
        (500, "api_error", b"InternalServerException"),
    ],
)
def test_an_error_keeps_its_message_under_an_aws_type(status: int, kind: str, exception: bytes) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "Because."}}).encode()
    headers, told = whole_answer(status, [(b"request-id", b"req_1")], body, is_count=False)
    assert json.loads(told) == {"message": "Because."}
    assert (b"x-amzn-errortype", exception) in headers
    assert (b"x-amzn-requestid", b"req_1") in headers


def test_an_error_that_is_no_envelope_is_told_as_it_is() -> None:
    assert json.loads(whole_answer(502, [], b"<html>", is_count=False)[1]) == {"message": "<html>"}


def test_a_count_has_amazons_name() -> None:
    assert whole_answer(200, [], b'{"input_tokens":42}', is_count=True)[1] == b'{"inputTokens":42}'
    assert whole_answer(200, [], b'{"id":"msg"}', is_count=False)[1] == b'{"id":"msg"}'
