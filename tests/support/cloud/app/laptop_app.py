"""The laptop's own gateway as a function: SQLite in DATA, the data plane on the runtime for Lambda."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from farebox.compose.local import open_local
from farebox.compose.settings import Settings, process_environment
from farebox.http.data_plane import DataPlane
from farebox.http.errors import status_of


@asynccontextmanager
async def handler() -> AsyncIterator[DataPlane]:
    """Open the gateway."""
    environment, settings = process_environment(), Settings()
    local = open_local(
        settings, Path(environment["DATA"]), environment=environment, status_of=status_of, write_log=None
    )
    leases = asyncio.create_task(local.leases.run())
    try:
        yield DataPlane(
            local.gateway, local.randomness, body_bytes_max=settings.max_body_bytes, books_last=True
        )
    finally:
        leases.cancel()
        await asyncio.gather(leases, return_exceptions=True)
        await local.close()
