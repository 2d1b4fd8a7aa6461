"""Layers to two thinner ones, by the singular value decomposition of their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from assembler.errors import GraphError, RecipeError
from assembler.graph.core import Graph, Node
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.ops import AXES, has_bias, is_dense, kernel
from assembler.rewrites.view import View, argument, is_leaf, rewired, spliced

if TYPE_CHECKING:
    from torch import Tensor


@rewrite("low_rank")
@dataclass(frozen=True)
class LowRank(Rewrite):
    """Factorise a linear layer or convolution: `reduce` to a few channels, then `expand` them (a 1x1 convolution).

    How many: `rank` itself; the least that holds the share `energy` of the squared singular values; or as many as the
    share `ratio` of the weight's size allows. Give one of them. The nearest matrix of that rank is taken (Eckart and
    Young, 1936; for kernels Zhang et al. 2016, arXiv:1505.06798), so full rank computes the same.
    """

    keeps: ClassVar[bool] = False

    rank: int | None = None
    energy: float | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        given = {name: v for name in ("rank", "energy", "ratio") if (v := getattr(self, name)) is not None}
        if len(given) != 1:
            said = f"low_rank takes one of rank, energy and ratio, and {' and '.join(given) or 'none'} is given"
            raise RecipeError(said, hint="for instance {rewrite: low_rank, rank: 8}")
        (name, value), *_ = given.items()
        if name == "rank" and value < 1:
            raise RecipeError(f"'rank' of low_rank must be at least 1, not {value}")
        if name != "rank" and not 0 < value <= 1:
            raise RecipeError(f"'{name}' of low_rank must be above 0 and at most 1, not {value}")

    @property
    def needs_weights(self) -> bool:
        """Whether the singular values decide on the rank."""
        return self.energy is not None

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """Linear layers and convolutions without groups, with weights of their own, of at least that rank."""
        view = View(graph, types)
        found = (i for i, node in graph if is_dense(node) and view.free(i) and is_leaf(graph, i))
        return tuple(i for i in found if (self.rank or 1) <= min(_size(graph.nodes[i], types)))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with two layers under the path of the one."""
        node = graph.nodes[at]
        rank = self._rank(node, types, at, state)
        first, last = f"{at}.reduce", f"{at}.expand"
        args = dict(node.args)
        thin = step(node.op, {**args, "out": rank, "bias": False}, node.sources, node)
        wide: dict[str, object] = {"out": args["out"], "bias": has_bias(node)}
        if AXES[node.op]:
            wide["kernel_size"] = 1
        block = {first: thin, last: replace(step(node.op, wide, (first,)), span=node.span)}
        block = {i: replace(made, frozen=node.frozen) for i, made in block.items()}
        made = rewired(graph, spliced(graph, at, block), {at: last}, (last,))
        return replace(made, names={**made.names, at: last})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The two factors, the singular values shared evenly between them."""
        weight = state[f"{at}.weight"]
        rank = argument(after.nodes[f"{at}.reduce"], "out")
        left, values, right = _svd(weight)
        root = values[:rank].sqrt()
        first = (root[:, None] * right[:rank]).reshape(rank, *weight.shape[1:])
        last = (left[:, :rank] * root).reshape(-1, rank, *(1,) * (weight.ndim - 2))
        found = {f"{at}.reduce.weight": first.to(weight), f"{at}.expand.weight": last.to(weight)}
        return found | ({f"{at}.expand.bias": state[f"{at}.bias"]} if f"{at}.bias" in state else {})

    def _rank(self, node: Node, types: Types, at: str, state: Weights | None) -> int:
        rows, columns = _size(node, types)
        if self.rank is not None:
            return self.rank
        if self.ratio is not None:
            return min(max(1, math.floor(self.ratio * rows * columns / (rows + columns))), rows, columns)
        if state is None:
            raise GraphError(f"low_rank by energy needs the weights of '{at}'", path=at, hint="give rank or ratio")
        assert self.energy is not None
        shares = _svd(state[f"{at}.weight"])[1].square().cumsum(0)
        return int((shares < self.energy * shares[-1] * (1 - 1e-12)).sum()) + 1


def _size(node: Node, types: Types) -> tuple[int, int]:
    """Rows and columns of a layer's weight as a matrix: [out, in * kernel]."""
    shape = types[node.sources[0]].shape
    channels = shape[1] if AXES[node.op] else shape[-1]
    return int(argument(node, "out")), channels * math.prod(kernel(node))


def _svd(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The decomposition of a weight as a matrix, in double precision."""
    import torch

    left, values, right = torch.linalg.svd(weight.detach().double().flatten(1), full_matrices=False)
    return left, values, right
