"""Reading the text of a policy document without trusting it."""

from decimal import Decimal

import pytest

from farebox.domain.errors import ConfigInvalid
from farebox.http.policy_text import ENTRIES_MAX, TEXT_BYTES_MAX, plain_json, read_policy_text


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 0.1, "b": [1, "x", null, true]}',
        b"{a: 0.1, b: [1, x, null, true]}",
        b"a: 0.1\nb: [1, x, ~, true]\n",
        b'\xef\xbb\xbfa: 0.1\nb:\n- 1\n- "x"\n-\n- true\n',
    ],
)
def test_yaml_and_json_say_the_same_and_floats_keep_their_digits(text: bytes) -> None:
    assert read_policy_text(text) == {"a": Decimal("0.1"), "b": [1, "x", None, True]}


def test_more_digits_than_a_float_has_survive() -> None:
    assert read_policy_text(b"usd: 1234567.123456789012") == {"usd": Decimal("1234567.123456789012")}


def test_dates_and_merge_keys_stay_text() -> None:
    assert read_policy_text(b"a: 2027-01-31\n<<: {b: 1}") == {"a": "2027-01-31", "<<": {"b": 1}}


def test_an_empty_document_is_nothing() -> None:
    assert read_policy_text(b"# nothing yet\n") is None


def test_aliases_are_written_out() -> None:
    assert read_policy_text(b"a: &x [1]\nb: *x") == {"a": [1], "b": [1]}


BILLION_LAUGHS = b"a0: &a0 [x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n" % (n, n, *[n - 1] * 8)
    for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a: 1\nb: 2\na: 3", "'a' is given twice (line 3)"),
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b"x: {a: 1, a: 2}", "'a' is given twice (line 1)"),
        (b"? [a]\n: 1", "a key is not plain text (line 1)"),
        (b"a: [1", "the document is not YAML"),
        (b"a: b: c", "(line 1, column 5)"),
        (b"a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        (b"a: 1\n---\nb: 2", "the document is not YAML"),
        (b"\xff\xfe", "the document is not UTF-8 text"),
        (b"a: \x07", "the document is not YAML"),
        (b"[" * 2_000, "nested deeper than 40 levels"),
        (b"[" * 60 + b"]" * 60, "nested deeper than 40 levels"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "nested deeper than 40 levels"),
        (b"a: &a [*a]", "nested deeper than 40 levels"),
        (BILLION_LAUGHS, f"more than {ENTRIES_MAX} entries"),
        (b"a" * (TEXT_BYTES_MAX + 1), "larger than 1048576 bytes"),
        (b'{"a": NaN}', "NaN is not a number"),
    ],
)
def test_text_that_cannot_be_trusted_is_refused(text: bytes, told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        read_policy_text(text)
    assert told in refused.value.message
    assert "\n" not in refused.value.message


def test_what_is_not_finite_is_left_to_whoever_reads_the_field() -> None:
    assert read_policy_text(b"a: .inf\nb: 1:30.5") == {"a": float("inf"), "b": 90.5}


def test_free_form_parts_become_what_json_stores() -> None:
    assert plain_json({"a": [Decimal("0.5"), {"b": Decimal("2.0")}], "c": "x"}) == {
        "a": [0.5, {"b": 2.0}],
        "c": "x",
    }
