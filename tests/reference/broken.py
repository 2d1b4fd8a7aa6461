"""Random edits of graphs, most of which break them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from assembler.graph.core import Graph, Node, TensorType

OPS = (
    *("relu", "linear", "conv2d", "add", "sub", "concat", "item", "switch", "loop", "experts", "lstm", "chunk", "topk"),
    *(
        "embedding",
        "layer_norm",
        "attention",
        "batch_norm2d",
        "matmul",
        "reshape",
        "permute",
        "cross_entropy",
        "nothing",
    ),
    *("multihead_attention", "rearrange", "one_hot", "cast", "gather", "einsum", "", "Linear", "parameter", "mean"),
)
VALUES = (
    None,
    True,
    -1,
    0,
    1,
    2,
    3,
    10**6,
    0.5,
    -1e9,
    float("inf"),
    float("nan"),
    "",
    "x",
    "=1",
    (),
    (1, 2),
    (("a", 1),),
)
NAMES = ("out", "dim", "k", "bias", "kernel_size", "times", "carry", "scan", "index", "count", "output", "nothing", "p")
PORTS = ("input", "x", "0", "1", "2", "7", "a", "train", "h", "nothing", "")


@st.composite
def broken(draw: st.DrawFn, graph: Graph) -> Graph:
    """The graph after one to three random edits."""
    for _ in range(draw(st.integers(1, 3))):
        graph = draw(st.sampled_from(EDITS))(draw, graph)
    return graph


def _one(draw: st.DrawFn, choices: Any) -> Any:
    return draw(st.sampled_from(list(choices)))


def _id(draw: st.DrawFn, graph: Graph) -> str:
    return str(_one(draw, [*graph.nodes, *graph.input_names, "nothing", "s1", ""]))


def _changed(draw: st.DrawFn, graph: Graph, change: Callable[[Node], Node], which: str = "") -> Graph:
    fits = [i for i, node in graph if not which or getattr(node, which)]
    if not fits:
        return graph
    i = _one(draw, fits)
    return replace(graph, nodes={**graph.nodes, i: change(graph.nodes[i])})


def drop(draw: st.DrawFn, graph: Graph) -> Graph:
    gone = _one(draw, graph.nodes) if graph.nodes else ""
    return replace(graph, nodes={i: node for i, node in graph if i != gone})


def rewire(draw: st.DrawFn, graph: Graph) -> Graph:
    def change(node: Node) -> Node:
        at = draw(st.integers(0, len(node.inputs) - 1))
        edges = list(node.inputs)
        edges[at] = (edges[at][0], _id(draw, graph))
        return replace(node, inputs=tuple(edges))

    return _changed(draw, graph, change, "inputs")


def reop(draw: st.DrawFn, graph: Graph) -> Graph:
    return _changed(draw, graph, lambda node: replace(node, op=_one(draw, OPS)))


def argue(draw: st.DrawFn, graph: Graph) -> Graph:
    def change(node: Node) -> Node:
        name = _one(draw, [*dict(node.args), *NAMES])
        return replace(node, args=tuple(sorted({**dict(node.args), name: _one(draw, VALUES)}.items())))

    return _changed(draw, graph, change)


def unargue(draw: st.DrawFn, graph: Graph) -> Graph:
    return _changed(draw, graph, lambda node: replace(node, args=node.args[1:]), "args")


def report(draw: st.DrawFn, graph: Graph) -> Graph:
    def change(node: Node) -> Node:
        edges = [(_one(draw, [p, *PORTS]), s) for p, s in node.inputs]
        return replace(node, inputs=tuple(draw(st.sampled_from([edges, edges[1:], edges + edges[:1]]))))

    return _changed(draw, graph, change)


def reshare(draw: st.DrawFn, graph: Graph) -> Graph:
    def change(node: Node) -> Node:
        i = _id(draw, graph)
        share = _one(
            draw, [(("", i),), (("weight", f"{i}.weight"),), (("weight", i),), (("bias", f"{i}.nothing"),), ()]
        )
        return replace(node, share=share)

    return _changed(draw, graph, change)


def rebody(draw: st.DrawFn, graph: Graph) -> Graph:
    def change(node: Node) -> Node:
        body = node.body
        if body is None:
            return replace(node, body=Graph((("x", TensorType(())),), {}, (("y", "x"),)))
        kind = draw(st.integers(0, 4))
        if kind == 0:
            return replace(node, body=None)
        if kind == 1:
            return replace(node, body=replace(body, inputs=body.inputs[1:]))
        if kind == 2:
            return replace(node, body=replace(body, outputs=((_one(draw, PORTS), _id(draw, body)), *body.outputs[1:])))
        return replace(node, body=_one(draw, EDITS)(draw, body))

    return _changed(draw, graph, change, "body" if draw(st.booleans()) else "")


def refreeze(draw: st.DrawFn, graph: Graph) -> Graph:
    return _changed(draw, graph, lambda node: replace(node, frozen=not node.frozen))


def reonly(draw: st.DrawFn, graph: Graph) -> Graph:
    name = _one(draw, [*graph.input_names, *dict(graph.outputs), "nothing"])
    return replace(graph, only=(*graph.only, (name, _one(draw, ["train", "eval", "sometimes", ""]))))


def reoutput(draw: st.DrawFn, graph: Graph) -> Graph:
    name = _one(draw, [*dict(graph.outputs), "y.0", "y", "a b", "0"])
    extra = ((name, _id(draw, graph)),)
    return replace(graph, outputs=draw(st.sampled_from([(*graph.outputs, *extra), extra, ()])))


def reinput(draw: st.DrawFn, graph: Graph) -> Graph:
    name = _one(draw, [*graph.input_names, *graph.nodes, "new", "class", "x0.1"])
    kind = TensorType(
        _one(draw, [(2, 3), (), (0, 3), (2, 0), (2, -1), (2, 1.5), (2, 3, 4)]),
        _one(draw, ["float32", "int64", "bool", "x"]),
    )
    return replace(
        graph, inputs=draw(st.sampled_from([(*graph.inputs, (name, kind)), ((name, kind), *graph.inputs[1:]), ()]))
    )


def reorder(draw: st.DrawFn, graph: Graph) -> Graph:
    order = draw(st.permutations(list(graph.nodes)))
    return replace(graph, nodes={i: graph.nodes[i] for i in order})


def reid(draw: st.DrawFn, graph: Graph) -> Graph:
    new = _one(draw, [*graph.input_names, "forward", "a b", "_x", "train", "0", "s1.weight", ""])
    old = _one(draw, graph.nodes) if graph.nodes else ""
    return replace(graph, nodes={new if i == old else i: node for i, node in graph})


EDITS = (drop, rewire, rewire, reop, argue, argue, unargue, report, reshare, rebody, rebody, refreeze, reonly, reoutput,
         reinput, reorder, reid)  # fmt: skip
