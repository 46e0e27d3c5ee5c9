"""Backs up and restores the store of a data directory."""

from __future__ import annotations

from pathlib import Path

from farebox.adapters.clock import SystemClock
from farebox.adapters.local.store import DATABASE_FILE, LocalStore, restore
from farebox.domain.errors import NotFound


def back_up_local(data: Path, target: Path) -> None:
    """Copy the store to one file while a gateway may go on using it. Raises `NotFound` and `StoreFault`."""
    path = data / DATABASE_FILE
    if not path.is_file():
        raise NotFound("gateway data in", str(data))
    store = LocalStore.open(path, SystemClock())
    try:
        store.backup(target)
    finally:
        store.close()


def restore_local(source: Path, data: Path) -> None:
    """Put a backup in the place of the store, which no gateway may have open. Raises `StoreFault`."""
    restore(source, data / DATABASE_FILE)
