"""Graphs by hand; `hybrid` holds residuals, arms joined by a step with weights, functions and two outputs."""

from __future__ import annotations

from typing import Any

import torch

from assembler.graph.core import Graph, Node, TensorType

torch.set_num_threads(1)


def node(op: str, *sources: str, **args: Any) -> Node:
    """A step by hand; several sources are those of a variadic op."""
    port = "input" if op in ("conv2d", "relu", "group_norm", "batch_norm2d", "linear", "layer_norm", "gelu") else "x"
    ports = [port] if len(sources) == 1 else [str(i) for i in range(len(sources))]
    return Node(op, tuple(sorted(args.items())), tuple(zip(ports, sources, strict=True)))


def vit_block(path: str, source: str) -> dict[str, Node]:
    """A pre-norm transformer block whose sums stand at the containers' own paths."""
    return {
        f"{path}.mix.norm": node("layer_norm", source),
        f"{path}.mix.token": Node("attention", (("num_heads", 2),), (("x", f"{path}.mix.norm"),)),
        f"{path}.mix.scale": node("layer_scale", f"{path}.mix.token", init=0.5),
        f"{path}.mix": node("add", source, f"{path}.mix.scale"),
        f"{path}.mlp.norm": node("layer_norm", f"{path}.mix"),
        f"{path}.mlp.ffn": node("mlp", f"{path}.mlp.norm", ratio=2.0),
        f"{path}.mlp.drop": node("drop_path", f"{path}.mlp.ffn", p=0.2),
        f"{path}.mlp": node("add", f"{path}.mix", f"{path}.mlp.drop"),
    }


def hybrid() -> Graph:
    """Maps [B, 3, 16, 16] -> convolutional stage with learned join -> two transformer blocks -> two outputs."""
    nodes = {
        "stem": node("conv2d", "image", out=16, kernel_size=3, padding=1),
        "0": node("batch_norm2d", "stem"),
        "ctx.pool": node("pool", "0"),
        "ctx.local": node("dwconv", "0"),
        "ctx": node("weighted_sum", "ctx.pool", "ctx.local"),
        "act": node("relu", "ctx"),
        "tokens.patch": node("patch_embed", "act", out=24, patch_size=4),
        "tokens.pos": node("learned_position", "tokens.patch"),
        **vit_block("stage.0", "tokens.pos"),
        **vit_block("stage.1", "stage.0.mlp"),
        "gap": node("token_pool", "stage.1.mlp"),
        "tap": node("global_avg_pool", "act"),
        "cat": node("concat", "gap", "tap"),
        "head": node("linear", "cat", out=10),
    }
    inputs = (("image", TensorType((2, 3, 16, 16))),)
    return Graph(inputs, nodes, (("logits", "head"), ("feature", "cat")), name="hybrid")


def plain(nodes: dict[str, Node], *shape: int) -> Graph:
    """A graph of one input `x` and the last step as its output."""
    return Graph((("x", TensorType(shape)),), nodes, (("y", list(nodes)[-1]),))


def chain(length: int, width: int = 16) -> Graph:
    """`length` steps in stages of four: convolution, group norm, relu and a skip around the last two."""
    nodes: dict[str, Node] = {}
    source = "x"
    for i in range(length // 4):
        here = f"stage.{i}"
        nodes[f"{here}.conv"] = node("conv2d", source, kernel_size=3, out=width, padding=1)
        nodes[f"{here}.norm"] = node("group_norm", f"{here}.conv", num_groups=4)
        nodes[f"{here}.act"] = node("relu", f"{here}.norm")
        nodes[f"{here}.sum"] = node("add", f"{here}.act", f"{here}.conv")
        source = f"{here}.sum"
    return plain(nodes, 2, width, 8, 8)
