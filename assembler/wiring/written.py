"""Models whose graph is written out as text, as that of an imported one is: read, checked, and edited."""

from __future__ import annotations

import functools

from assembler.errors import GraphError, Problem
from assembler.graph.core import Graph
from assembler.graph.text import from_text
from assembler.graph.verify import verify
from assembler.recipe.notes import note_all
from assembler.recipe.values import Map
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


@functools.lru_cache(maxsize=8)
def _verified(text: str, file: str) -> Graph:
    graph = from_text(text, file)
    verify(graph)
    return graph
