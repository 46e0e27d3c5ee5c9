"""The admin app of tests, lent from one to the next: making its routes takes longer than most of them ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from fastapi import FastAPI

from farebox.http.admin.app import app_over
from farebox.http.admin.editor import PolicyEditor
from farebox.http.admin.ports import AdminPorts


class _Late:
    """Has whatever the value has that stands behind it now."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)


class _Lent:
    """An app, and the two that it is made over, which are those of whoever borrows it."""

    def __init__(self) -> None:
        self._ports, self._editor = _Late(None), _Late(None)
        self.app = app_over(cast(AdminPorts, self._ports), cast(PolicyEditor, self._editor))

    def to(self, ports: AdminPorts) -> FastAPI:
        # The editor's lock belongs to one event loop, and each test has its own.
        self._ports.value, self._editor.value = ports, PolicyEditor(ports)
        return self.app


@contextmanager
def admin_app(ports: AdminPorts) -> Iterator[FastAPI]:
    """Give an app over these ports that nobody else uses meanwhile, a new one only where none is idle."""
    idle = _idle()
    try:
        lent = idle.pop()
    except IndexError:
        lent = _Lent()
    try:
        yield lent.to(ports)
    finally:
        idle.append(lent)


@cache
def _idle() -> list[_Lent]:
    return []
