"""Which hosts may be named, and which addresses may be gone to for them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.routing.hosts import (
    AddressRule,
    address_fault,
    is_listed,
    is_metadata,
    pattern_fault,
    url_fault,
)


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example.com",
        "https://models.example.com/v1",
        "http://localhost:11434/v1",
        "https://10.1.2.3:8443",
        "https://[2606:4700::1111]/v1",
        "https://a_b.example.com",
        "https://xn--bcher-kva.example",
    ],
)
def test_a_plain_url_may_be_tried(url: str) -> None:
    assert url_fault(url) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "http or https URL"),
        ("models.example.com", "http or https URL"),
        ("file:///etc/passwd", "http or https URL"),
        ("gopher://a.example", "http or https URL"),
        ("https://", "http or https URL"),
        ("https://a.example:99999", "http or https URL"),
        ("https://[::1", "http or https URL"),
        ("https://a.example\\@b.example", "plain ASCII"),
        ("https://a.example /x", "plain ASCII"),
        ("https://bücher.example", "plain ASCII"),
        ("https://a.example\n.b.example", "plain ASCII"),
        ("https://user@a.example", "user name"),
        ("https://@a.example", "user name"),
        ("https://a.example?x=1", "query"),
        ("https://a.example#x", "fragment"),
        ("https://a.example.", "no host name"),
        ("https://a..example", "no host name"),
        ("https://-a.example", "no host name"),
        ("https://a.b.c.d.e.f.g.h.i.j.k.example", "no host name"),
        ("https://0x7f.0.0.1", "usual form"),
        ("https://0x7f000001", "usual form"),
        ("https://2130706433", "usual form"),
        ("https://127.1", "usual form"),
        ("https://0177.0.0.1", "usual form"),
        ("https://127.0.0.01", "usual form"),
        ("https://a.example.1", "usual form"),
        ("https://[fe80::1%25eth0]", "zone"),
        ("https://a.example:25", "port 25"),
        ("https://a.example:0", "port 0"),
        ("https://" + "a" * 3_000, "longer than"),
    ],
)
def test_what_others_might_read_otherwise_is_refused(url: str, said: str) -> None:
    fault = url_fault(url)
    assert fault is not None
    assert said in fault


PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8")
NOT_PUBLIC = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd12::1", "fc00::1", "fec0::1"),
    *(
        "169.254.169.254",
        "169.254.170.2",
        "fe80::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
    ),
    *(
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *("64:ff9b::7f00:1", "2002:7f00:1::", "::7f00:1", "64:ff9b:1::1", "ff02::1", "2001:db8::1", "192.0.2.1"),
    *("168.63.129.16", "fe80::1%eth0", "localhost", ""),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_for_anybody(address: str) -> None:
    assert address_fault(address) is None


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_other_address_is(address: str) -> None:
    assert address_fault(address) is not None


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "64:ff9b::{}", "{}"]))
def test_an_address_is_no_more_public_for_being_written_otherwise(address: IPv4Address, form: str) -> None:
    if not address.is_global:
        assert address_fault(form.format(address)) is not None


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_that_python_calls_private_is_public(address: IPv6Address) -> None:
    assert address_fault(str(address)) is not None or address.is_global


def test_what_the_operator_trusts_may_be_private_but_never_a_metadata_service() -> None:
    rule = AddressRule(("models.corp.example", "localhost:11434", "*.lab.example"))
    assert rule.fault("models.corp.example", 443, "10.0.0.7") is None
    assert rule.fault("gpu.lab.example", 8080, "192.168.0.2") is None
    assert rule.fault("localhost", 11434, "127.0.0.1") is None
    assert rule.fault("localhost", 22222, "127.0.0.1") == "is this machine"
    assert rule.fault("lab.example", 443, "10.0.0.7") is not None
    plain = ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")
    written_otherwise = ("::ffff:", "64:ff9b::", "64:ff9b:1::", "::", "::ffff:0:")
    for address in (*plain, *(f"{form}169.254.169.254" for form in written_otherwise), "2002:a9fe:a9fe::"):
        assert is_metadata(address)
        assert rule.fault("models.corp.example", 443, address) is not None


@pytest.mark.parametrize(
    ("patterns", "host", "port", "expected"),
    [
        (("a.example",), "a.example", 443, True),
        (("a.example",), "A.EXAMPLE", 443, True),
        (("a.example:443",), "a.example", 443, True),
        (("a.example:443",), "a.example", 8443, False),
        (("*.example.com",), "a.b.example.com", 1, True),
        (("*.example.com",), "example.com", 1, False),
        (("*.example.com",), "badexample.com", 1, False),
        (("[::1]:80",), "::1", 80, True),
        (("[::1]",), "::1", 8, True),
        ((), "a.example", 443, False),
    ],
)
def test_a_pattern_covers_a_host_or_what_is_below_it(
    patterns: tuple[str, ...], host: str, port: int, expected: bool
) -> None:
    assert is_listed(host, port, patterns) is expected


def test_a_pattern_is_a_host_or_a_domain() -> None:
    for pattern in ("a.example", "*.example.com", "localhost:11434", "10.0.0.1", "[::1]:80"):
        assert pattern_fault(pattern) is None
    for pattern in ("*", "*.com", "a*.example", "https://a.example", "A.example", "a.example/x", "", "*."):
        assert pattern_fault(pattern) is not None
