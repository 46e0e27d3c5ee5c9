"""What a request asks for in headers, over what its config says: timeout, host, headers to send on."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from farebox.domain.config import Workspace
from farebox.domain.errors import PolicyRefused, RequestMalformed
from farebox.domain.routing.hosts import is_listed, url_fault
from farebox.domain.routing.reading.settings import (
    FORWARD_HEADERS_MAX,
    TIMEOUT_MS_MAX,
    forwarded_header_fault,
)
from farebox.domain.routing.tree import Leaf, Node
from farebox.gateway.incoming import IncomingRequest
from farebox.wire.http import origin_of


class Asked(Struct, frozen=True):
    """None of them where the config's own stand."""

    timeout_ms: int | None = None
    custom_host: str | None = None
    forward_headers: tuple[str, ...] | None = None

    def over(self, node: Node) -> Node:
        """Give the tree with these in every target."""
        if self == Asked():
            return node
        if isinstance(node, Leaf):
            return replace(
                node,
                timeout_ms=node.timeout_ms if self.timeout_ms is None else self.timeout_ms,
                custom_host=node.custom_host if self.custom_host is None else self.custom_host,
                forward_headers=node.forward_headers
                if self.forward_headers is None
                else self.forward_headers,
            )
        return replace(node, children=tuple(self.over(child) for child in node.children))


def asked_of(request: IncomingRequest, workspace: Workspace) -> Asked:
    """Read the headers. Raises `RequestMalformed`, and `PolicyRefused` for a host that is not the caller's to
    choose.
    """
    host = request.farebox_header(b"custom-host") or None
    if host is not None:
        fault = url_fault(host)
        if fault is not None:
            raise RequestMalformed(f"x-farebox-custom-host: {fault}.")
        check_host(host, workspace, "x-farebox-custom-host")
    return Asked(_timeout_ms(request), host, _forward_headers(request))


def check_host(url: str, workspace: Workspace, where: str) -> None:
    """Refuse a host that callers of a workspace may not name themselves: the provider's credential goes
    there.
    """
    origin = origin_of(url)
    if not is_listed(origin.host, origin.port, workspace.custom_hosts):
        listed = ", ".join(workspace.custom_hosts) or "none"
        raise PolicyRefused(
            f"{where}: '{origin.host}' is no host that workspace '{workspace.slug}' lets callers name "
            f"(its custom_hosts: {listed}). Use a saved config that names it, or ask your administrator."
        )


def _timeout_ms(request: IncomingRequest) -> int | None:
    text = request.farebox_header(b"request-timeout")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= TIMEOUT_MS_MAX):
        raise RequestMalformed(
            f"x-farebox-request-timeout: must be milliseconds, a whole number from 1 to {TIMEOUT_MS_MAX}."
        )
    return int(text)


def _forward_headers(request: IncomingRequest) -> tuple[str, ...] | None:
    text = request.farebox_header(b"forward-headers")
    if not text:
        return None
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if len(names) > FORWARD_HEADERS_MAX:
        raise RequestMalformed(f"x-farebox-forward-headers: must be at most {FORWARD_HEADERS_MAX} names.")
    for name in names:
        fault = forwarded_header_fault(name)
        if fault is not None:
            raise RequestMalformed(f"x-farebox-forward-headers: '{name[:100]}' {fault}.")
    return names
