"""RS256, by `cryptography`. Loaded when the first key signs: importing it takes 0.1 s of CPU and 15 MB."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def sign(private_key: str, data: bytes) -> bytes:
    """Sign bytes with a key in PEM. Raises `ValueError` for a key that is none of RSA, without quoting it."""
    try:
        key = load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the private key cannot be read") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("the private key is not one of RSA")
    return key.sign(data, PKCS1v15(), SHA256())
