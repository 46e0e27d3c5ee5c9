"""How a request for Anthropic is written."""

from __future__ import annotations

import pytest

from farebox.domain.config import ProviderSpec
from farebox.providers.anthropic import AnthropicProvider
from farebox.providers.base import MESSAGES, Call
from farebox.wire.headers import find


def a_call(accept_encoding: bytes, *, is_stream: bool = False) -> Call:
    return Call(
        operation=MESSAGES,
        query=b"",
        headers=[(b"accept-encoding", accept_encoding)],
        body=b"{}",
        is_stream=is_stream,
        model=None,
        secret="sk-ant-api03-x",
        caller_credential=None,
    )


@pytest.mark.parametrize(
    ("accepted", "is_stream", "asked"),
    [
        (b"gzip, deflate, br, zstd", False, b"gzip"),
        (b"br;q=1, GZIP;q=0.5", False, b"gzip"),
        (b"gzip;q=0, br", False, b"identity"),
        (b"gzip; q=0.000", False, b"identity"),
        (b"br", False, b"identity"),
        (b"", False, b"identity"),
        (b"gzip", True, b"identity"),
    ],
)
def test_only_what_client_and_meter_both_read_is_asked_for(
    accepted: bytes, is_stream: bool, asked: bytes
) -> None:
    spec = ProviderSpec("anthropic", "anthropic", "env:KEY")
    request = AnthropicProvider().request(spec, a_call(accepted, is_stream=is_stream))
    assert find(request.headers, b"accept-encoding") == asked
