"""Graphs by hand."""

from __future__ import annotations

from typing import Any

import torch

from assembler.errors import Span
from assembler.graph.core import Graph, Node, TensorType

torch.set_num_threads(1)


def node(op: str, *sources: str, port: str = "input", **args: Any) -> Node:
    """A step at a made-up place; several sources are those of a variadic op."""
    ports = [port] if len(sources) == 1 else [str(i) for i in range(len(sources))]
    span = Span("m.yaml", 7, 3, "  step: {}", 4)
    return Node(op, tuple(sorted(args.items())), tuple(zip(ports, sources, strict=True)), span)


def graph(nodes: dict[str, Node], **inputs: tuple[int, ...] | TensorType) -> Graph:
    """A graph whose output is its last step."""
    typed = tuple((n, t if isinstance(t, TensorType) else TensorType(t)) for n, t in inputs.items())
    return Graph(typed, nodes, (("y", list(nodes)[-1]),))


def chain(length: int, width: int = 16) -> Graph:
    """`length` steps: convolution, group norm, relu and a skip around the last two, over and over."""
    nodes: dict[str, Node] = {}
    source = "x"
    for i in range(length // 4):
        here = f"stage.{i}"
        nodes[f"{here}.conv"] = node("conv2d", source, kernel_size=3, out=width, padding=1)
        nodes[f"{here}.norm"] = node("group_norm", f"{here}.conv", num_groups=4)
        nodes[f"{here}.act"] = node("relu", f"{here}.norm")
        nodes[f"{here}.sum"] = node("add", f"{here}.act", f"{here}.conv")
        source = f"{here}.sum"
    return graph(nodes, x=(2, width, 8, 8))
