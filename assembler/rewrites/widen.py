"""More channels with the same function: Net2WiderNet (Chen et al. 2016, arXiv:1511.05641)."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.graph.edit import step
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.ops import AXES, is_dense
from assembler.rewrites.view import View, argument, rewired
from assembler.rewrites.widths import Reach, followed, reach

if TYPE_CHECKING:
    from torch import Tensor


@rewrite("widen")
@dataclass(frozen=True)
class Widen(Rewrite):
    """Give a layer more channels, copies of those that it has (Net2Net); what reads them shares them out.

    To `out` channels, or `factor` times as many. Activations, pools, flattening and norms may lie between; a norm over
    all channels only where every channel gets equally many copies. The copies' shares are drawn at random, so that
    training tells copies apart without noise on the function. Exact in evaluation.
    """

    keeps: ClassVar[bool] = True

    factor: float = 2.0
    out: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.factor > 1 or not math.isfinite(self.factor):
            raise RecipeError(f"'factor' of widen must be above 1, not {self.factor}")
        if self.out is not None and self.out < 2:
            raise RecipeError(f"'out' of widen must be at least 2, not {self.out}")

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The layers whose channels can be followed to the layers that read them."""
        view = View(graph, types)
        return tuple(i for i, node in graph if is_dense(node) and view.free(i) and self._fits(view, i))

    def hindrance(self, graph: Graph, types: Types, at: str) -> str:
        """The step past which a layer's channels cannot be followed."""
        view, node = View(graph, types), graph.nodes[at]
        end = followed(view, at).end if is_dense(node) else None
        if end is None:
            return ""
        if not end:
            return "its channels are those of an output of the model"
        reader = graph.nodes[end]
        groups = argument(reader, "groups") if reader.op in AXES else 1
        return f"its channels cannot be followed past '{end}' ({reader.op}{f' of {groups} groups' * (groups != 1)})"

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph with another `out`; everything else follows from it."""
        node = graph.nodes[at]
        wider = step(node.op, {**dict(node.args), "out": self._width(argument(node, "out"))}, node.sources, node)
        wider = replace(node, args=wider.args)
        return rewired(graph, {i: wider if i == at else old for i, old in graph}, {})

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """Copied channels, and in what reads them their shares."""
        from assembler.infer.shape import shapes

        found = reach(View(before, shapes(before)), at)
        assert found is not None
        old, new = (int(argument(g.nodes[at], "out")) for g in (before, after))
        chance = random.Random(f"{self.seed}:{at}")
        origin = _origins(old, new, chance)
        made = {k: state[k][origin] for k in _vectors(state, at, old)}
        for norm in found.norms:
            made |= {k: state[k][origin] for k in _vectors(state, norm, old)}
        shares = _shares(origin, chance)
        for i, block in found.consumers.items():
            made[f"{i}.weight"] = _shared_out(state[f"{i}.weight"], origin, shares, block)
        return made

    def _width(self, old: int) -> int:
        return self.out if self.out is not None else math.ceil(old * self.factor)

    def _fits(self, view: View, i: str) -> bool:
        old = argument(view.graph.nodes[i], "out")
        new, found = self._width(old), reach(view, i)
        return new > old and found is not None and _is_exact(found, old, new)


def _is_exact(found: Reach, old: int, new: int) -> bool:
    return not found.even or new % old == 0


def _origins(old: int, new: int, chance: random.Random) -> list[int]:
    """For every new channel the one that it copies. Copies of one lie side by side if all have equally many."""
    if new % old == 0:
        return [c // (new // old) for c in range(new)]
    return [*range(old), *(chance.randrange(old) for _ in range(new - old))]


def _shares(origin: list[int], chance: random.Random) -> list[float]:
    """What every copy counts; the copies of a channel count 1 together."""
    drawn = [chance.uniform(0.5, 1.5) for _ in origin]
    sums: Counter[int] = Counter()
    for c, share in zip(origin, drawn, strict=True):
        sums[c] += share  # type: ignore[assignment]
    return [share / sums[c] for c, share in zip(origin, drawn, strict=True)]


def _vectors(state: Weights, i: str, width: int) -> list[str]:
    """The keys of a step's own tensors with one entry a channel."""
    keys = (k for k in state if k.rpartition(".")[0] == i)
    return [k for k in keys if state[k].ndim and len(state[k]) == width]


def _shared_out(weight: Tensor, origin: list[int], shares: list[float], block: int) -> Tensor:
    """A reader's weight [out, in * block, ...] for copied and weighted inputs."""
    rows = weight.reshape(len(weight), -1, block, *weight.shape[2:])
    factor = weight.new_tensor(shares).reshape(1, -1, *(1,) * (rows.ndim - 2))
    return (rows[:, origin] * factor).reshape(len(weight), -1, *weight.shape[2:])
