"""How a request for Anthropic is written."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from farebox.domain.config import ProviderSpec
from farebox.providers.anthropic import AnthropicProvider
from farebox.providers.base import MESSAGES, Call, Provider
from farebox.providers.demo import DemoProvider
from farebox.wire.headers import find
from tests.support.builders import a_secret


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


@pytest.mark.parametrize("provider", [AnthropicProvider(), DemoProvider()])
@pytest.mark.parametrize(
    ("query", "target"),
    [
        (b"", b"/v1/messages"),
        (b"beta=true", b"/v1/messages?beta=true"),
        (b"beta=true&key=" + a_secret(1).encode(), b"/v1/messages?beta=true"),
        (b"key=" + a_secret(1).encode(), b"/v1/messages"),
    ],
)
def test_the_query_travels_without_keys_of_ours(provider: Provider, query: bytes, target: bytes) -> None:
    spec = ProviderSpec("anthropic", "anthropic", "env:KEY")
    assert provider.request(spec, replace(a_call(b""), query=query)).target == target
