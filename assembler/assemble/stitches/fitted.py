"""Stitch layers in closed form: the linear map that comes nearest, by least squares, to what another model says.

SN-Net (Pan et al. 2023, arXiv:2302.06586, section 3.2) begins its stitches so, with the pseudo-inverse.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from assembler.assemble.frozen import rows_of
from assembler.assemble.models import Model
from assembler.assemble.weights import Weights
from assembler.errors import GraphError
from assembler.graph.core import Graph, TensorType
from assembler.graph.edit import cut
from assembler.infer.shape import shapes
from assembler.train.data.core import Split

SAMPLES = 512
"""How many samples of the training split a stitch is fitted to."""
RIDGE = 1e-4
"""What is added to the covariance, relative to its mean variance: features that are never used have no say."""


def fitted_in(layer: str, seated: Model, others: Iterable[tuple[Model, str]], split: Split, seed: int) -> Weights:
    """Weights, by key, of the stitch that leads into a part: what enters a slot of another model is met.

    That is the first of `others`, models with their slots, in which as many features enter; without one the map is
    orthogonal, drawn by `seed`, so that lengths stay.
    """
    kind = shapes(seated.graph)[layer]
    for other, slot in others:
        value = _entering(other.graph, slot)
        if value and _features(shapes(other.graph)[value]) == _features(kind):
            return _fitted(layer, seated, other, value, split)
    weight = torch.empty_like(seated.weights[f"{layer}.weight"]).flatten(1)
    nn.init.orthogonal_(weight, generator=torch.Generator().manual_seed(seed))
    shape = seated.weights[f"{layer}.weight"].shape
    return {f"{layer}.weight": weight.reshape(shape), f"{layer}.bias": torch.zeros(shape[0])}


def fitted_out(layer: str, seated: Model, slot: str, host: Model, split: Split) -> Weights:
    """Weights, by key, of the stitch that leads out of a part: what the host itself has in the slot is met."""
    return _fitted(layer, seated, host, cut(host.graph, slot).output, split)


def _entering(graph: Graph, slot: str) -> str:
    """The value that enters a slot of a model, or "" where it has none such."""
    try:
        return cut(graph, slot).source
    except GraphError:
        return ""


def _fitted(layer: str, seated: Model, other: Model, value: str, split: Split) -> Weights:
    """The ridge regression of another model's value on what the layer reads, over samples and positions, in float64."""
    (source,) = seated.graph.nodes[layer].sources
    sums: dict[str, Tensor] = {}
    sides = ((seated, source), (other, value))
    both = (rows_of(model, i, split, _axis(shapes(model.graph)[i]), SAMPLES) for model, i in sides)
    for given, wanted in ((a.double(), b.double()) for a, b in zip(*both, strict=True)):
        ones = torch.cat([given, given.new_ones(len(given), 1)], dim=1)
        for name, product in (("xx", ones.T @ ones), ("xy", ones.T @ wanted)):
            sums[name] = sums[name] + product if name in sums else product
    solved = _solved(sums["xx"], sums["xy"]).float()
    shape = seated.weights[f"{layer}.weight"].shape
    return {f"{layer}.weight": solved[:-1].T.reshape(shape).contiguous(), f"{layer}.bias": solved[-1].clone()}


def _features(kind: TensorType) -> tuple[int, int]:
    """(positions, features) of one sample's value, be it a row, tokens or a map."""
    shape = kind.shape[1:]
    if len(shape) == 3:
        return shape[1] * shape[2], shape[0]
    return (shape[0], shape[1]) if len(shape) == 2 else (1, shape[-1])


def _axis(kind: TensorType) -> int:
    """Where a value of a slot has its features, as `stitched` takes it: a map [B, C, H, W] has them first."""
    return 1 if len(kind.shape) == 4 else -1


def _solved(xx: Tensor, xy: Tensor) -> Tensor:
    """The ridge regression of y on x, the constant last and not held back."""
    ridge = torch.full((len(xx),), RIDGE * float(xx.diagonal()[:-1].mean()), dtype=xx.dtype)
    ridge[-1] = 0
    solved: Tensor = torch.linalg.solve(xx + ridge.diag(), xy)
    return solved
