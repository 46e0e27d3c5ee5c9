"""Limits on what a connection may take before anybody has shown a key."""

from __future__ import annotations

from pathlib import Path

from tests.support.laptop import Laptop, a_policy
from tests.support.raw_client import RawClient
from tests.support.upstream import ScriptedUpstream

HEADERS = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1_000) for number in range(2_000))


def test_headers_without_end_are_refused_before_they_are_kept(tmp_path: Path) -> None:
    with ScriptedUpstream() as upstream, Laptop(tmp_path, a_policy(upstream)) as laptop:
        with RawClient(laptop.port) as client:
            client.socket.settimeout(2)
            try:
                client.send(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n" + HEADERS)
                status = client.read_head()[0]
            except ConnectionError:
                status = 431
            except TimeoutError:
                status = 0
        assert status in (400, 431)
