"""RS256: whatever is signed verifies, and what is no RSA key signs nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.adapters.clouds.google.documents import ServiceAccountKey
from farebox.adapters.clouds.google.grants import assertion
from farebox.adapters.clouds.google.rs256 import sign
from tests.support.builders import NOON
from tests.support.google import OAUTH_AUDIENCE, a_pair, claims_of, header_of


@settings(max_examples=20)
@given(st.binary(max_size=300), st.integers(min_value=0))
def test_what_is_signed_verifies_and_nothing_else_does(data: bytes, at: int) -> None:
    pair = a_pair()
    signature = sign(pair.private, data)
    pair.key.public_key().verify(signature, data, PKCS1v15(), SHA256())
    changed = bytearray(signature)
    changed[at % len(changed)] ^= 1
    with pytest.raises(InvalidSignature):
        pair.key.public_key().verify(bytes(changed), data, PKCS1v15(), SHA256())


@settings(max_examples=20)
@given(
    st.text(min_size=1, max_size=40),
    st.text(max_size=40),
    st.integers(min_value=0, max_value=365 * 24 * 3_600),
)
def test_an_assertion_of_any_account_verifies_with_googles_library(
    email: str, key_id: str, age_s: int
) -> None:
    key, now = ServiceAccountKey(email, key_id, a_pair().private), NOON - timedelta(seconds=age_s)
    token = assertion(key, now, sign)
    claims = claims_of(token)
    assert (claims["iss"], claims["aud"]) == (email, OAUTH_AUDIENCE)
    assert header_of(token).get("kid", "") == key_id


def test_a_key_that_is_none_of_rsa_or_needs_a_password_signs_nothing() -> None:
    curve = generate_private_key(SECP256R1())
    for pem, told in (
        (curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "not one of RSA"),
        (
            a_pair().key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"p")),
            "cannot be read",
        ),
        (b"-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----", "cannot be read"),
    ):
        with pytest.raises(ValueError, match=told) as raised:
            sign(pem.decode(), b"x")
        assert "canary" not in str(raised.value)
