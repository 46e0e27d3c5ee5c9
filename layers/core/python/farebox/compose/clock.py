"""Gives the machine's clocks to commands that need no gateway."""

from __future__ import annotations

from farebox.adapters.clock import SystemClock
from farebox.ports import Clock


def system_clock() -> Clock:
    """Give the clocks of this machine."""
    return SystemClock()
