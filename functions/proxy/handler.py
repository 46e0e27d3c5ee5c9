"""Entry point of the proxy function, for the streaming runtime: not called for each event, but once."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from farebox.compose.aws.proxy import open_proxy
from farebox.compose.settings import process_environment
from farebox.http.data_plane import App


def handler() -> AbstractAsyncContextManager[App]:
    """Open the gateway; leaving it closes what it has opened."""
    return open_proxy(process_environment(), write=_write_line)


def _write_line(line: str) -> None:
    print(line, flush=True)
