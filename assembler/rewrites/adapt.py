"""Adapters beside layers of a trained model, and the way back to plain layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from assembler.graph.core import Graph, Node
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.arguments import Arguments, checked
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.ops import has_bias
from assembler.rewrites.swap_op import made_by
from assembler.rewrites.view import View, argument, is_leaf, rewired, spliced

FACTORED = ("low_rank_linear", "kronecker_linear")
"""Linear layers whose weight is a product of others."""
BEGIN_AT_ZERO = (*FACTORED, "zero_linear", "zero_conv2d", "zero")


@rewrite("adapt")
@dataclass(frozen=True)
class Adapt(Rewrite):
    """Put an adapter beside a linear layer or convolution: what the layer, `base`, and the `adapter` make is added up.

    `op` is the adapter, by default `low_rank_linear` (LoRA); it gets the layer's `out`. Those that begin at zero keep
    the function. Train `*.adapter` alone (`trained:`); `merge_adapters` is the way back.
    """

    keeps: ClassVar[bool] = True

    op: str = "low_rank_linear"
    args: Mapping[str, Any] = field(default_factory=Arguments)

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", checked(self.op, self.args))

    @property
    def keeps_function(self) -> bool:
        """Whether the adapter begins by adding nothing."""
        return self.op in BEGIN_AT_ZERO

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The layers with a weight matrix beside which the adapter fits."""
        view = View(graph, types)
        layers = ("linear", "conv1d", "conv2d", "conv3d")
        found = (i for i, node in graph if node.op in layers and is_leaf(graph, i) and view.free(i))
        return tuple(
            i for i in found if made_by(self._new(graph.nodes[i]), (types[graph.nodes[i].sources[0]],)) == types[i]
        )

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with `base`, `adapter` and `sum` under the path of the layer."""
        node = graph.nodes[at]
        base, adapter, last = f"{at}.base", f"{at}.adapter", f"{at}.sum"
        block = {base: node, adapter: self._new(node), last: replace(step("add", {}, (base, adapter)), span=node.span)}
        made = rewired(graph, spliced(graph, at, block), {at: last}, (last,))
        return replace(made, names={**made.names, at: last})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The layer's own weights, under their new path."""
        return {f"{at}.base.{key}": state[f"{at}.{key}"] for key in ("weight", "bias") if f"{at}.{key}" in state}

    def _new(self, node: Node) -> Node:
        takes_out = any(p.name == "out" for p in _params(self.op))
        args = {**({"out": argument(node, "out")} if takes_out else {}), **self.args}
        return replace(step(self.op, args, node.sources), span=node.span)


@rewrite("merge_adapters")
@dataclass(frozen=True)
class MergeAdapters(Rewrite):
    """Make one linear layer of a linear layer and what `adapt` put beside it: their weights are added up.

    The layer has the path and the name of its weight that it had before, so that the merged model is the one that was
    adapted, with other weights.
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The sums of a linear layer and of linear adapters beside it."""
        view = View(graph, types)
        return tuple(i for i, node in graph if node.op == "add" and _layers(view, i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with one linear layer in their place."""
        layers = _layers(View(graph, types), at)
        place, base = _place(graph, at, layers), graph.nodes[layers[0]]
        nodes = {place if i == at else i: base if i == at else node for i, node in graph if i not in layers}
        made = rewired(graph, nodes, {at: place} if place != at else {})
        return replace(made, names={path: i for path, i in made.names.items() if path not in nodes})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The sum of the weights: an adapter's is what it makes of the unit vectors."""
        import torch

        from assembler.compile.lower import lower
        from assembler.infer.shape import shapes
        from assembler.rewrites.traits import alone

        types = shapes(before)
        base, *adapters = _layers(View(before, types), at)
        place, weight = _place(before, at, [base, *adapters]), state[f"{base}.weight"].double()
        for i in adapters:
            node = before.nodes[i]
            module = lower(alone(node, tuple(types[s] for s in node.sources), i)).double().eval()
            module.load_state_dict({key: t.double() for key, t in state.items() if key.startswith(f"{i}.")})
            unit = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
            with torch.no_grad():
                weight = weight + module.to(unit.device)(unit).T
        bias = {f"{place}.bias": state[f"{base}.bias"]} if f"{base}.bias" in state else {}
        return {f"{place}.weight": weight.to(state[f"{base}.weight"]), **bias}


def _layers(view: View, at: str) -> list[str]:
    """The steps that a sum adds up, the linear layer first, if they can be one linear layer; else none."""
    nodes = view.graph.nodes
    steps = [s for s in nodes[at].sources if s in nodes and view.lone(s) == at and view.free(s)]
    base = [i for i in steps if nodes[i].op == "linear"][:1]
    adapters = [i for i in steps if nodes[i].op in (*FACTORED, "linear") and not has_bias(nodes[i])]
    found = base + [i for i in adapters if i not in base]
    whole = len(found) > 1 and len(found) == len(nodes[at].sources) and len({nodes[i].sources for i in found}) == 1
    return found if whole else []


def _place(graph: Graph, at: str, layers: list[str]) -> str:
    """The path of the container of a sum and its layers if they are all that it holds, else that of the sum."""
    path = at.rpartition(".")[0]
    return path if path and set(graph.region(path)) == {at, *layers} else at


def _params(op: str) -> tuple[Any, ...]:
    from assembler.registry import lookup

    return lookup("op", op).params
