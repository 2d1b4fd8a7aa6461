"""How alike the values are at which models can be cut, and which steps of one do what a slot of another does.

Blocks of two models are as alike as what enters both and what leaves both, by linear CKA on the same samples (DeRy,
Yang et al. 2022, arXiv:2210.17409, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assembler.assemble.frozen import piece
from assembler.assemble.models import Model
from assembler.assemble.spliced import splice
from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.graph.cuts import cuts, joined
from assembler.graph.edit import Slot
from assembler.graph.modes import in_mode
from assembler.train.data.core import Split
from assembler.train.losses.relation import alignment, likeness

SAMPLES = 512
"""How many samples of the training split models are compared on."""
_BATCH = 128
_DIGITS = 6
"""To how many digits sums of two similarities are told apart: of equal runs the shortest is taken."""


@dataclass(frozen=True)
class Line:
    """The pieces of a graph that follow each other, as `assembler cuts` marks them."""

    graph: Graph
    pieces: tuple[Slot, ...]
    tapped: tuple[bool, ...]

    @staticmethod
    def of(graph: Graph) -> Line:
        """The line of a graph. Raises GraphError where it has none."""
        found = cuts(graph)
        if not found.chain:
            raise GraphError(
                f"{graph.name} has no steps that follow each other", hint="`assembler cuts` shows its regions"
            )
        return Line(graph, found.chain, found.tapped)

    @property
    def values(self) -> tuple[str, ...]:
        """The ids of the values before, between and behind the pieces."""
        return (self.pieces[0].source, *(one.output for one in self.pieces))

    @property
    def names(self) -> tuple[str, ...]:
        """What people call these values: the paths of what they leave."""
        return (self.pieces[0].source, *(one.path for one in self.pieces))

    def runs(self) -> Iterator[tuple[int, int]]:
        """Where runs of pieces begin and end, as numbers of values."""
        for first in range(len(self.pieces)):
            for last in range(first, len(self.pieces)):
                yield first, last + 1
                if self.tapped[last]:  # the value is read elsewhere too, so no run goes across it
                    break

    def path(self, first: int, last: int) -> str:
        """The path of the run between two values."""
        return joined(self.graph, self.pieces[first:last]).path


@dataclass(frozen=True)
class Near:
    """The run of steps of another model that is most like a slot, and how alike what enters and what leaves is.

    Of several models the path begins with the name of the one.
    """

    slot: str
    path: str
    enters: float
    leaves: float

    def __str__(self) -> str:
        return f"{self.slot} is nearest to {self.path} (CKA {self.enters:.3f} entering, {self.leaves:.3f} leaving)"


def likenesses(model: Model, values: Iterable[str], split: Split, samples: int = SAMPLES) -> list[Tensor]:
    """The `likeness` [N, N] of each of some values (ids, names of inputs) for the first N samples of a split."""
    wanted = {f"v{n}": value for n, value in enumerate(values)}
    one = piece(Model(in_mode(model.graph, "eval"), model.weights), wanted, {name: name for name in wanted}, "cpu")
    head, parts = split.head(samples), dict[str, list[Tensor]]()
    for start in range(0, len(head), _BATCH):
        found = one({name: tensor[start : start + _BATCH] for name, tensor in head.fields.items()})
        for name in wanted:
            parts.setdefault(name, []).append(found[name])
    return [likeness(torch.cat(parts[name]).float()).double() for name in wanted]


def similarities(rows: Sequence[Tensor], columns: Sequence[Tensor]) -> list[list[float]]:
    """The linear CKA of each of some values with each of others, by their likenesses on the same samples."""
    return [[float(alignment(one, other)) for other in columns] for one in rows]


def any_fits(host: Graph, slot: str, others: Mapping[str, Graph]) -> None:
    """Raise GraphError unless some run of steps of one of these models fits a slot of the host."""
    lines = {name: Line.of(graph) for name, graph in others.items()}
    nearest(host, slot, lines, {name: [[0.0] * len(line.values)] * 2 for name, line in lines.items()})


def nearest(host: Graph, slot: str, lines: Mapping[str, Line], alike: Mapping[str, Sequence[Sequence[float]]]) -> Near:
    """The run of steps of one of several models that is most like a slot of the host, and fits it.

    `alike` are, of each model, the similarities of its line's values with what enters the slot, and with what leaves.
    Of equals the shortest run counts, then the first. Raises GraphError where none fits, not between stitches either.
    """
    found = [
        (-round(alike[name][0][first] + alike[name][1][last], _DIGITS), last - first, name, first, last)
        for name, line in lines.items()
        for first, last in line.runs()
    ]
    for _, _, name, first, last in sorted(found, key=lambda one: one[:2]):
        path = lines[name].path(first, last)
        try:
            splice(host, {slot: (lines[name].graph, path)})
        except GraphError:
            continue
        return Near(slot, f"{name}.{path}" if name else path, alike[name][0][first], alike[name][1][last])
    others = " or ".join(f"'{name}'" for name in lines if name) or "the other model"
    raise GraphError(f"no steps of {others} fit '{slot}', not between stitches either", path=slot)
