"""Which hosts a config or a caller may name, and which addresses a request may go to for it.

A name is checked for its grammar where it is written, so that nothing that other software reads differently
(hexadecimal or short addresses, user names, a trailing dot) ever gets further. What it resolves to is
checked where the connection is made, and that very address is connected to.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

Address: TypeAlias = IPv4Address | IPv6Address

URL_LENGTH_MAX = 2_048
LABELS_MAX = 10
MAIL_PORTS = frozenset((22, 23, 25, 110, 143, 465, 587, 993, 995))

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_HOST_PATTERN = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")

# What Python does not call private: shared by carriers (100.64.0.0/10), of protocols, and site-local.
_RESERVED = tuple(ip_network(net) for net in ("100.64.0.0/10", "192.0.0.0/24", "fec0::/10"))
_SIX_TO_FOUR = ip_network("2002::/16")
_EMBEDDING = tuple(
    ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96", "2002::/16")
)
# Link-local, and where AWS, Google, Azure, Alibaba and Oracle keep theirs besides.
_METADATA = tuple(
    ip_network(net)
    for net in (
        *("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32"),
        *("fe80::/10", "fd00:ec2::/32", "fd20:ce::/32"),
    )
)


class AddressRule(Struct, frozen=True):
    """Where requests to a chosen host may go: to public addresses, and for the hosts that the operator
    `trusts` to any but the metadata services of clouds.
    """

    trusts: tuple[str, ...] = ()

    def is_trusted(self, host: str, port: int) -> bool:
        """Whether the operator vouches for a host."""
        return is_listed(host, port, self.trusts)

    def fault(self, host: str, port: int, address: str) -> str | None:
        """Say why a request for a host may not go to an address; None when it may."""
        if self.is_trusted(host, port) and not is_metadata(address):
            return None
        return address_fault(address)


def url_fault(url: str) -> str | None:
    """Say what is wrong with the base URL of a host; None when it may be tried."""
    if len(url) > URL_LENGTH_MAX:
        return f"is longer than {URL_LENGTH_MAX} characters"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "must be an http or https URL in plain ASCII"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "must be an http or https URL"
    if parts.scheme not in ("http", "https") or not host:
        return "must be an http or https URL"
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "must have no user name, query or fragment"
    if port == 0 or port in MAIL_PORTS:
        return f"has port {port}, where no model is served"
    return host_fault(host)


def host_fault(host: str) -> str | None:
    """Say what is wrong with a host's name or address as text."""
    if ":" in host:
        try:
            IPv6Address(host)
        except ValueError:
            return f"has '{host}', which is no IPv6 address"
        return "has an IPv6 address with a zone" if "%" in host else None
    labels = host.split(".")
    if len(labels) > LABELS_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        return f"has '{host}', which is no host name"
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        try:
            IPv4Address(host)
        except ValueError:
            return f"has '{host}', which is no address in the usual form"
    return None


def pattern_fault(pattern: str) -> str | None:
    """Say what is wrong with a pattern of hosts: 'api.example.com', '*.example.com', either with a port."""
    if not _HOST_PATTERN.fullmatch(pattern):
        return "must be a host, or '*.' and a domain, in lower case, with or without a port"
    if pattern.startswith("*.") and "." not in pattern[2:]:
        return "covers a whole top-level domain"
    return None


def is_listed(host: str, port: int, patterns: tuple[str, ...]) -> bool:
    """Say whether a host is one of some patterns; without a port they hold for any."""
    name = f"[{host}]" if ":" in host else host.lower()
    return any(
        name == pattern or f"{name}:{port}" == pattern
        if pattern.startswith("[")
        else fnmatchcase(name, pattern) or fnmatchcase(f"{name}:{port}", pattern)
        for pattern in patterns
    )


def address_fault(address: str) -> str | None:
    """Say why nobody outside may be sent to an address; None when it is a public one."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return "is no address"
    return _fault(found)


def is_loopback(host: str) -> bool:
    """Whether a host, as a name or an address, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_metadata(address: str) -> bool:
    """Whether an address is link-local or a cloud's metadata service, which no setting opens."""
    found = ip_address(address.partition("%")[0])
    return _is_in(found, _METADATA) or _is_in(_meant(found), _METADATA)


def _meant(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one is translated to on its way, if any."""
    if isinstance(address, IPv4Address) or not _is_in(address, _EMBEDDING):
        return getattr(address, "ipv4_mapped", None) or address
    shift = 80 if address in _SIX_TO_FOUR else 0
    return IPv4Address(int(address) >> shift & 0xFFFF_FFFF)


def _is_in(address: Address, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _fault(address: Address) -> str | None:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _fault(address.ipv4_mapped)
        if _is_in(address, _EMBEDDING):
            return "is an IPv4 address inside of an IPv6 one"
    if address.is_loopback or address.is_unspecified:
        return "is this machine"
    if address.is_link_local or is_metadata(str(address)):
        return "is link-local, where clouds keep their metadata service"
    is_reserved = address.is_multicast or address.is_reserved or _is_in(address, _RESERVED)
    if is_reserved or not address.is_global:
        return "is a private or reserved address"
    return None
