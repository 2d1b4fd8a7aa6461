"""More layers with the same function: Net2DeeperNet (Chen et al. 2016, arXiv:1511.05641)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.graph.edit import Slot, step
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.ops import AXES, BATCH_NORMS, ELEMENTWISE
from assembler.rewrites.view import View, free_id, inserted


@rewrite("deepen")
@dataclass(frozen=True)
class Deepen(Rewrite):
    """Insert after an activation a layer that starts as the identity, and the activation once more (Net2Net).

    Activations that leave their own values alone: relu and relu6. Maps get a convolution of `kernel_size`, an odd
    number; features get a linear layer.
    """

    keeps: ClassVar[bool] = True

    kernel_size: int = 3

    def __post_init__(self) -> None:
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise RecipeError(f"'kernel_size' of deepen must be an odd number above 0, not {self.kernel_size}")

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The activations behind a layer."""
        view = View(graph, types)
        return tuple(i for i, node in graph if node.op in ("relu", "relu6") and _layer(view, i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with `<at>_layer` and `<at>_again`."""
        node = graph.nodes[at]
        op = _layer(View(graph, types), at)
        shape = types[at].shape
        args: dict[str, object] = {"out": shape[1] if AXES[op] else shape[-1]}
        if AXES[op]:
            args |= {"kernel_size": self.kernel_size, "padding": self.kernel_size // 2}
        layer, again = free_id(graph, f"{at}_layer"), free_id(graph, f"{at}_again")
        block = {
            layer: replace(step(op, args, (at,)), span=node.span),
            again: replace(node, inputs=((node.inputs[0][0], layer),)),
        }
        return inserted(graph, Slot(at, (at,), node.sources[0], at), block, again)

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The identity."""
        layer = next(i for i in after.nodes if i not in before.nodes and after.nodes[i].op in AXES)
        node = after.nodes[layer]
        width, n = node.arg("out"), AXES[node.op]
        like = next(t for t in state.values() if t.is_floating_point())
        weight = like.new_zeros(width, width, *(self.kernel_size,) * n)
        middle = (self.kernel_size // 2,) * n
        for channel in range(width):
            weight[(channel, channel, *middle)] = 1
        return {f"{layer}.weight": weight, f"{layer}.bias": like.new_zeros(width)}


def _layer(view: View, i: str) -> str:
    """The op of the layer that a value comes from, through steps that keep its shape; "" where there is none."""
    nodes = view.graph.nodes
    shape = view.types[i].shape
    while i in nodes and len(nodes[i].inputs) == 1:
        node = nodes[i]
        if node.op in AXES:
            return node.op if node.op == "linear" or len(shape) == 2 + AXES[node.op] else ""
        if node.op not in (*ELEMENTWISE, *BATCH_NORMS, "layer_norm", "group_norm"):
            return ""
        i = node.sources[0]
    return ""
