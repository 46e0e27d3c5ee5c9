"""A host that somebody chose is resolved once, checked, and connected to by that very address."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from farebox.domain.errors import PolicyRefused, UpstreamUnreachable
from farebox.domain.routing.hosts import AddressRule
from farebox.wire.http import HttpRequest, Origin
from farebox.wire.http1 import Http1Transport
from tests.support.http1_client import OK, ask, post
from tests.support.raw_server import Peer, RawServer, Received, answering, answering_open, raw_server

HERE, METADATA, PUBLIC = "127.0.0.1", "169.254.169.254", "93.184.216.34"
NAME = "models.example"
TRUSTED = AddressRule((NAME,))
OPENSSL = shutil.which("openssl")


class Names:
    """A resolver by script: each answer once, the last for ever. Nobody else knows these names."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


def chosen(server: RawServer, name: str = NAME) -> HttpRequest:
    """Ask the server by a name that only the test's resolver knows."""
    request = post(server)
    return replace(request, origin=replace(server.origin, host=name, is_chosen=True))


def resolving(*answers: Sequence[str] | OSError, rule: AddressRule = TRUSTED) -> tuple[Http1Transport, Names]:
    names = Names(*answers)
    return Http1Transport(chosen_hosts=rule, resolve=names), names


async def test_the_checked_address_is_the_one_that_is_connected_to() -> None:
    seen: list[Received] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.answer(OK))

    transport, names = resolving([HERE])
    async with raw_server(script) as server, aclosing(transport):
        assert await ask(transport, chosen(server)) == b"hello"
        assert names.asked == [(NAME, server.origin.port)]
        assert b"\r\nhost: %b:%d\r\n" % (NAME.encode(), server.origin.port) in seen[0].head


async def test_a_name_that_changes_its_mind_is_asked_once_a_connection_and_then_refused() -> None:
    transport, names = resolving([HERE], [METADATA])
    async with raw_server(answering(OK)) as server, aclosing(transport):
        assert await ask(transport, chosen(server)) == b"hello"
        with pytest.raises(PolicyRefused, match="link-local, where clouds keep"):
            await ask(transport, chosen(server))
        assert (len(names.asked), server.connections) == (2, 1)


async def test_a_kept_connection_stays_with_the_address_that_was_checked() -> None:
    transport, names = resolving([HERE], [METADATA])
    async with raw_server(answering_open(OK, OK)) as server, aclosing(transport):
        assert await ask(transport, chosen(server)) == b"hello"
        assert await ask(transport, chosen(server)) == b"hello"
        assert (len(names.asked), server.connections) == (1, 1)
        await transport.aclose()


@pytest.mark.parametrize(
    "addresses",
    [[HERE], ["10.0.0.1"], [METADATA], [PUBLIC, HERE], [HERE, PUBLIC], ["::1"], ["::ffff:127.0.0.1"], ["x"]],
)
async def test_one_address_that_is_not_public_refuses_the_host(addresses: list[str]) -> None:
    transport, _ = resolving(addresses, rule=AddressRule())
    async with aclosing(transport):
        request = HttpRequest(b"POST", Origin("https", NAME, 443, is_chosen=True), b"/", [])
        with pytest.raises(PolicyRefused, match=r"The host 'models\.example' cannot be used") as refused:
            await ask(transport, request)
        assert not [address for address in addresses if address in refused.value.message and len(address) > 1]
        assert transport.open_connections == 0


async def test_an_address_as_name_is_checked_alike() -> None:
    async with aclosing(Http1Transport()) as transport, raw_server() as server:
        origin = Origin("https", HERE, server.origin.port, is_chosen=True)
        with pytest.raises(PolicyRefused, match="is this machine"):
            await ask(transport, HttpRequest(b"POST", origin, b"/", []))
        assert server.connections == 0


async def test_plain_http_goes_to_trusted_hosts_alone() -> None:
    transport, names = resolving([PUBLIC], rule=AddressRule())
    async with aclosing(transport):
        request = HttpRequest(b"POST", Origin("http", NAME, 80, is_chosen=True), b"/", [])
        with pytest.raises(PolicyRefused, match="needs https"):
            await ask(transport, request)
        assert names.asked == []


async def test_a_connection_to_a_providers_own_host_is_never_lent_to_a_chosen_one() -> None:
    async with raw_server(answering_open(OK)) as server, aclosing(Http1Transport()) as transport:
        assert await ask(transport, post(server)) == b"hello"
        request = replace(post(server), origin=replace(server.origin, is_chosen=True))
        with pytest.raises(PolicyRefused):
            await ask(transport, request)
        await transport.aclose()


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    transport, _ = resolving(["127.0.0.2", HERE])
    async with raw_server(answering(OK)) as server, aclosing(transport):
        assert await ask(transport, chosen(server)) == b"hello"


@pytest.mark.parametrize("answer", [[], OSError("no such name")], ids=["nothing", "no such name"])
async def test_a_name_without_address_is_unreachable(answer: Sequence[str] | OSError) -> None:
    transport, _ = resolving(answer)
    async with aclosing(transport), raw_server() as server:
        with pytest.raises(UpstreamUnreachable, match=NAME):
            await ask(transport, chosen(server))


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command to make a certificate")
async def test_tls_asks_the_pinned_address_for_the_name(tmp_path: Path) -> None:
    files = f"-keyout {tmp_path / 'key'} -out {tmp_path / 'certificate'} -addext subjectAltName=DNS:{NAME}"
    command = (
        f"{OPENSSL} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=t"
    )
    subprocess.run(f"{command} {files}".split(), check=True, capture_output=True)
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    context.sni_callback = lambda connection, name, context: asked.append(name)
    client = ssl.create_default_context(cafile=tmp_path / "certificate")
    transport = Http1Transport(
        client, chosen_hosts=AddressRule((NAME, "other.example")), resolve=Names([HERE])
    )
    async with raw_server(answering(OK), _hung_up, ssl_context=context) as server, aclosing(transport):
        assert await ask(transport, chosen(server)) == b"hello"
        with pytest.raises(UpstreamUnreachable, match="certificate"):
            await ask(transport, chosen(server, "other.example"))
        assert asked == [NAME, "other.example"]


async def _hung_up(peer: Peer) -> None:
    """The client leaves before it asks."""
