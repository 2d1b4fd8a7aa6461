"""Which blocks of two models do the same: the linear CKA of the values at which they can be cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from assembler.assemble.frozen import check_inputs
from assembler.assemble.similar import SAMPLES, Line, Near, likenesses, nearest, similarities
from assembler.errors import GraphError
from assembler.pipeline.merging import held
from assembler.pipeline.sources import Source
from assembler.train.data.core import load
from assembler.train.spec import named_data


@dataclass(frozen=True)
class Similarity:
    """The linear CKA, from 0 to 1, of values of one model with those of another: `values[row][column]`.

    A value bears the path of the piece that it leaves, the first the name of what enters. `nearest` are, for each piece
    of the first model that any fits, the steps of the other that are most like it.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    nearest: tuple[Near, ...]

    def data(self) -> dict[str, Any]:
        """The similarity as plain data, for `--json`."""
        return asdict(self)


def similarity(
    a: nn.Module | Source, b: nn.Module | Source, data: str | Mapping[str, Any], *, samples: int = SAMPLES
) -> Similarity:
    """How alike two trained models are between the pieces that `cuts` shows as a chain, by linear CKA.

    They may differ in everything but the data that they take: built modules, folders with a model, runs, recipes with
    weights. Compared are the first `samples` of the training split of a data set (`digits`, `{"name": ...}`), few of
    which make wide values look alike. Two blocks do the same where what enters them is alike and what leaves them
    (DeRy, Yang et al. 2022). Raises InputError for data that a model does not take or one without weights.
    """
    split = load(named_data(data)).train
    models = [held(one, "compare") for one in (a, b)]
    for one in models:
        check_inputs(one.graph, split)
    ours, theirs = (Line.of(one.graph) for one in models)
    seen = [likenesses(m, line.values, split, samples) for m, line in zip(models, (ours, theirs), strict=True)]
    table = similarities(*seen)
    found = []
    for n, slot in enumerate(ours.pieces):
        try:
            found.append(nearest(ours.graph, slot.path, {"": theirs}, {"": table[n : n + 2]}))
        except GraphError:  # what enters or leaves is no tensor of features
            continue
    return Similarity(ours.names, theirs.names, tuple(map(tuple, table)), tuple(found))
