"""How much one page of the audit log takes, in whichever store."""

from __future__ import annotations

PAGE_BYTES_MAX = 1_500_000
"""Of documents: an answer of Lambda takes 6 MB, and what is not ASCII is up to three times as long in it."""
