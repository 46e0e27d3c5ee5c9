"""A refusal reaches a client that is still sending, also one that asks for the connection to be closed."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.gateway_process import GatewayProcess

TOO_LARGE = b"x" * (32 * 1024 * 1024 + 100_000)


def refusal(gateway: GatewayProcess, body: bytes, key: str) -> tuple[int, str]:
    """Ask with urllib, which sends `connection: close` and reads only when it has sent all."""
    request = urllib.request.Request(f"{gateway.base_url}/v1/messages", body, {"x-api-key": key})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            raise AssertionError(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]["type"]


def test_a_client_that_closes_reads_why_its_upload_was_refused(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        assert refusal(gateway, TOO_LARGE, gateway.gateway_key) == (413, "request_too_large")
        assert refusal(gateway, TOO_LARGE[:4_000_000], "fb-nobody") == (401, "authentication_error")
