"""What to do where the data has another size than a model's input."""

from __future__ import annotations

from assembler.graph.core import Graph
from assembler.wiring.edits import SIZED


def size_hint(graph: Graph, name: str, theirs: tuple[int, ...], imported: str = "") -> str:
    """The way out for an input that the data has as `theirs`, without the batch: another shape for a recipe's own.

    That of an imported model has the size of its example; `imported` is its name there, where the caller knows it.
    """
    sized = any(node.op == SIZED and name in node.sources for node in graph.nodes.values())
    if not (there := imported or name * sized):
        return f"write inputs: {{{name}: [{', '.join(map(str, ('B', *theirs)))}]}}"
    ours = dict(graph.inputs)[name].shape[1:]
    if len(ours) != len(theirs):
        return f"the model was imported with '{there}' {list(ours)}: it takes data of that shape"
    axes = " ".join(f"--free {there}.{n + 1}" for n, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    return f"the model was imported at that size: take data of it, or import again with {axes}, or at the data's size"
