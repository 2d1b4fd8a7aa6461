"""Graphs as networkx graphs, for its algorithms and for drawing. Importing this module does not import networkx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assembler.graph.core import Graph

if TYPE_CHECKING:
    import networkx as nx


def to_networkx(graph: Graph) -> nx.MultiDiGraph[str]:
    """The graph as a networkx graph: one node per value, one edge per read, keyed by the input's name.

    Steps have `kind="step"`, `op` and `args` (a dict); inputs have `kind="input"` and `type` (a TensorType). The
    graph's own attributes are `name` and `outputs` (output name -> id).
    """
    import networkx as nx

    view: nx.MultiDiGraph[str] = nx.MultiDiGraph(name=graph.name, outputs=dict(graph.outputs))
    for name, kind in graph.inputs:
        view.add_node(name, kind="input", type=kind)
    for i, node in graph:
        view.add_node(i, kind="step", op=node.op, args=dict(node.args))
    for i, node in graph:
        for port, source in node.inputs:
            view.add_edge(source, i, key=port)
    return view
