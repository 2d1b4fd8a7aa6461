"""Batch norms with a learned skip to plain ones (RepBN; SLAB, Guo et al. 2024, arXiv:2405.11582)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from assembler.graph.core import Graph
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.ops import TOKEN_NORM
from assembler.rewrites.view import View, argument, rewired


@rewrite("fold_norm_skip")
@dataclass(frozen=True)
class FoldNormSkip(Rewrite):
    """Make a batch norm with a learned skip a plain one: with deviation s and mean m, weight + skip s, bias + skip m.

    Exact in evaluation. `fold_batch_norm` folds either kind into the layer that reads it.
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The batch norms with a skip."""
        view = View(graph, types)
        return tuple(i for i, n in graph if n.op == TOKEN_NORM and argument(n, "skip") and view.free(i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with the norm without its skip."""
        old = graph.nodes[at]
        args = tuple((name, value) for name, value in old.args if name != "skip")
        init = tuple(rule for rule in old.init if rule[0] != "skip")
        return rewired(graph, {i: replace(n, args=args, init=init) if i == at else n for i, n in graph}, {})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The plain norm's weight and bias; its statistics are the old ones."""
        own = {name: state[f"{at}.{name}"] for name in ("weight", "bias", "skip", "running_mean", "running_var")}
        spread = (own["running_var"].double() + argument(before.nodes[at], "eps")).sqrt()
        skip = own["skip"].double()
        weight = own["weight"].double() + skip * spread
        bias = own["bias"].double() + skip * own["running_mean"].double()
        return {f"{at}.weight": weight.to(own["weight"]), f"{at}.bias": bias.to(own["bias"])}
