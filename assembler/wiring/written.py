"""Models whose graph is written out as text, as that of an imported one is: read, checked, and edited."""

from __future__ import annotations

import functools
from pathlib import Path

from assembler.errors import AssemblerError, GraphError, Problem
from assembler.graph.core import Graph
from assembler.graph.text import from_text
from assembler.graph.verify import verify
from assembler.recipe.notes import note_all
from assembler.recipe.values import Map
from assembler.registry import lookup
from assembler.resources import OPAQUE
from assembler.wiring.edits import Draft, edited


def written(tree: Map, text: str, problems: list[Problem], draft: Draft) -> Graph:
    """The graph of a recipe that holds it as `text`, with its `edits:` made; `draft` lays out the parts put in."""
    span = tree.get("graph").span
    try:
        graph = _verified(text, span.file if span else "<graph>")
    except GraphError as error:
        note_all(problems, error.problems)
        graph = Graph((), {}, ())
    return edited(graph, tree, problems, draft)


def _verified(text: str, file: str) -> Graph:
    graph = _read(text, file)
    check_code(graph, file)
    verify(graph)
    return graph


@functools.lru_cache(maxsize=8)
def _read(text: str, file: str) -> Graph:
    return from_text(text, file)


def check_code(graph: Graph, file: str) -> None:
    """Raise GraphError for steps that are Python modules whose code is not here, with how to bring it.

    `file` is the graph's; the plug-in file that `assembler import` wrote lies beside it.
    """
    prefix = f"{OPAQUE}."
    gone = {i: node.op for i, node in graph if node.op.startswith(prefix) and not _is_known(node.op)}
    if not gone:
        return
    plugin = Path(file).with_name(f"{OPAQUE}.py")
    hint = "import the model again in this process, from Python"
    if plugin.is_file():
        hint = f"--plugin {plugin} brings it: that file runs the code which the model was imported from"
    kinds = {i: op.removeprefix(prefix).rpartition("_")[0] for i, op in gone.items()}
    raise GraphError([
        Problem(f"step '{i}' is the Python module {kind}, whose code is not here", path=i, hint=hint)
        for i, kind in kinds.items()
    ])  # fmt: skip


def _is_known(op: str) -> bool:
    try:
        lookup("op", op)
    except AssemblerError:
        return False
    return True
