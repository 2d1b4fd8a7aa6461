"""What to do where the data has another size than a model's input."""

from __future__ import annotations

from dataclasses import replace

from assembler.graph.core import Graph
from assembler.infer.lengths import fixed_by
from assembler.wiring.edits import SIZED, fixed_axes


def size_hint(graph: Graph, name: str, theirs: tuple[int, ...], imported: str = "") -> str:
    """The way out for an input that the data has as `theirs`, without the batch: another shape for a recipe's own.

    That of an imported model has the size of its example, unless that is free; `imported` is its name there, where the
    caller knows it.
    """
    sized = any(node.op == SIZED and name in node.sources for node in graph.nodes.values())
    shape = f"[{', '.join(map(str, ('B', *theirs)))}]"
    if not (there := imported or name * sized):
        return f"write inputs: {{{name}: {shape}}}"
    kind = dict(graph.inputs)[name]
    if len(kind.shape) != len(theirs) + 1:
        return f"the model was imported with '{there}' {list(kind.shape[1:])}: it takes data of that shape"
    if axes := fixed_axes(graph, name, theirs):
        free = " ".join(f"--free {there}.{n}" for n in axes)
        return (
            f"the model was imported at that size: take data of it, or import again with {free}, or at the data's size"
        )
    if found := fixed_by(graph, {name: replace(kind, shape=(kind.shape[0], *theirs))}):
        return f"the model was imported at that size, which '{found[0]}' is made for: take data of it"
    return f"the model takes that size: write inputs.{name}: {shape} under set:"
