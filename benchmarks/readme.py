"""The README's generated tables, of shipped recipes and of figures; `python -m benchmarks.readme` writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from assembler import resources
from assembler.recipe.read import read_file
from assembler.recipe.values import plain

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results.json")


def tables() -> dict[str, str]:
    """Each table's Markdown by its name in the README."""
    return {"recipes": _recipes(), "figures": _figures()}


def _recipes() -> str:
    rows = ["| recipe | kind | what |", "| --- | --- | --- |"]
    for name, file in resources.shipped().items():
        tree = plain(read_file(file))
        rows.append(f"| `{name}` | {tree['kind']} | {tree.get('doc', '')} |")
    return "\n".join(rows) + "\n"


def _figures() -> str:
    rows = ["| bench | figure | value | spread | goal | holds |", "| --- | --- | --- | --- | --- | --- |"]
    for name, found in json.loads(RESULTS.read_text()).items():
        for one in found["figures"]:
            holds = "yes" if one["holds"] else "**no**"
            rows.append(
                f"| {name} | {one['name']} | {one['value']:.2f} | {one['spread']:.2f} | {one['goal']} | {holds} |"
            )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write the tables into README.md."""
    file = ROOT / "README.md"
    text = file.read_text(encoding="utf-8")
    for name, table in tables().items():
        text = re.sub(
            rf"<!-- table: {name} -->\n(?:.*?<!-- end -->)?",
            lambda _, n=name, t=table: f"<!-- table: {n} -->\n{t}<!-- end -->",
            text,
            flags=re.DOTALL,
        )
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
