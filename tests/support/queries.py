"""Queries for tests, over few names and values, so that they often hold."""

from __future__ import annotations

from hypothesis import strategies as st

from farebox.domain.routing.query import Query
from farebox.domain.routing.query.pattern import compile_pattern
from farebox.domain.routing.query.terms import All, Any, Not, Path, PatternTest, Test

PATHS = (
    Path("metadata", ("plan",)),
    Path("metadata", ("age",)),
    Path("params", ("stream",)),
    Path("params", ("max_tokens",)),
    Path("params", ("thinking", "type")),
    Path("params", ("tools", 0, "name")),
    Path("headers", ("x-team",)),
    Path("url", ("pathname",)),
)
scalars = st.sampled_from([None, True, False, 0, 1, 2.5, "1", "paid", "free", "a", "Bash", ""])
numbers = st.sampled_from([0, 1, 2.5, "1", "2", -1])
patterns = st.sampled_from(["a", "^paid$", "fr?e+", "[0-9]+", "(a|b)*c", "^$", "ai"])

tests = st.one_of(
    st.builds(Test, st.sampled_from(PATHS), st.sampled_from(["$eq", "$ne"]), scalars),
    st.builds(Test, st.sampled_from(PATHS), st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), numbers),
    st.builds(
        Test,
        st.sampled_from(PATHS),
        st.sampled_from(["$in", "$nin"]),
        st.lists(scalars, max_size=3).map(tuple),
    ),
    st.builds(Test, st.sampled_from(PATHS), st.just("$exists"), st.booleans()),
)
pattern_tests = st.builds(
    PatternTest,
    st.sampled_from(PATHS),
    st.builds(compile_pattern, patterns, ignores_case=st.booleans()),
)


def _grown(inner: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        st.builds(All, several),
        st.builds(Any, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Not, inner),
    )


queries: st.SearchStrategy[Query] = st.recursive(tests | pattern_tests, _grown, max_leaves=5)
