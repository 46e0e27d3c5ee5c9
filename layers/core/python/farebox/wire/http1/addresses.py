"""Which address a connection is made to. A host that somebody chose is resolved once and pinned: the address
that was checked is the one that is connected to, whatever its name says a moment later.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from farebox.domain.errors import PolicyRefused
from farebox.domain.routing.hosts import AddressRule
from farebox.wire.http import Origin

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host. Raises `OSError`."""

_WAY_OUT = " Where that is meant, an administrator lists the host in FAREBOX_TRUSTED_HOSTS."


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for the addresses of a host, each once. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def pinned_addresses(origin: Origin, rule: AddressRule, resolve: Resolve) -> Sequence[str]:
    """Give the addresses of a chosen host, all of them such as anybody may be sent to.

    One that is not refuses the host, since which of them is taken is a matter of chance. What it is stays
    untold: callers have no business with the network in which the gateway runs. Raises `PolicyRefused` and
    `OSError`.
    """
    if origin.scheme != "https" and not rule.is_trusted(origin.host, origin.port):
        raise PolicyRefused(f"The host '{origin.host}' cannot be used: a custom_host needs https.{_WAY_OUT}")
    addresses = await resolve(origin.host, origin.port)
    for address in addresses:
        fault = rule.fault(origin.host, origin.port, address)
        if fault is not None:
            raise PolicyRefused(
                f"The host '{origin.host}' cannot be used: an address of it {fault}.{_WAY_OUT}"
            )
    if not addresses:
        raise OSError("it has no address")
    return addresses
