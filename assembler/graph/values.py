"""The values of a graph by name: patterns of paths, and further outputs of a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from assembler.graph.core import ITEM, Graph, Node
from assembler.graph.shares import owner_of
from assembler.registry import lookup


def with_items(graph: Graph, names: Iterable[str]) -> Graph:
    """The graph in which what `names` names of a step, beside its value, has a node of its own.

    It is a further output (`vq.commitment`) or a weight (`fc.weight`); whether there is such a weight is not known yet.
    """
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
        else:
            graph = _with_weight(graph, name)
    return graph


def matching(graph: Graph, pattern: str) -> list[str]:
    """The values that a pattern names, in order, `*` standing for one part: steps and containers, else what is of them.

    So `block.*` is one value a block, and `block.*.fc.weight` a weight of each.
    """
    known = dict.fromkeys([*graph.nodes, *graph.names])
    if found := [path for path in known if path.count(".") == pattern.count(".") and covers(pattern, path)]:
        return _in_order(graph, found)
    owner, dot, last = pattern.rpartition(".")
    names = [f"{path}.{last}" for path in matching(graph, owner)] if dot and "*" in owner else []
    more = with_items(graph, names)
    return [name for name in names if name in more.nodes or name in more.names]


def _in_order(graph: Graph, paths: list[str]) -> list[str]:
    at = {i: n for n, i in enumerate(graph.nodes)}
    return sorted(paths, key=lambda path: at.get(graph.names.get(path, path), -1))


def is_weight(graph: Graph, node: Node) -> bool:
    """Whether an `item` is a weight of the step that it is of: no output of it is called so."""
    source, name = graph.nodes.get(node.sources[0]), str(node.arg("output"))
    if source is None or source.op == ITEM or lookup("op", source.op).shape == "function":
        return False
    outputs = lookup("op", source.op).outputs(dict(source.args))
    return outputs is None or not (name in outputs or (not outputs and name.isdecimal()))


def _with_weight(graph: Graph, name: str) -> Graph:
    """The graph with a node for the weight of that name, unless no step can have it."""
    step, weight = owner_of(name, graph.nodes)
    read = Node(ITEM, (("output", weight),), (("input", step),))
    if not step or not weight or not is_weight(graph, read):
        return graph
    return replace(graph, nodes={**graph.nodes, name: read})


def covers(pattern: str, path: str) -> bool:
    """Whether a path is what a pattern names, or lies under it.

    >>> covers("stage.*.block", "stage.2.block.mix.weight")
    True
    """
    wanted, parts = pattern.split("."), path.split(".")
    return len(parts) >= len(wanted) and all(w in ("*", p) for w, p in zip(wanted, parts, strict=False))
