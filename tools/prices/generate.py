"""Writes data/prices: the imported tables of all vendors, their index, and the numbers to check Claude by.

    python -m tools.prices.generate --as-of 2026-11-23 [--litellm-wheel FILE]

genai-prices comes first, since it is dated; LiteLLM fills in the models that it lacks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools.prices.claude import DATA, claude_json
from tools.prices.columns import Row
from tools.prices.crosscheck import crosscheck_json
from tools.prices.genai_source import read_genai
from tools.prices.litellm_source import read_catalogue, read_litellm
from tools.prices.vendors import ALIASES, CLAUDE_PROVIDERS, vendors_of

Tables = dict[str, dict[str, Row]]


def collect(rows: Iterable[tuple[str, Row]], tables: Tables) -> None:
    """Add rows to the tables of their vendors; a name that is there already stays as it is."""
    for source_provider, row in rows:
        for vendor in vendors_of(source_provider):
            if _is_ours(vendor, row.name):
                continue
            table = tables.setdefault(vendor, {})
            taken = set(table) | {alias for each in table.values() for alias in each.aliases}
            if row.name not in taken:
                fresh = {alias for alias in row.aliases if alias not in taken and not _is_ours(vendor, alias)}
                table[row.name] = Row(row.name, row.source, row.prices, row.display_name, fresh)


def _is_ours(vendor: str, name: str) -> bool:
    """Claude on its own platforms is priced by hand, whatever a catalogue says."""
    return vendor in (*CLAUDE_PROVIDERS, "gemini") and "claude" in name


def table_json(as_of: str, table: Mapping[str, Row]) -> str:
    """Write one vendor's table, one model a line."""
    lines = [
        f"{json.dumps(name)}:{_compact(table[name].entry() | {'as_of': as_of})}" for name in sorted(table)
    ]
    models = ",\n".join(lines)
    return f'{{"as_of":"{as_of}","models":{{\n{models}\n}}}}\n'


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def write(as_of: str, tables: Tables) -> None:
    """Replace the data files: one document after the other, and an index that says where each vendor's is.

    The index has each document's digest, so that any change shows in the price version.
    """
    vendors: dict[str, object] = {}
    documents = b""
    for vendor in sorted(tables):
        document = table_json(as_of, tables[vendor]).encode()
        vendors[vendor] = {
            "models": len(tables[vendor]),
            "offset": len(documents),
            "length": len(document),
            "sha256": hashlib.sha256(document).hexdigest(),
        }
        documents += document
    (DATA / "imported.json").write_bytes(documents)
    lines = ",\n".join(f"{json.dumps(vendor)}:{_compact(place)}" for vendor, place in vendors.items())
    head = _compact({"as_of": as_of, "aliases": {name: ALIASES[name] for name in sorted(ALIASES)}})
    (DATA / "index.json").write_text(f'{head[:-1]},"vendors":{{\n{lines}\n}}}}\n')


def main() -> None:
    """Generate everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as-of", required=True, help="the date of the catalogues, YYYY-MM-DD")
    parser.add_argument("--litellm-wheel", type=Path, help="a downloaded wheel; default: download the newest")
    arguments = parser.parse_args()
    version, catalogue = read_catalogue(arguments.litellm_wheel)
    tables: Tables = {}
    collect(read_genai(), tables)
    collect(read_litellm(version, catalogue), tables)
    write(arguments.as_of, tables)
    (DATA / "claude.json").write_text(claude_json((DATA / "claude.yaml").read_text()))
    (DATA / "crosscheck.json").write_text(crosscheck_json(version, arguments.as_of, catalogue))
    print(f"{sum(len(table) for table in tables.values())} models of {len(tables)} vendors")


if __name__ == "__main__":
    main()
