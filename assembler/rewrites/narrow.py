"""Fewer channels: those that matter least are left out, in the layer that makes them and in those that read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from assembler.errors import GraphError, RecipeError
from assembler.graph.core import Graph, Node
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Values, Weights
from assembler.rewrites.ops import features, is_dense
from assembler.rewrites.view import View, argument, rewired
from assembler.rewrites.widths import followed, reach

if TYPE_CHECKING:
    from torch import Tensor

_GROUPED = ("group_norm",)


@rewrite("narrow")
@dataclass(frozen=True)
class Narrow(Rewrite):
    """Keep so many channels of a layer, `out` or the share `factor`, in their order; the most important ones.

    By `weights` a channel counts as much as the norm of the weights that make it times that of those that read it (Li
    et al. 2017, arXiv:1608.08710); by `values`, in a run, as what reads it gets of it on samples of the training split:
    its root mean square times the norm of the weights that read it (Wanda, Sun et al. 2024, arXiv:2306.11695).
    """

    keeps: ClassVar[bool] = False

    factor: float = 0.5
    out: int | None = None
    by: Literal["weights", "values"] = "weights"
    _values: Values | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise RecipeError(f"'factor' of narrow must be above 0 and below 1, not {self.factor}")
        if self.out is not None and self.out < 1:
            raise RecipeError(f"'out' of narrow must be at least 1, not {self.out}")

    @property
    def needs_values(self) -> bool:
        """Whether the values of the layer on data decide."""
        return self.by == "values"

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The layers whose channels can be followed to the layers that read them."""
        view = View(graph, types)
        return tuple(i for i, node in graph if is_dense(node) and view.free(i) and self._fits(view, i))

    def hindrance(self, graph: Graph, types: Types, at: str) -> str:
        """The step past which a layer's channels cannot be followed."""
        view = View(graph, types)
        end = followed(view, at).end if is_dense(graph.nodes[at]) else None
        if end is None:
            return ""
        return f"its channels cannot be followed past '{end}'" if end else "its channels are those of an output"

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with another `out`; everything else follows from it."""
        node = graph.nodes[at]
        args = {**dict(node.args), "out": self._width(int(argument(node, "out")))}
        thinner = replace(node, args=step(node.op, args, node.sources, node).args)
        return rewired(graph, {i: thinner if i == at else old for i, old in graph}, {})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The channels that stay, and in what reads them their columns."""
        from assembler.infer.shape import shapes

        found = reach(View(before, shapes(before)), at)
        assert found is not None
        old, new = (int(argument(g.nodes[at], "out")) for g in (before, after))
        scores = self._scores(before, at, state, found.consumers)
        kept = scores.topk(new).indices.sort().values
        made: dict[str, Tensor] = {}
        for i in (at, *found.norms):
            keys = (k for k in state if k.rpartition(".")[0] == i and state[k].ndim and len(state[k]) == old)
            made |= {k: state[k][kept] for k in keys}
        for i, block in found.consumers.items():
            weight = state[f"{i}.weight"]
            rows = weight.reshape(len(weight), old, block, *weight.shape[2:])[:, kept]
            made[f"{i}.weight"] = rows.reshape(len(weight), new * block, *weight.shape[2:])
        return made

    def _scores(self, before: Graph, at: str, state: Weights, consumers: Mapping[str, int]) -> Tensor:
        """How much every channel counts, squared [out]."""
        import torch  # a lint reads this file without it

        made = state[f"{at}.weight"].detach().double()
        found = torch.zeros(len(made), dtype=torch.float64, device=made.device)
        for i, block in consumers.items():
            into = state[f"{i}.weight"].detach().double()
            reads = into.reshape(len(into), len(made), block, -1).square().sum((0, 3))
            if self.by == "values":
                reads = reads * self._seen(before.nodes[i], at).reshape(len(made), block).to(made.device)
            found += reads.sum(1)
        return found if self.by == "values" else found * made.flatten(1).square().sum(1)

    def _seen(self, reader: Node, at: str) -> Tensor:
        """The mean square of each feature that a layer reads."""
        if self._values is None:
            raise GraphError("narrow by values needs data", path=at, hint="say it in a phase `rewrite` of a run")
        return self._values(reader.sources[0], features(reader.op)).double().square().mean(0)

    def _width(self, old: int) -> int:
        return self.out if self.out is not None else max(1, math.floor(old * self.factor))

    def _fits(self, view: View, i: str) -> bool:
        old = int(argument(view.graph.nodes[i], "out"))
        found = reach(view, i)
        norms = (view.graph.nodes[n].op for n in found.norms) if found is not None else ()
        return found is not None and self._width(old) < old and not any(op in _GROUPED for op in norms)
