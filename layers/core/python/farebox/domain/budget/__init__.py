"""Budgets: whom they cover, which window a moment falls in, and what one request touches of them."""

from farebox.domain.budget.limit import (
    TOKEN_CLASSES,
    Budget,
    OnExhausted,
    Raise,
    Shortage,
    Standing,
    Touch,
    Unit,
    added_up,
    touches,
)
from farebox.domain.budget.scope import DIMENSIONS, Scope, Subject, subject_of
from farebox.domain.budget.window import WEEKDAYS, Window

__all__ = [
    "DIMENSIONS",
    "TOKEN_CLASSES",
    "WEEKDAYS",
    "Budget",
    "OnExhausted",
    "Raise",
    "Scope",
    "Shortage",
    "Standing",
    "Subject",
    "Touch",
    "Unit",
    "Window",
    "added_up",
    "subject_of",
    "touches",
]
