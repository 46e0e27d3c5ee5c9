"""What a condition means: case by case, and against a model that was written another way."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.domain.routing.query import Facts, Query, QueryInvalid, matches, read_query
from farebox.domain.routing.query.reading import Allowance
from tests.support.config_trees import written_query
from tests.support.queries import queries

Json = dict[str, Any]
BODY: Json = {
    "model": "claude-opus-5-5",
    "max_tokens": 1_000,
    "stream": True,
    "thinking": {"type": "enabled"},
    "tools": [{"name": "Bash"}, {"name": "Read"}],
    "temperature": None,
}
FACTS = Facts({"plan": "paid", "age": "42"}, BODY, "/v1/messages", {"x-team": "core"})


def holds(query: Json) -> bool:
    return matches(read_query(query), FACTS)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, True),
        ({"metadata.plan": "paid"}, True),
        ({"metadata.plan": "free"}, False),
        ({"metadata.plan": {"$eq": "paid"}}, True),
        ({"metadata.plan": {"$ne": "free"}}, True),
        ({"metadata.plan": {"$in": ["free", "paid"]}}, True),
        ({"metadata.plan": {"$nin": ["free", "paid"]}}, False),
        ({"metadata.age": {"$gt": 41, "$lt": 43}}, True),
        ({"metadata.age": {"$gte": "42", "$lte": 42}}, True),
        ({"metadata.age": {"$gt": 42}}, False),
        ({"metadata.plan": {"$gt": 0}}, False),
        ({"metadata.age": 42}, False),
        ({"params.max_tokens": {"$gt": 999.5}}, True),
        ({"params.stream": True}, True),
        ({"params.stream": 1}, False),
        ({"params.stream": {"$gt": 0}}, False),
        ({"params.temperature": None}, True),
        ({"params.thinking.type": "enabled"}, True),
        ({"params.tools[1].name": "Read"}, True),
        ({"params.tools[2].name": {"$exists": True}}, False),
        ({"params.tools.name": {"$exists": True}}, False),
        ({"params.temperature": {"$exists": True}}, True),
        ({"url.pathname": "/v1/messages"}, True),
        ({"headers.X-Team": "core"}, True),
        ({"params.model": {"$regex": "opus"}}, True),
        ({"params.model": {"$regex": "^opus"}}, False),
        ({"params.model": {"$regex": "OPUS"}}, False),
        ({"params.model": {"$regex": "OPUS", "$options": "i"}}, True),
        ({"params.max_tokens": {"$regex": "^1000$"}}, True),
        ({"params.stream": {"$regex": "true"}}, True),
        ({"params.thinking": {"$regex": "enabled"}}, False),
        ({"metadata.plan": {"$not": {"$in": ["free"]}}}, True),
        ({"$not": {"metadata.plan": "free"}}, True),
        ({"$and": [{"metadata.plan": "paid"}, {"metadata.age": "42"}]}, True),
        ({"$or": [{"metadata.plan": "free"}, {"metadata.age": "42"}]}, True),
        ({"$or": [{"metadata.plan": "free"}, {"metadata.age": "1"}]}, False),
    ],
)
def test_an_operator_means_what_is_documented(query: Json, expected: bool) -> None:
    assert holds(query) is expected


@pytest.mark.parametrize("operator", ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"])
def test_nothing_is_true_of_a_value_that_is_not_there(operator: str) -> None:
    assert not holds({"metadata.gone": {operator: 1}})
    assert not holds({"metadata.gone": {"$nin": ["x"]}})
    assert not holds({"metadata.gone": {"$regex": ""}})
    assert holds({"metadata.gone": {"$exists": False}})


def test_whatever_stands_side_by_side_must_hold_together() -> None:
    assert not holds({"$or": [{"metadata.plan": "paid"}], "metadata.age": "1"})
    assert not holds({"$and": [{"metadata.plan": "paid"}], "metadata.age": "1"})
    assert not holds({"metadata.plan": {"$regex": "paid", "$ne": "paid"}})


@pytest.mark.parametrize(
    ("query", "path", "said"),
    [
        ([], "", "must be an object"),
        ({"metadata.a": {"$like": "x"}}, "metadata.a.$like", "is no operator"),
        ({"metadata.a": {}}, "metadata.a", "compares with nothing"),
        ({"metadata.a": [1]}, "metadata.a", "must be a text, a number"),
        ({"metadata.a": {"$gt": "many"}}, "metadata.a.$gt", "must be a number"),
        ({"metadata.a": {"$gt": True}}, "metadata.a.$gt", "must be a number"),
        ({"metadata.a": {"$in": "x"}}, "metadata.a.$in", "must be a list"),
        ({"metadata.a": {"$in": [{}]}}, "metadata.a.$in[0]", "must be a text"),
        ({"metadata.a": {"$exists": 1}}, "metadata.a.$exists", "true or false"),
        ({"metadata.a": {"$regex": 1}}, "metadata.a.$regex", "as text"),
        ({"metadata.a": {"$regex": "("}}, "metadata.a.$regex", "does not end"),
        ({"metadata.a": {"$regex": "a", "$options": "m"}}, "metadata.a.$options", "'i'"),
        ({"metadata.a": {"$options": "i"}}, "metadata.a.$options", "goes with $regex"),
        ({"metadata": "x"}, "metadata", "metadata.NAME"),
        ({"body.x": "x"}, "body.x", "metadata.NAME"),
        ({"url.host": "x"}, "url.host", "url.pathname"),
        ({"params.a..b": 1}, "params.a..b", "names with dots"),
        ({"params.a[x]": 1}, "params.a[x]", "names with dots"),
        ({"headers.Authorization": "x"}, "headers.Authorization", "secrets"),
        ({"headers.x-api-key": "x"}, "headers.x-api-key", "secrets"),
        ({"$nor": []}, "$nor", "is no operator here"),
        ({"$and": {}}, "$and", "must be a list"),
        ({"$or": []}, "$or", "must be a list"),
        ({"$or": [{"$and": [{"x": 1}]}]}, "$or[0].$and[0].x", "metadata.NAME"),
        ({"metadata.a": "x" * 2_000}, "metadata.a", "longer than 1024"),
    ],
)
def test_what_cannot_be_asked_is_told_at_its_place(query: object, path: str, said: str) -> None:
    with pytest.raises(QueryInvalid) as refused:
        read_query(query)
    assert refused.value.path == path
    assert said in refused.value.detail


def test_queries_are_bounded_in_depth_number_and_patterns() -> None:
    deep: Json = {"metadata.a": 1}
    for _ in range(10):
        deep = {"$not": deep}
    wide = {"$or": [{"metadata.a": index} for index in range(1_001)]}
    heavy = {"$or": [{"metadata.a": {"$regex": "x" * 200}} for _ in range(3)]}
    for query, said in ((deep, "deeper"), (wide, "1000 comparisons"), (heavy, "too long taken together")):
        with pytest.raises(QueryInvalid, match=said):
            read_query(query)
    shared = Allowance()
    read_query({"metadata.a": {"$in": list(range(999))}}, shared)
    with pytest.raises(QueryInvalid, match="1000 comparisons"):
        read_query({"metadata.a": 1}, shared)


# The model: the documentation read once more, on plain JSON, with Python's own expressions.

GONE = object()


def model_holds(query: Json, document: Json) -> bool:
    return all(_model_entry(name, value, document) for name, value in query.items())


def _model_entry(name: str, value: Any, document: Json) -> bool:
    if name == "$and":
        return not [1 for each in value if not model_holds(each, document)]
    if name == "$or":
        return bool([1 for each in value if model_holds(each, document)])
    if name == "$not":
        return not model_holds(value, document)
    found = _model_value(name, document)
    if not isinstance(value, dict):
        value = {"$eq": value}
    flags = re.ASCII | (re.IGNORECASE if value.get("$options") else 0)
    for operator, operand in value.items():
        if operator == "$options":
            continue
        if operator == "$exists":
            if (found is not GONE) != operand:
                return False
        elif found is GONE or not _model_test(operator, found, operand, flags):
            return False
    return True


def _model_test(operator: str, found: Any, operand: Any, flags: int) -> bool:
    if operator in ("$gt", "$gte", "$lt", "$lte"):
        left, right = _model_number(found), _model_number(operand)
        return {"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}[
            operator
        ]
    if operator == "$regex":
        is_text = isinstance(found, str | int | float | bool)
        text = found if isinstance(found, str) else json.dumps(found)
        return is_text and re.search(operand.replace("$", r"\Z"), text, flags) is not None
    listed = operand if operator in ("$in", "$nin") else [operand]
    among = json.dumps(found) in [json.dumps(each) for each in listed]
    return among == (operator in ("$in", "$eq"))


def _model_value(name: str, document: Json) -> Any:
    value: Any = document
    for part in re.findall(r"[^.\[\]]+", name):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return GONE
    return value


def _model_number(value: Any) -> float:
    """JavaScript's way: what is no number is unlike any."""
    if isinstance(value, bool) or value is None:
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


texts = st.sampled_from(["paid", "free", "1", "2", "Bash", "a", ""])
bodies = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.booleans() | st.none(),
        "max_tokens": st.sampled_from([0, 1, 2, 2.5]),
        "thinking": st.fixed_dictionaries({}, optional={"type": texts}) | texts,
        "tools": st.lists(st.fixed_dictionaries({"name": texts}), max_size=2),
    },
)


def few(*names: str) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, texts))


@given(queries, few("plan", "age"), bodies, few("x-team"))
def test_a_query_means_what_the_model_says(
    query: Query, metadata: Mapping[str, str], body: Json, headers: Mapping[str, str]
) -> None:
    asked = written_query(query)
    document = {"metadata": metadata, "params": body, "url": {"pathname": "/v1/messages"}, "headers": headers}
    said = matches(read_query(asked), Facts(metadata, body, "/v1/messages", headers))
    assert said == model_holds(asked, document)
    assert read_query(asked) == query
