"""Small nets to rewrite: drawn ones of convolutions and linear layers, and how a module is run in double precision."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.graph.core import Graph, Node, TensorType
from assembler.rewrites.drive import rewritten
from assembler.rewrites.modules import filled
from assembler.rewrites.spec import order

torch.set_num_threads(1)


def step(op: str, *sources: str, port: str = "input", **args: object) -> Node:
    """A step by hand; several sources are those of a variadic op."""
    many = op in ("add", "mul", "concat", "weighted_sum")
    ports = [str(n) for n in range(len(sources))] if many else [port]
    return Node(op, tuple(sorted(args.items())), tuple(zip(ports, sources, strict=True)))  # type: ignore[arg-type]


class Drawing:
    """A net under construction: steps are appended to the value `last`."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.nodes: dict[str, Node] = {}
        self.last = "x"

    def put(self, name: str, op: str, source: str = "", **args: object) -> str:
        """Append a step and return its id."""
        i = f"{name}{len(self.nodes)}"
        self.nodes[i] = step(op, source or self.last, **args)
        self.last = i
        return i

    def join(self, *sources: str) -> None:
        """Append a sum."""
        i = f"sum{len(self.nodes)}"
        self.nodes[i] = step("add", *sources)
        self.last = i


def _conv(net: Drawing, width: int, source: str = "", *, kernels: tuple[int, ...] = (1, 3), groups: int = 1) -> str:
    k = net.draw(st.sampled_from(kernels))
    args: dict[str, object] = {"out": width, "kernel_size": k}
    args |= {"padding": k // 2} if k > 1 else {}
    args |= {"groups": groups} if groups > 1 else {}
    args |= {} if net.draw(st.booleans()) else {"bias": False}
    return net.put("conv", "conv2d", source, **args)


def _maybe_norm(net: Drawing) -> None:
    args = net.draw(st.sampled_from([{}, {"affine": False}, {"eps": 1e-3}, None]))
    if args is not None:
        net.put("norm", "batch_norm2d", **args)


def _maybe_act(net: Drawing) -> None:
    op = net.draw(st.sampled_from(["relu", "gelu", "relu6", "identity", None]))
    if op is not None:
        net.put("act", op)


def _branches(net: Drawing, width: int) -> None:
    """A sum of convolutions and the identity, each with or without a norm."""
    source, ends = net.last, []
    groups = net.draw(st.sampled_from([1, 2]))
    for kind in net.draw(st.lists(st.sampled_from(["conv", "norm", "identity"]), min_size=1, max_size=3)):
        net.last = source
        if kind == "conv":
            _conv(net, width, groups=groups)
            _maybe_norm(net)
        elif kind == "norm":
            net.put("norm", "batch_norm2d")
        ends.append(net.last)
    net.last = source
    _conv(net, width, groups=groups)
    net.join(*ends, net.last)


@st.composite
def conv_nets(draw: st.DrawFn) -> Graph:
    """A net on maps [2, 4, 6, 6] of plain, branched and residual pieces with batch norms, to three classes."""
    net = Drawing(draw)
    width = 4
    for piece in draw(
        st.lists(st.sampled_from(["plain", "branches", "residual", "norm_first", "twins"]), min_size=1, max_size=3)
    ):
        if piece == "branches":
            _branches(net, width)
        elif piece == "twins":
            source, ends = net.last, []
            for op in draw(st.sampled_from([("gelu", "gelu"), ("tanh", "tanh", "relu"), ("dropout", "dropout")])):
                ends.append(net.put("twin", op, source))
            net.join(*ends)
        elif piece == "residual":
            source = net.last
            _conv(net, width)
            _maybe_norm(net)
            net.join(source, net.last)
        else:
            width = draw(st.sampled_from([2, 4, 6]))
            if piece == "norm_first":
                net.put("norm", "batch_norm2d")
            _conv(net, width)
            _maybe_norm(net)
        _maybe_act(net)
    net.put("flat", draw(st.sampled_from(["flatten", "adaptive_avg_pool2d"])))
    if net.nodes[net.last].op == "adaptive_avg_pool2d":
        net.nodes[net.last] = step("adaptive_avg_pool2d", net.nodes[net.last].sources[0], output_size=1)
        net.put("flat", "flatten")
    net.put("head", "linear", out=3)
    return Graph((("x", TensorType((2, 4, 6, 6))),), net.nodes, (("y", net.last),), name="conv_net")


@st.composite
def mlps(draw: st.DrawFn) -> Graph:
    """An MLP on [2, 6] with norms, dropout and residuals, to three classes."""
    net = Drawing(draw)
    for width in draw(st.lists(st.sampled_from([6, 8]), min_size=1, max_size=3)):
        source = net.last
        net.put("fc", "linear", out=width, **draw(st.sampled_from([{}, {"bias": False}])))
        op = draw(st.sampled_from(["batch_norm1d", "layer_norm", None]))
        if op is not None:
            net.put("norm", op)
        net.put("act", draw(st.sampled_from(["relu", "gelu"])))
        p = draw(st.sampled_from([0.0, 0.3, None]))
        if p is not None:
            net.put("drop", "dropout", p=p)
        if draw(st.booleans()):
            inner = net.last
            net.put("fc", "linear", out=width)
            net.join(inner, net.last)
        del source
    net.put("head", "linear", out=3)
    return Graph((("x", TensorType((2, 6))),), net.nodes, (("y", net.last),), name="mlp")


def module_of(graph: Graph, seed: int = 0) -> nn.Module:
    """The module in double precision and evaluation mode, every tensor of it drawn anew, statistics too."""
    module = lower(graph).double().eval()
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=chance, dtype=torch.float64)
                tensor.copy_(drawn.abs() + 0.3 if name.endswith("running_var") else 0.5 * drawn)
    return module


def sample(graph: Graph, seed: int = 1) -> list[Tensor]:
    """Normal numbers for every input, in double precision."""
    chance = torch.Generator().manual_seed(seed)
    return [torch.randn(kind.shape, generator=chance, dtype=torch.float64) for _, kind in graph.inputs]


def applied(module: nn.Module, written: str | Mapping[str, object], at: str = "*") -> tuple[Graph, nn.Module]:
    """A module's graph and module after a rewrite, in evaluation mode."""
    wanted = order(written, at)
    graph, state = rewritten(module.meta["graph"], wanted.rewrite, module.state_dict(), wanted.at)  # type: ignore[index]
    assert state is not None
    return graph, filled(graph, state).eval()


def error(a: nn.Module, b: nn.Module, graph: Graph) -> float:
    """The largest difference of what two modules make of the same sample, relative to its size."""
    xs = sample(graph)
    with torch.no_grad():
        first, second = a(*xs), b(*xs)
    return float((first - second).abs().max() / first.abs().max().clamp_min(1.0))


def parameters(module: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in module.parameters())
