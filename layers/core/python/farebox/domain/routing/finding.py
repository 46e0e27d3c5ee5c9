"""What is wrong, or worth knowing, about one place of a document that an administrator or a caller wrote."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from farebox.domain.errors import ConfigInvalid


class Finding(Struct, frozen=True):
    """Something about one place of a document; without `is_error` the document can be taken all the same."""

    path: str
    detail: str
    is_error: bool = True


def refusal(findings: Sequence[Finding]) -> ConfigInvalid:
    """Join what is wrong into one refusal, a line for each: the first path first, the others in its text."""
    first, *others = findings
    rest = "".join(f"\n{finding.path}: {finding.detail}" for finding in others)
    return ConfigInvalid(first.path, first.detail + rest)
