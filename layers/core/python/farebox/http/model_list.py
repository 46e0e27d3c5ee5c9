"""`GET /v1/models` in Anthropic's list shape.

Source: platform.claude.com/docs/en/api/models-list, read 2026-11. Claude Code keeps ids that begin with
claude or anthropic.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs

from farebox.domain.errors import RequestMalformed
from farebox.domain.price import ListedModel

LIMIT_DEFAULT = 20
LIMIT_MAX = 1_000


def model_list(models: Sequence[ListedModel], query: bytes) -> dict[str, object]:
    """Give one page: `limit` (1 to 1000), `after_id`, `before_id`; `has_more` looks the way that was asked.

    Raises `RequestMalformed`.
    """
    asked = {name: values[0] for name, values in parse_qs(query.decode("latin-1")).items()}
    limit = _limit(asked.get("limit"))
    ids = [model.id for model in models]
    first, end = 0, len(ids)
    if "after_id" in asked:
        first = _position(ids, "after_id", asked["after_id"]) + 1
    if "before_id" in asked:
        end = _position(ids, "before_id", asked["before_id"])
    start = max(first, end - limit) if "before_id" in asked else first
    page = models[start:end][:limit]
    return {
        "data": [_row(model) for model in page],
        "has_more": start > first if "before_id" in asked else start + len(page) < end,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def _row(model: ListedModel) -> dict[str, str]:
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": model.created_at,
    }


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    is_short = len(text) <= len(str(LIMIT_MAX))
    if not (is_short and text.isascii() and text.isdigit() and 1 <= int(text) <= LIMIT_MAX):
        raise RequestMalformed(f"limit: must be a number from 1 to {LIMIT_MAX}.")
    return int(text)


def _position(ids: Sequence[str], name: str, value: str) -> int:
    try:
        return ids.index(value)
    except ValueError:
        raise RequestMalformed(f"{name}: there is no model '{value}'.") from None
