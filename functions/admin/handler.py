"""Entry point of the admin function."""

from __future__ import annotations

from functools import cache
from typing import Any

from farebox.compose.aws.admin import Handler, admin_handler, open_admin
from farebox.compose.settings import process_environment


@cache
def _wired() -> Handler:
    return admin_handler(open_admin(process_environment()))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request of the function URL, or make the first admin key for the deployer."""
    return _wired()(event, context)
