"""Claude's rows held against genai-prices and LiteLLM, and the data files against what they are made from."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path

from farebox.adapters.price_data import PriceData
from farebox.domain.price.table import read_imported
from tests.domain.price_cases import BOOK
from tests.domain.price_differences import DIFFERENCES
from tests.domain.price_sources import Listed, genai_listed, litellm_listed
from tools.prices.claude import DATA, claude_json


def disagreement(listed: Listed) -> tuple[Listed, Fraction | None] | None:
    ours = listed.ours()
    if ours == listed.usd:
        return None
    return listed, None if ours is None else Fraction(listed.usd) / Fraction(ours)


LISTED = [*genai_listed(), *litellm_listed()]
DISAGREEMENTS = [found for listed in LISTED if (found := disagreement(listed)) is not None]


def test_every_disagreement_with_a_catalogue_is_acknowledged() -> None:
    open_ones = [
        f"{listed}: theirs/ours {ratio}"
        for listed, ratio in DISAGREEMENTS
        if not any(known.covers(listed, ratio) for known in DIFFERENCES)
    ]
    assert open_ones == []


def test_every_acknowledged_difference_still_exists() -> None:
    stale = [
        known.reason
        for known in DIFFERENCES
        if not any(known.covers(listed, ratio) for listed, ratio in DISAGREEMENTS)
    ]
    assert stale == []


def test_most_listed_prices_are_compared_and_agree() -> None:
    by_source = {
        source: sum(each.source == source for each in LISTED) for source in ("genai-prices", "LiteLLM")
    }
    assert min(by_source.values()) > 500
    assert len(DISAGREEMENTS) < len(LISTED) / 3


def test_every_current_model_is_confirmed_by_a_catalogue() -> None:
    differing = {id(listed) for listed, _ in DISAGREEMENTS}
    agreed = {listed.model.split("/")[-1] for listed in LISTED if id(listed) not in differing}
    confirmed = {model for model in BOOK.claude.models if any(model in name for name in agreed)}
    # Mythos 5.2 is confirmed on Bedrock; the demo model is ours alone.
    assert set(BOOK.claude.models) - confirmed == {"claude-demo"}


def test_the_json_that_is_loaded_is_the_yaml_that_people_edit() -> None:
    assert (DATA / "claude.json").read_text() == claude_json((DATA / "claude.yaml").read_text())


def test_the_index_names_where_each_vendor_is_and_what_it_holds() -> None:
    index = json.loads((DATA / "index.json").read_text())
    documents = (DATA / "imported.json").read_bytes()
    end = 0
    for vendor, place in index["vendors"].items():
        document = documents[place["offset"] : place["offset"] + place["length"]]
        assert place["offset"] == end
        assert hashlib.sha256(document).hexdigest() == place["sha256"]
        assert len(json.loads(document)["models"]) == place["models"], vendor
        end += place["length"]
    assert end == len(documents)


def test_at_least_sixteen_hundred_other_models_have_a_price_a_source_and_a_date() -> None:
    index = json.loads((DATA / "index.json").read_text())
    documents = (DATA / "imported.json").read_bytes()
    count = 0
    for place in index["vendors"].values():
        document = json.loads(documents[place["offset"] : place["offset"] + place["length"]])
        read_imported(document)
        for row in document["models"].values():
            assert row["source"].startswith(("genai-prices ", "LiteLLM "))
            assert row["as_of"] == index["as_of"]
        count += len(document["models"])
    assert count >= 1_600


def test_a_vendor_is_read_on_first_use_and_once(tmp_path: Path) -> None:
    for name in ("claude.json", "index.json"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    data = PriceData(tmp_path)
    data.book()
    (tmp_path / "imported.json").write_bytes((DATA / "imported.json").read_bytes())
    first = data.imported("groq")
    (tmp_path / "imported.json").unlink()
    assert first
    assert data.imported("groq") is first
    assert data.imported("no-such-vendor") == {}


def test_the_version_changes_with_any_document(tmp_path: Path) -> None:
    for name in ("claude.json", "index.json"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    before = PriceData(tmp_path).book().version
    index = json.loads((DATA / "index.json").read_text())
    index["vendors"]["groq"]["sha256"] = "0" * 64
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert before == BOOK.version
    assert PriceData(tmp_path).book().version != before
