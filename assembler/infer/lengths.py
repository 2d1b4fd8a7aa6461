"""Which step ties a model to the sizes that its recipe was written for."""

from __future__ import annotations

from collections.abc import Mapping

from assembler.errors import AssemblerError
from assembler.graph.core import ITEM, Graph, Node, TensorType
from assembler.infer.shape import Refusal, Types, batched, item_type, shapes, signature, step_type, weight_sizes


def fixed_by(graph: Graph, inputs: Mapping[str, TensorType]) -> tuple[str, str] | None:
    """The first step that cannot take inputs of these types as it was built, and why; None where none is found.

    Such a step has weights of another shape for them, or would refuse them when it is built.
    """
    try:
        old = shapes(graph)
    except AssemblerError:
        return None
    new = {name: inputs.get(name, batched(name, kind)) for name, kind in graph.inputs}
    further: dict[str, dict[str, TensorType]] = {}
    for i, node in graph.nodes.items():
        given = tuple(new[s] for s in node.sources)
        if node.op == ITEM:
            found = item_type(graph, node, new, further[node.sources[0]])
            assert isinstance(found, TensorType)  # it has as many outputs as for the recipe's own sizes
            new[i] = found
            continue
        made = step_type(*signature(node, given))
        if isinstance(made, Refusal):
            return i, made.why
        if why := _other_weights(node, tuple(old[s] for s in node.sources), given):
            return i, why
        further[i], new[i] = dict(made), made[0][1]
    return None


def _other_weights(node: Node, before: Types, now: Types) -> str:
    if [t.shape[1:] for t in before] == [t.shape[1:] for t in now]:
        return ""
    have, need = weight_sizes(node, before), weight_sizes(node, now)
    wrong = next((name for name in have if have[name] != need.get(name)), None)
    return f"its '{wrong}' is {list(have[wrong])} and would be {list(need[wrong])}" if wrong else ""
