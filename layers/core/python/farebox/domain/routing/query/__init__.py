"""The query language of conditions: Portkey's operators, read once and asked of a request."""

from farebox.domain.routing.query.matching import MISSING, Facts, matches
from farebox.domain.routing.query.reading import QueryInvalid, read_path, read_query
from farebox.domain.routing.query.terms import Path, Query

__all__ = ["MISSING", "Facts", "Path", "Query", "QueryInvalid", "matches", "read_path", "read_query"]
