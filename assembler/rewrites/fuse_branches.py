"""Parallel layers to one: structural re-parameterisation (RepVGG, Ding et al. 2021, arXiv:2101.03697)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from assembler.graph.core import Graph, Node
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.fold_batch_norm import foldable, scale_and_shift
from assembler.rewrites.ops import AXES, has_bias, kernel, padding
from assembler.rewrites.view import View, argument, each, rewired

if TYPE_CHECKING:
    from torch import Tensor


@rewrite("fuse_branches")
@dataclass(frozen=True)
class FuseBranches(Rewrite):
    """Make one layer of a sum of parallel ones: 3x3 + 1x1 + identity, each with or without a batch norm (RepVGG).

    The layers agree in stride and groups and in where their outputs lie; the fused kernel is the largest of them.
    Parallel linear layers fuse as well. Exact in evaluation.
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The sums whose inputs can be fused."""
        view = View(graph, types)
        return tuple(i for i, node in graph if node.op == "add" and _fused(view, i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with one layer in the place of the sum and of what it adds."""
        view = View(graph, types)
        fused, branches = _fused(view, at), _branches(view, at)
        assert fused is not None
        gone = {i for b in branches for i in (b.layer, b.norm) if i}
        nodes = {i: fused if i == at else node for i, node in graph if i not in gone}
        return rewired(graph, nodes, {})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The fused kernel: all kernels, laid over each other where their outputs are."""
        from assembler.infer.shape import shapes

        types, node = shapes(before), after.nodes[at]
        branches = _branches(View(before, types), at)
        origin = types[node.sources[0]].shape
        channels = origin[1] if AXES[node.op] else origin[-1]
        like = next(state[f"{b.layer}.weight"] for b in branches if b.layer)
        groups = argument(node, "groups") or 1
        weight = like.new_zeros(argument(node, "out"), channels // groups, *kernel(node)).double()
        bias = weight.new_zeros(len(weight))
        for branch in branches:
            own, shift = _kernel(before, branch, weight, state)
            inner = tuple(
                slice((k - o) // 2, (k + o) // 2) for k, o in zip(weight.shape[2:], own.shape[2:], strict=True)
            )
            weight[(slice(None), slice(None), *inner)] += own
            bias += shift
        found = {f"{at}.weight": weight.to(like)}
        return found | ({f"{at}.bias": bias.to(like)} if has_bias(node) else {})


@dataclass(frozen=True)
class _Branch:
    """One input of a sum: a layer, a norm behind it, or neither (""), and the value that it starts from."""

    layer: str
    norm: str
    origin: str


def _branches(view: View, at: str) -> list[_Branch]:
    return [_branch(view, source, at) for source in view.graph.nodes[at].sources]


def _branch(view: View, value: str, reader: str) -> _Branch:
    nodes, layer, norm, start = view.graph.nodes, "", "", value
    if value in nodes and view.lone(value) == reader and foldable(view, value):
        norm, reader, value = value, value, nodes[value].sources[0]
    if value in nodes and nodes[value].op in AXES and view.lone(value) == reader and view.free(value):
        layer, value = value, nodes[value].sources[0]
    op = nodes[layer].op if layer else ""
    if norm and op == "linear" and len(view.types[layer].shape) != 2:  # then the norm is about another axis
        return _Branch("", "", start)
    return _Branch(layer, norm, value)


def _fused(view: View, at: str) -> Node | None:
    """The layer that a sum and what it adds can be fused to."""
    graph, branches = view.graph, _branches(view, at)
    layers = [graph.nodes[b.layer] for b in branches if b.layer]
    kinds = {view.types[s] for s in graph.nodes[at].sources}
    if not layers or len(branches) < 2 or len({b.origin for b in branches}) > 1 or kinds != {view.types[at]}:
        return None
    layout = _layout(layers, with_identity=len(layers) < len(branches))
    if layout is None or not view.free(at):
        return None
    args = layout | {"out": view.types[at].shape[1 if AXES[layers[0].op] else -1]}
    if not any(map(has_bias, layers)) and not any(b.norm for b in branches):
        args["bias"] = False
    parts = [graph.nodes[i] for b in branches for i in (b.layer, b.norm) if i]
    made = step(layers[0].op, args, (branches[0].origin,))
    return replace(made, span=graph.nodes[at].span, frozen=all(p.frozen for p in parts))


def _layout(layers: list[Node], *, with_identity: bool) -> dict[str, object] | None:
    """The arguments that fit all layers, but for `out` and `bias`; None where none do."""
    first = layers[0]
    n = AXES[first.op]
    if any(layer.op != first.op for layer in layers):
        return None
    if not n:
        return {}
    strides, groups = {each(argument(x, "stride"), n) for x in layers}, {argument(x, "groups") for x in layers}
    plain = all(argument(x, "padding_mode") == "zeros" and _undilated(x, n) for x in layers)
    pads = [padding(x) for x in layers]
    if not plain or len(strides) > 1 or len(groups) > 1 or None in pads:
        return None
    # Outputs lie alike where a kernel and the zeros around it come to the same: k - 2p.
    offsets = {
        tuple(k - 2 * p for k, p in zip(kernel(x), pad or (), strict=True)) for x, pad in zip(layers, pads, strict=True)
    }
    stride, size = strides.pop(), tuple(max(ks) for ks in zip(*map(kernel, layers), strict=True))
    if len(offsets) > 1 or (with_identity and (stride != (1,) * n or offsets != {(1,) * n})):
        return None
    pad = tuple((k - o) // 2 for k, o in zip(size, offsets.pop(), strict=True))
    return {"kernel_size": _one(size), "padding": _one(pad), "stride": _one(stride), "groups": groups.pop()}


def _undilated(node: Node, n: int) -> bool:
    return all(d == 1 or k == 1 for d, k in zip(each(argument(node, "dilation"), n), kernel(node), strict=True))


def _one(values: tuple[int, ...]) -> int | tuple[int, ...]:
    return values[0] if len(set(values)) == 1 else values


def _kernel(graph: Graph, branch: _Branch, like: Tensor, state: Weights) -> tuple[Tensor, Tensor]:
    """Kernel and shift of one branch, in double precision; `like` is the fused kernel."""
    if branch.layer:
        own = state[f"{branch.layer}.weight"].double()
        shift = state[f"{branch.layer}.bias"].double() if f"{branch.layer}.bias" in state else like.new_zeros(len(own))
    else:
        own = like.new_zeros(*like.shape[:2], *(1,) * (like.ndim - 2))
        rows = range(len(own))
        own[list(rows), [r % own.shape[1] for r in rows]] = 1
        shift = like.new_zeros(len(own))
    if not branch.norm:
        return own, shift
    scale, added = scale_and_shift(graph, branch.norm, state)
    return own * scale.reshape(-1, *(1,) * (own.ndim - 1)), shift * scale + added
