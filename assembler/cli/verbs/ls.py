"""`assembler ls`: what is shipped and registered."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from assembler import registry, resources
from assembler.cli import say
from assembler.errors import AssemblerError, InputError, near
from assembler.recipe.papers import is_paper, papers
from assembler.recipe.read import read_file
from assembler.recipe.values import plain
from assembler.registry import checks

KINDS = {
    "phases": "phase",
    "rewrites": "rewrite",
    "merges": "merge",
    "checks": "check",
    "losses": "loss",
    "datasets": "dataset",
    "samplers": "sampler",
    "proxies": "proxy",
    "pruners": "pruner",
    "optimizers": "optimizer",
}
_ALL = ("recipes", "papers", "spaces", *KINDS)
What = Annotated[
    str | None, typer.Argument(metavar="[" + "|".join(_ALL) + "]", help="What to list; everything if not given.")
]


def ls(what: What = None) -> dict[str, Any]:
    """List recipes, those of papers, spaces and registered things.

    Of a paper it tells the family, and what `assembler verify` measures. The registered things are phases, rewrites,
    merges, checks, losses, data sets, samplers, proxies of untrained models, pruners and optimisers. Ops have a verb of
    their own, `assembler ops`.

    \b
        assembler ls
        assembler ls samplers --plugin mine.py
    """
    if what is not None and what not in _ALL:
        raise InputError(f"there are no '{what}' to list", hint=near(what, _ALL) or ", ".join(_ALL))
    table = say.table("name", "kind", "about", left=3)
    found: dict[str, Any] = {}
    for section in (what,) if what else _ALL:
        if section == "papers":
            known = papers()
            rows = [(one.name, one.family, f"{one.title}; {one.status}") for one in known]
            found[section] = [one.data() for one in known]
        else:
            rows = _registered(KINDS[section]) if section in KINDS else _shipped(section)
            found[section] = [{"name": name, "kind": kind, "doc": doc} for name, kind, doc in rows]
        for row in rows:
            say.row(table, *row)
        table.add_section()
    say.show(table)
    return found


def _registered(kind: str) -> list[tuple[str, str, str]]:
    return [(name, kind, _about(registry.lookup(kind, name))) for name in registry.names(kind)]


def _about(entry: registry.Entry) -> str:
    said = sentence(entry.doc)
    if entry.kind != "rewrite":
        return said
    options = ", ".join(p.name if p.required else f"{p.name}={checks.shown(p.default)}" for p in entry.params)
    keeps = "keeps the function" if entry.option("keeps", True) else "changes the function"
    return f"{said}; {keeps}" + (f"; options {options}" if options else "")


def _shipped(section: str) -> list[tuple[str, str, str]]:
    rows = []
    for name, file in resources.shipped().items():
        if is_paper(file) or resources.root(section) not in file.parents:
            continue
        try:
            tree = plain(read_file(file))
            rows.append((name, str(tree.get("kind", "model")), str(tree.get("doc", ""))))
        except AssemblerError as error:
            rows.append((name, "?", error.problems[0].message))
    return rows


def sentence(doc: str) -> str:
    """The first sentence of a docstring."""
    first = " ".join(doc.split("\n\n")[0].split())
    return re.split(r"\.\s+(?=[A-Z`])", first)[0].rstrip(".")
