"""Whom a budget covers, and which of its buckets one request falls in."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from farebox.domain.price import normalised_model

Subject = Mapping[str, str]
"""One request by dimension: organisation, workspace, user, key, provider, model, session, agent,
metadata.NAME.

`key` is 'workspace/name', since names are unique per workspace; a scope names the key alone.
"""

DIMENSIONS = ("organisation", "workspace", "user", "key", "provider", "model", "session", "agent")
BUCKET_SEPARATOR = "|"


class Scope(Struct, frozen=True):
    """A conjunction of (dimension, patterns); a dimension matches when any of its globs does.

    The single pattern '*' asks for one bucket per distinct value.
    """

    terms: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def bucket(self, subject: Subject) -> str | None:
        """Give the bucket this request falls in ('' when there is only one), or None when the scope does not
        cover it.
        """
        parts: list[str] = []
        for dimension, patterns in self.terms:
            value = subject.get(dimension)
            if value is None:
                return None
            if patterns == ("*",):
                parts.append(value)
            elif not any(fnmatchcase(_bare(dimension, value), pattern) for pattern in patterns):
                return None
        return parts[0] if len(parts) == 1 else BUCKET_SEPARATOR.join(map(_escaped, parts))

    @property
    def has_one_bucket(self) -> bool:
        """Whether no term asks for a bucket per value."""
        return all(patterns != ("*",) for _, patterns in self.terms)

    @property
    def narrows_targets(self) -> bool:
        """Whether it depends on who serves a request: another target may fall outside."""
        return any(dimension in ("provider", "model") for dimension, _ in self.terms)

    def values(self, bucket: str) -> tuple[str, ...]:
        """Give the values that a bucket stands for, in the order of the terms that ask for one each; none
        when the scope never made such a bucket.
        """
        count = sum(patterns == ("*",) for _, patterns in self.terms)
        parts = [bucket] if count == 1 else [_unescaped(part) for part in bucket.split(BUCKET_SEPARATOR)]
        return tuple(parts) if len(parts) == count else ()

    def bucket_label(self, bucket: str) -> str:
        """Give a bucket as people know it: a key by its name alone."""
        dimensions = [dimension for dimension, patterns in self.terms if patterns == ("*",)]
        values = self.values(bucket)
        return BUCKET_SEPARATOR.join(map(_bare, dimensions, values)) if values else bucket

    def text(self) -> str:
        """Show the scope on one line: 'workspace=platform key=*'; 'everything' when there is no term."""
        return " ".join(f"{name}={','.join(patterns)}" for name, patterns in self.terms) or "everything"


def _escaped(value: str) -> str:
    # Sessions and metadata come from callers: a separator inside one must not turn into another bucket.
    return value.replace("%", "%25").replace(BUCKET_SEPARATOR, "%7C")


def _unescaped(part: str) -> str:
    return part.replace("%7C", BUCKET_SEPARATOR).replace("%25", "%")


def _bare(dimension: str, value: str) -> str:
    return value.partition("/")[2] if dimension == "key" else value


def subject_of(
    *,
    organisation: str,
    workspace: str,
    key: str,
    user: str | None,
    provider: str | None,
    model: str,
    session: str | None,
    agent: str | None,
    metadata: Mapping[str, str],
) -> Subject:
    """Give a request as scopes see it, the same when it is admitted and when it is booked from its record.

    The model goes by its plain id, so that a budget on a model holds for every way to write it.
    """
    named = {
        "organisation": organisation,
        "workspace": workspace,
        "user": user,
        "key": f"{workspace}/{key}",
        "provider": provider,
        "model": normalised_model(model),
        "session": session,
        "agent": agent,
    }
    callers_own = {f"metadata.{name}": value for name, value in metadata.items()}
    return {**callers_own, **{name: value for name, value in named.items() if value is not None}}
