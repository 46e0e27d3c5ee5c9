"""`GET /v1/models`: Anthropic's list shape, page by page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from farebox.domain.errors import RequestMalformed
from farebox.domain.price import ListedModel
from farebox.http.model_list import model_list
from tests.support.laptop import Laptop, RawAnswer, RawClient, a_policy
from tests.support.upstream import ScriptedUpstream

MODELS = [
    ListedModel(f"claude-{n}", f"Claude {n}", "2026-01-01T00:00:00Z", is_deprecated=False) for n in range(25)
]
ROWS = [
    {"type": "model", "id": model.id, "display_name": model.display_name, "created_at": model.created_at}
    for model in MODELS
]


def page(rows: list[dict[str, str]], *, has_more: bool) -> dict[str, object]:
    return {
        "data": rows,
        "has_more": has_more,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
    }


@pytest.mark.parametrize(
    ("query", "rows", "has_more"),
    [
        (b"", ROWS[:20], True),
        (b"limit=1000", ROWS, False),
        (b"limit=25", ROWS, False),
        (b"limit=3", ROWS[:3], True),
        (b"limit=3&after_id=claude-2", ROWS[3:6], True),
        (b"after_id=claude-20", ROWS[21:], False),
        (b"after_id=claude-24", [], False),
        (b"limit=3&before_id=claude-9", ROWS[6:9], True),
        (b"limit=3&before_id=claude-3", ROWS[:3], False),
        (b"limit=3&after_id=claude-5&before_id=claude-9", ROWS[6:9], False),
        (b"limit=5&before_id=claude-2", ROWS[:2], False),
        (b"before_id=claude-0", [], False),
        (b"unknown=field&limit=2", ROWS[:2], True),
        (b"limit=2&limit=9", ROWS[:2], True),
    ],
)
def test_a_page_is_what_was_asked_for(query: bytes, rows: list[dict[str, str]], has_more: bool) -> None:
    assert model_list(MODELS, query) == page(rows, has_more=has_more)


def test_no_models_are_an_empty_page() -> None:
    assert model_list([], b"") == page([], has_more=False)


def test_the_pages_one_after_the_other_are_the_list() -> None:
    seen: list[object] = []
    query = b"limit=7"
    while True:
        answer = model_list(MODELS, query)
        data = answer["data"]
        assert isinstance(data, list)
        seen += data
        if not answer["has_more"]:
            break
        query = f"limit=7&after_id={answer['last_id']}".encode()
    assert seen == ROWS


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (b"limit=0", "limit: must be a number from 1 to 1000."),
        (b"limit=1001", "limit: must be a number from 1 to 1000."),
        (b"limit=-1", "limit: must be a number from 1 to 1000."),
        (b"limit=" + b"9" * 5000, "limit: must be a number from 1 to 1000."),
        (b"limit=%C2%B2", "limit: must be a number from 1 to 1000."),
        (b"after_id=gpt", "after_id: there is no model 'gpt'."),
        (b"before_id=gpt", "before_id: there is no model 'gpt'."),
    ],
)
def test_a_page_that_cannot_be_is_refused(query: bytes, words: str) -> None:
    with pytest.raises(RequestMalformed) as refused:
        model_list(MODELS, query)
    assert refused.value.message == words


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    keys = [{"name": "alice"}, {"name": "haiku-only", "models": ["claude-haiku-*"]}]
    folder = tmp_path_factory.mktemp("data")
    with ScriptedUpstream() as upstream, Laptop(folder, a_policy(upstream, keys=keys)) as laptop:
        yield laptop


def get(laptop: Laptop, target: str, key: str = "") -> RawAnswer:
    with RawClient(laptop.port) as client:
        client.request("GET", target, [("Authorization", f"Bearer {key or laptop.key}")])
        return client.read_answer()


def test_claude_code_finds_real_models_under_any_prefix(laptop: Laptop) -> None:
    answer = get(laptop, "/some/prefix/v1/models?limit=1000")
    document = answer.json()
    ids = [row["id"] for row in document["data"]]
    assert (answer.status, answer.header("content-type")) == (200, b"application/json")
    assert {"claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"} <= set(ids)
    assert (document["has_more"], document["first_id"], document["last_id"]) == (False, ids[0], ids[-1])
    assert all(identity.startswith(("claude", "anthropic")) for identity in ids)
    assert len(ids) == len(set(ids))


def test_a_narrowed_key_lists_what_it_may_use(laptop: Laptop) -> None:
    rows = get(laptop, "/v1/models?limit=1000", laptop.keys["haiku-only"]).json()["data"]
    assert rows != []
    assert all(row["id"].startswith("claude-haiku-") for row in rows)


@pytest.mark.parametrize(
    ("target", "key", "status", "kind"),
    [
        ("/v1/models", "fb-unknown", 401, "authentication_error"),
        ("/v1/models?limit=none", "", 400, "invalid_request_error"),
    ],
)
def test_a_refused_list_is_an_error_in_anthropics_shape(
    target: str, key: str, status: int, kind: str, laptop: Laptop
) -> None:
    answer = get(laptop, target, key)
    assert (answer.status, answer.json()["error"]["type"], answer.header("x-should-retry")) == (
        status,
        kind,
        b"false",
    )


def test_listing_models_is_no_row(laptop: Laptop) -> None:
    get(laptop, "/v1/models")
    assert laptop.settled(0) == []
