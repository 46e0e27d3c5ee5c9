"""Writes data/prices/claude.json, which farebox loads, from claude.yaml, which people edit."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

DATA = Path(__file__).resolve().parents[2] / "layers/core/python/farebox/data/prices"


def claude_json(source: str) -> str:
    """Turn the YAML text into the JSON text that belongs to it: one model a line."""
    document = yaml.safe_load(source)
    document.pop("page")
    models = ",\n".join(json.dumps(model, separators=(",", ":")) for model in document.pop("models"))
    head = json.dumps(document, separators=(",", ":"))
    return f'{head[:-1]},"models":[\n{models}\n]}}\n'


if __name__ == "__main__":
    (DATA / "claude.json").write_text(claude_json((DATA / "claude.yaml").read_text()))
