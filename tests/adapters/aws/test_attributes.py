"""Our attribute encoding is boto3's."""

from base64 import b64encode
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from farebox.adapters.aws.dynamodb.attributes import Value, unwrapped, unwrapped_item, wrapped, wrapped_item

numbers = st.integers(-(10**38) + 1, 10**38 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
plain = st.one_of(texts, numbers, st.booleans(), st.binary(max_size=20), st.none())
sets = st.frozensets(texts, min_size=1, max_size=5)
values: st.SearchStrategy[Value] = st.recursive(
    st.one_of(plain, sets),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


def on_the_wire(theirs: Any) -> Any:
    """Give boto3's form as the JSON that botocore makes of it: bytes in base64, sets in any order."""
    if isinstance(theirs, bytes | Binary):
        return b64encode(bytes(theirs)).decode()
    if isinstance(theirs, list):
        return [on_the_wire(each) for each in theirs]
    if isinstance(theirs, dict):
        return {
            name: sorted(value) if name == "SS" and isinstance(value, list) else on_the_wire(value)
            for name, value in theirs.items()
        }
    return theirs


def read_by_boto3(value: Any) -> Any:
    """Give what boto3 read in our types."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, Binary):
        return bytes(value)
    if isinstance(value, set):
        return frozenset(value)
    if isinstance(value, list):
        return [read_by_boto3(each) for each in value]
    if isinstance(value, dict):
        return {name: read_by_boto3(each) for name, each in value.items()}
    return value


def with_raw_bytes(wire: Any) -> Any:
    """Give our JSON as botocore hands it to boto3."""
    ((tag, content),) = wire.items()
    if tag == "B":
        return {"B": unwrapped(wire)}
    if tag == "L":
        return {"L": [with_raw_bytes(each) for each in content]}
    if tag == "M":
        return {"M": {name: with_raw_bytes(each) for name, each in content.items()}}
    return wire


@given(values)
def test_values_are_written_as_boto3_writes_them(value: Value) -> None:
    assert wrapped(value) == on_the_wire(TypeSerializer().serialize(value))


@given(values)
def test_boto3_reads_what_we_write_and_so_do_we(value: Value) -> None:
    assert read_by_boto3(TypeDeserializer().deserialize(with_raw_bytes(wrapped(value)))) == value
    assert unwrapped(wrapped(value)) == value


@given(st.dictionaries(texts, values, max_size=4))
def test_items_come_back_as_they_were(item: dict[str, Value]) -> None:
    assert unwrapped_item(wrapped_item(item)) == item


@pytest.mark.parametrize(("text", "number"), [("1E+20", 10**20), ("12.00", 12), ("-0", 0)])
def test_a_whole_number_is_read_however_it_is_written(text: str, number: int) -> None:
    assert unwrapped({"N": text}) == number


@pytest.mark.parametrize("wire", [{"N": "0.5"}, {"NS": ["1"]}])
def test_what_we_never_store_is_not_read(wire: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"0\.5 is not a whole number|an attribute of type NS"):
        unwrapped(wire)


@pytest.mark.parametrize("value", [10**38, -(10**38), frozenset()])
def test_what_dynamodb_would_round_or_refuse_is_not_written(value: Value) -> None:
    with pytest.raises(ValueError, match=r"more than 38 digits|an empty set"):
        wrapped(value)


def test_a_float_is_no_attribute() -> None:
    with pytest.raises(TypeError, match="a float is no attribute"):
        wrapped(0.5)  # type: ignore[arg-type]  # that is the point
