"""Hidden units that never fire, drawn anew from what the layers around them do worst."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Values, Weights
from assembler.rewrites.split_experts import chain
from assembler.rewrites.view import View, argument

if TYPE_CHECKING:
    from torch import Generator, Tensor


@rewrite("resample")
@dataclass(frozen=True)
class Resample(Rewrite):
    """Draw dead hidden units anew: those of the first of two layers that fire on no sample of the training split.

    Of an autoencoder (`errors`) a dead unit begins as a row of what enters, drawn with a probability proportional to
    the square of its squared error: the direction is the unit's weights out, `scale` times the mean norm of the living
    units' weights its weights in, and its bias is zero (Bricken et al. 2023). Elsewhere (`fresh`) the weights in are
    those of a new layer and the weights out zero (ReDo, Sokar et al. 2023, arXiv:2302.12902).
    """

    keeps: ClassVar[bool] = False

    by: Literal["errors", "fresh"] = "errors"
    scale: float = 0.2
    seed: int = 0
    _values: Values | None = field(default=None, repr=False, compare=False)

    @property
    def needs_values(self) -> bool:
        """Whether the units fire on data decides."""
        return True

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The first of two linear layers with an activation between; by errors those of an autoencoder."""
        view = View(graph, types)
        found = (i for i in graph.nodes if chain(view, i))
        return tuple(i for i in found if self.by == "fresh" or _is_autoencoder(view, i))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph as it is."""
        return graph

    def computed(self, before: Graph, after: Graph, at: str, state: Weights) -> Weights:
        """The weights in and out of the dead units, and their bias."""
        import torch

        from assembler.infer.shape import shapes

        if self._values is None:
            raise GraphError("resample needs data", path=at, hint="say it in a phase `rewrite` of a run")
        steps = chain(View(before, shapes(before)), at)
        first, last = steps[0], steps[-1]
        dead = (self._values(steps[-2], -1) <= 0).all(0).nonzero().flatten()
        into, out = state[f"{first}.weight"].clone(), state[f"{last}.weight"].clone()
        generator = torch.Generator().manual_seed(self.seed)
        if len(dead):
            rows, directions = self._drawn(before, steps, into, dead, generator)
            into[dead], out[:, dead] = rows.to(into), directions.T.to(out)
        made = {f"{first}.weight": into, f"{last}.weight": out}
        if f"{first}.bias" in state:
            made[f"{first}.bias"] = state[f"{first}.bias"].clone()
            made[f"{first}.bias"][dead] = 0
        return made

    def _drawn(
        self, graph: Graph, steps: tuple[str, ...], into: Tensor, dead: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Weights in and out of units [dead, in] and [dead, out]."""
        import torch

        assert self._values is not None
        living = torch.ones(len(into), dtype=torch.bool)
        living[dead] = False
        width = int(argument(graph.nodes[steps[-1]], "out"))
        if self.by == "fresh":
            bound = into.shape[1] ** -0.5
            rows = (torch.rand(len(dead), into.shape[1], generator=generator) * 2 - 1) * bound
            return rows, torch.zeros(len(dead), width)
        seen, made = self._values(graph.nodes[steps[0]].sources[0], -1), self._values(steps[-1], -1)
        errors = (seen - made).double().square().sum(1).square()
        chosen = seen[torch.multinomial(errors, len(dead), replacement=True, generator=generator)]
        directions = torch.nn.functional.normalize(chosen, dim=1)
        norm = into[living].norm(dim=1).mean() if living.any() else into.norm(dim=1).mean()
        return directions * self.scale * norm, directions


def _is_autoencoder(view: View, at: str) -> bool:
    steps = chain(view, at)
    source = view.graph.nodes[at].sources[0]
    return view.types[source].shape[-1] == view.types[steps[-1]].shape[-1]
