"""The client over TLS, with a certificate made on the spot."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from farebox.domain.errors import UpstreamUnreachable
from farebox.wire.http1 import Http1Transport
from farebox.wire.http1.exchange import BUFFER_LIMIT_BYTES
from tests.support.http1_client import CHUNKED, OK, PATIENT, all_closed, ask, post, read_all
from tests.support.raw_server import Peer, answering, answering_open, raw_server

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command to make a certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate in one file, for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("certificate")
    made = (
        f"{OPENSSL} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    )
    files = f"-addext subjectAltName=IP:127.0.0.1 -keyout {folder / 'key'} -out {folder / 'certificate'}"
    subprocess.run(f"{made} {files}".split(), check=True, capture_output=True)
    both = folder / "both"
    both.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return both


@pytest.fixture
def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def tls(certificate: Path) -> Http1Transport:
    return Http1Transport(ssl.create_default_context(cafile=certificate))


async def test_one_tls_connection_serves_one_request_after_the_other(
    tls: Http1Transport, server_context: ssl.SSLContext
) -> None:
    async with raw_server(answering_open(OK, OK), ssl_context=server_context) as server:
        assert await ask(tls, post(server)) == b"hello"
        assert await ask(tls, post(server, b"x" * 4_000_000)) == b"hello"
        assert (server.connections, tls.open_connections) == (1, 1)
        await tls.aclose()
        assert tls.open_connections == 0


async def test_a_body_without_framing_ends_with_the_tls_connection(
    tls: Http1Transport, server_context: ssl.SSLContext
) -> None:
    script = answering(b"HTTP/1.1 200 OK\r\n\r\nhello")
    async with raw_server(script, ssl_context=server_context) as server:
        assert await ask(tls, post(server)) == b"hello"
    await all_closed(tls)


async def test_an_unread_tls_answer_leaves_nothing_open(
    tls: Http1Transport, server_context: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED + b"1\r\na\r\n")
        await peer.until_closed()

    async with raw_server(script, ssl_context=server_context) as server:
        answer = await tls.send(post(server), PATIENT)
        await answer.aclose()
        assert tls.open_connections == 0


async def test_what_a_tls_server_sends_to_a_slow_reader_is_kept_within_bounds(
    tls: Http1Transport, server_context: ssl.SSLContext
) -> None:
    body = b"x" * 32_000_000
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with raw_server(answering(head + body), ssl_context=server_context) as server:
        answer = await tls.send(post(server), PATIENT)
        received = 0
        while received < len(body):
            # Time enough for a client without bounds to take in many times what it may hold.
            for _ in range(50):
                await asyncio.sleep(0)
            data = await answer.receive()
            assert len(data) <= 2 * BUFFER_LIMIT_BYTES
            received += len(data)
        assert await read_all(answer) == b""
    await tls.aclose()


async def test_a_certificate_nobody_vouches_for_is_unreachable(server_context: ssl.SSLContext) -> None:
    transport = Http1Transport()
    async with raw_server(ssl_context=server_context) as server:
        with pytest.raises(UpstreamUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await transport.send(post(server), PATIENT)
        assert (server.connections, transport.open_connections) == (0, 0)
