"""Vertex AI as an upstream: Claude's own answers, and the ways in which Google's API says no.

Shapes from google.rpc.Status as its REST APIs write it, and from what users of Vertex saw; read 2026-11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.support.upstream import Reply

JSON = ("Content-Type", "application/json; charset=UTF-8")
PROJECT = "our-project-123"
ACCOUNT = f"farebox@{PROJECT}.iam.gserviceaccount.com"
MODEL = "claude-sonnet-4-5"
THERE = "claude-sonnet-4-5@20250929"
QUOTA = (
    "Quota exceeded for aiplatform.googleapis.com/online_prediction_input_tokens_per_minute_per_base_model "
    "with base model: anthropic-claude-sonnet-4-5. Please submit a quota increase request."
)


def google_error(
    status: int,
    code: str,
    message: str,
    *,
    details: list[Mapping[str, object]] | None = None,
    listed: bool = False,
) -> Reply:
    """Write an error of the API; `listed` as it comes where a stream was asked for."""
    error: dict[str, object] = {"code": status, "message": message, "status": code}
    if details is not None:
        error["details"] = details
    document = {"error": error}
    return Reply(status, (JSON,), (json.dumps([document] if listed else document).encode(),))


def retry_info(delay: str) -> Mapping[str, object]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def claude_error(status: int, kind: str, message: str) -> Reply:
    """Write an error of Claude's own, which Vertex passes on."""
    error = {"type": kind, "message": message}
    document = {"type": "error", "error": error, "request_id": "req_vrtx_011Scripted"}
    return Reply(status, (JSON, ("request-id", "req_vrtx_011Scripted")), (json.dumps(document).encode(),))


def html_page(status: int) -> Reply:
    page = f"<!DOCTYPE html><html><title>Error {status}</title><p>That is all we know.</html>"
    return Reply(status, (("Content-Type", "text/html; charset=UTF-8"),), (page.encode(),))
