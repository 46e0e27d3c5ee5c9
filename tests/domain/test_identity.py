"""Keys: their text, their hash, and when they open something."""

import string
import zlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.identity import (
    ADMIN_KEY_PREFIX,
    GATEWAY_KEY_PREFIX,
    AdminKey,
    GatewayKey,
    is_key_text,
    key_hash,
    key_shown,
    key_text,
)
from tests.support.builders import NOON, a_key, a_secret, an_admin_key

entropy = st.binary(min_size=32, max_size=32)


def from_base_62(text: str) -> int:
    number = 0
    for character in text:
        number = number * 62 + (string.digits + string.ascii_uppercase + string.ascii_lowercase).index(
            character
        )
    return number


@given(entropy)
def test_a_key_is_its_prefix_the_secret_in_base_62_and_a_checksum(random: bytes) -> None:
    prefix, _, body = key_text("fb-", random).partition("-")
    assert prefix == "fb"
    assert from_base_62(body[:43]) == int.from_bytes(random, "big")
    assert from_base_62(body[43:]) == zlib.crc32(body[:43].encode())


@pytest.mark.parametrize("count", [0, 31, 33])
def test_a_key_needs_exactly_256_random_bits(count: int) -> None:
    with pytest.raises(ValueError, match="a key needs 32 random bytes"):
        key_text("fb-", bytes(count))


@given(entropy, entropy)
def test_different_entropy_gives_different_keys_of_one_length(one: bytes, other: bytes) -> None:
    first, second = key_text("fb-", one), key_text("fb-", other)
    assert (first == second) == (one == other)
    assert len(first) == len(second) == 52


@given(entropy, st.sampled_from([GATEWAY_KEY_PREFIX, ADMIN_KEY_PREFIX]))
def test_a_key_has_the_form_of_its_own_kind_only(random: bytes, prefix: str) -> None:
    text = key_text(prefix, random)
    assert is_key_text(text, prefix)
    assert not is_key_text(text, ADMIN_KEY_PREFIX if prefix == GATEWAY_KEY_PREFIX else GATEWAY_KEY_PREFIX)


@given(entropy, st.integers(3, 51), st.sampled_from("0aZ~é "))
def test_one_wrong_character_is_noticed(random: bytes, place: int, character: str) -> None:
    text = key_text("fb-", random)
    mistyped = text[:place] + character + text[place + 1 :]
    assert is_key_text(mistyped) == (mistyped == text)


@pytest.mark.parametrize(
    "text", ["", "fb-", "sk-ant-api03-abc", a_secret()[:-1], a_secret() + "0", " " + a_secret()]
)
def test_what_is_no_key_is_not_taken_for_one(text: str) -> None:
    assert not is_key_text(text)


def test_the_hash_is_sha_256_of_the_whole_text() -> None:
    assert key_hash("fb-abc").hex() == "34cf3ca0393baa6d35b3c7807c7114b9768e8849b51b4b87e577d7f1ad43e9aa"


@pytest.mark.parametrize(("prefix", "shown"), [("fb-", "fb-000000"), ("fba-", "fba-000000")])
def test_six_characters_of_a_secret_may_be_shown(prefix: str, shown: str) -> None:
    assert key_shown(a_secret(1, prefix)) == shown


@pytest.mark.parametrize("build", [a_key, an_admin_key])
def test_a_key_opens_until_it_expires_or_is_revoked(build: Callable[..., GatewayKey | AdminKey]) -> None:
    second = timedelta(seconds=1)
    assert build().is_valid(NOON)
    assert build(expires_at=NOON + second).is_valid(NOON)
    assert not build(expires_at=NOON).is_valid(NOON)
    assert not build(revoked_at=NOON - second).is_valid(NOON)
    assert not build(revoked_at=NOON - second, expires_at=NOON + second).is_valid(NOON)
