"""Blocks that are one op, as the steps that they consist of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from assembler.graph.core import Graph, Node
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.view import View, argument, is_leaf, rewired, spliced

Part = tuple[str, str, dict[str, Any]]
"""Name, op and arguments of one step; it reads the one before it."""


@rewrite("expand")
@dataclass(frozen=True)
class Expand(Rewrite):
    """Lay out an op that is a block as steps, so that other rewrites can work on them: `conv_bn_act`, `mlp`, ...

    The steps have the names that the block's own layers have, so weights keep their keys.
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The blocks that can be laid out."""
        view = View(graph, types)
        return tuple(i for i, node in graph if node.op in _BLOCKS and view.free(i) and is_leaf(graph, i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the block's steps under its path."""
        node = graph.nodes[at]
        shape = types[node.sources[0]].shape
        width = shape[-1 if node.op == "mlp" else 1]
        block: dict[str, Node] = {}
        last = node.sources[0]
        for name, op, args in _BLOCKS[node.op](node, width):
            made = step(op, args, (last,))
            last = f"{at}.{name}"
            block[last] = replace(made, span=node.span, frozen=node.frozen)
        made_graph = rewired(graph, spliced(graph, at, block), {at: last}, tuple(block))
        return replace(made_graph, names={**made_graph.names, at: last})


def _conv(out: int, kernel_size: int = 1, stride: int = 1, groups: int = 1) -> dict[str, Any]:
    shape = {"out": out, "kernel_size": kernel_size, "padding": (kernel_size - 1) // 2}
    return {**shape, "stride": stride, "groups": groups, "bias": False}


def _act(node: Node) -> list[Part]:
    activation = argument(node, "activation")
    return [("act", activation, {})] if activation else []


def _conv_bn_act(node: Node, width: int) -> list[Part]:
    kernel, stride, groups = (argument(node, name) for name in ("kernel_size", "stride", "groups"))
    conv = _conv(argument(node, "out") or width, kernel, stride, groups)
    return [("conv", "conv2d", conv), ("norm", "batch_norm2d", {}), *_act(node)]


def _separable_conv(node: Node, width: int) -> list[Part]:
    depthwise = _conv(width, argument(node, "kernel_size"), argument(node, "stride"), width)
    pointwise = _conv(argument(node, "out") or width)
    convs: list[Part] = [("depthwise", "conv2d", depthwise), ("pointwise", "conv2d", pointwise)]
    return [*convs, ("norm", "batch_norm2d", {}), *_act(node)]


def _mlp(op: str, more: dict[str, Any]) -> Callable[[Node, int], list[Part]]:
    def parts(node: Node, width: int) -> list[Part]:
        hidden, out, p = int(width * argument(node, "ratio")), argument(node, "out"), argument(node, "dropout")
        drops: list[list[Part]] = [[(f"drop{n}", "dropout", {"p": p})] if p else [] for n in (1, 2)]
        first: Part = ("fc1", op, {"out": hidden, **more})
        second: Part = ("fc2", op, {"out": width if out is None else out, **more})
        return [first, *_act(node), *drops[0], second, *drops[1]]

    return parts


_BLOCKS: dict[str, Callable[[Node, int], list[Part]]] = {
    "conv_bn_act": _conv_bn_act,
    "separable_conv": _separable_conv,
    "mlp": _mlp("linear", {}),
    "conv_mlp": _mlp("conv2d", {"kernel_size": 1}),
}
