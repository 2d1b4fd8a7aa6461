"""The values of a graph by name: patterns of paths, and further outputs of a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from assembler.graph.core import ITEM, Graph, Node
from assembler.registry import lookup


def with_items(graph: Graph, names: Iterable[str]) -> Graph:
    """The graph in which every further output of a step that `names` names (`vq.commitment`) has a node of its own."""
    outputs = dict(graph.outputs)
    for name in names:
        owner, dot, item = name.rpartition(".")
        if not dot or name in outputs or name in graph.nodes or name in graph.names:
            continue
        source = graph.names.get(owner, owner)
        node = graph.nodes.get(source)
        made = lookup("op", node.op).outputs(dict(node.args)) if node else None
        if made and item == made[0]:
            graph = replace(graph, names={**graph.names, name: source})
        elif made is not None and (item in made or (not made and item.isdecimal())):
            read = Node(ITEM, (("output", item),), (("input", source),))
            graph = replace(graph, nodes={**graph.nodes, f"{source}.{item}": read})
            if source != owner:
                graph = replace(graph, names={**graph.names, name: f"{source}.{item}"})
    return graph


def covers(pattern: str, path: str) -> bool:
    """Whether a path is what a pattern names, or lies under it.

    >>> covers("stage.*.block", "stage.2.block.mix.weight")
    True
    """
    wanted, parts = pattern.split("."), path.split(".")
    return len(parts) >= len(wanted) and all(w in ("*", p) for w, p in zip(wanted, parts, strict=False))
