"""Batch norms into the layers beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from assembler.graph.core import Graph, Node
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.ops import AXES, BATCH_NORMS, TOKEN_NORM, TRANSPOSED, padding, with_bias
from assembler.rewrites.view import View, argument, rewired

if TYPE_CHECKING:
    from torch import Tensor


@rewrite("fold_batch_norm")
@dataclass(frozen=True)
class FoldBatchNorm(Rewrite):
    """Fold a batch norm into the linear layer or convolution before it, or after it where that is exact.

    Exact in evaluation, where a batch norm is a scale and a shift. Into the layer after it only where no padding with
    zeros comes between. A layer that something else reads as well is left alone. The skip of a `token_batch_norm` goes
    with it (RepBN; SLAB, Guo et al. 2024, arXiv:2405.11582).
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The batch norms that can be folded."""
        view = View(graph, types)
        return tuple(i for i, node in graph if node.op in (*BATCH_NORMS, TOKEN_NORM) and _layer(view, i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph without the norm, its neighbour with a bias."""
        layer, norm = _layer(View(graph, types), at), graph.nodes[at]
        old = graph.nodes[layer]
        new = replace(old, args=with_bias(old), frozen=old.frozen and norm.frozen)
        nodes = {i: new if i == layer else node for i, node in graph if i != at}
        return rewired(graph, nodes, {at: norm.sources[0]})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The neighbour's weight and bias."""
        from assembler.infer.shape import shapes

        layer = _layer(View(before, shapes(before)), at)
        scale, shift = scale_and_shift(before, at, state)
        weight = state[f"{layer}.weight"]
        bias = state[f"{layer}.bias"].double() if f"{layer}.bias" in state else None
        fold = _into_next if layer not in before.nodes[at].sources else _into_previous
        groups = argument(before.nodes[layer], "groups") or 1
        found = fold(weight.double(), bias, scale, shift, groups, before.nodes[layer].op in TRANSPOSED)
        return {f"{layer}.weight": found[0].to(weight), f"{layer}.bias": found[1].to(weight)}


def foldable(view: View, i: str) -> bool:
    """Whether a step is a batch norm that is a fixed scale and shift in evaluation, with weights of its own."""
    node = view.graph.nodes[i]
    return node.op in BATCH_NORMS and argument(node, "track_running_stats") is True and view.free(i)


def scale_and_shift(graph: Graph, norm: str, state: Weights) -> tuple[Tensor, Tensor]:
    """What a batch norm multiplies and adds in evaluation, one number a channel, in double precision."""
    mean, var = (state[f"{norm}.running_{name}"].double() for name in ("mean", "var"))
    scale = (var + argument(graph.nodes[norm], "eps")).rsqrt()
    if f"{norm}.weight" in state:
        scale = scale * state[f"{norm}.weight"].double()
    shift = -mean * scale
    if f"{norm}.skip" in state:
        scale = scale + state[f"{norm}.skip"].double()
    return scale, shift + state[f"{norm}.bias"].double() if f"{norm}.bias" in state else shift


def _layer(view: View, norm: str) -> str:
    """The layer that a batch norm can be folded into, or ""."""
    if not (foldable(view, norm) or (view.graph.nodes[norm].op == TOKEN_NORM and view.free(norm))):
        return ""
    graph, before, after = view.graph, view.graph.nodes[norm].sources[0], view.lone(norm)
    if before in graph.nodes and graph.nodes[before].op in {**AXES, **TRANSPOSED}:
        fits = view.lone(before) == norm and view.free(before) and _has_channels(view, norm, before)
        if fits:
            return before
    if after and graph.nodes[after].op in AXES:
        fits = view.free(after) and _has_channels(view, norm, after) and not _adds_zeros(graph.nodes[after])
        return after if fits else ""
    return ""


def _adds_zeros(layer: Node) -> bool:
    if not AXES[layer.op] or argument(layer, "padding_mode") != "zeros":
        return False
    zeros = padding(layer)
    return zeros is None or any(zeros)


def _has_channels(view: View, norm: str, layer: str) -> bool:
    """Whether the axis that a batch norm is about is the layer's axis of features."""
    axes = {**AXES, **TRANSPOSED}[view.graph.nodes[layer].op]
    if view.graph.nodes[norm].op == TOKEN_NORM:
        return not axes
    return len(view.types[norm].shape) == 2 + axes


def _into_previous(
    weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor, groups: int, transposed: bool
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer whose outputs are then scaled and shifted."""
    if transposed:  # [in, out / groups, *kernel]
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        factor = scale.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))
        new = (grouped * factor).reshape(weight.shape)
    else:
        new = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return new, shift if bias is None else bias * scale + shift


def _into_next(
    weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor, groups: int, transposed: bool
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer whose inputs were scaled and shifted before."""
    assert not transposed
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    by_group = (groups, 1, -1, *(1,) * (weight.ndim - 2))
    added = (grouped * shift.reshape(by_group)).flatten(2).sum(2).flatten()
    new = (grouped * scale.reshape(by_group)).reshape(weight.shape)
    return new, added if bias is None else bias + added
