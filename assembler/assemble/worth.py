"""What a trained part is worth: its host with the part in the slot, on the validation split.

What stands before the slot says the same whatever is in it, so it is computed once for all parts of a slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assembler.assemble.frozen import Kept, kept, piece
from assembler.assemble.hybrid import split, value_paths
from assembler.assemble.incubate import Seat
from assembler.assemble.judging import mode_of, needed, score
from assembler.assemble.models import Model, Task
from assembler.assemble.values import ValueCache
from assembler.assemble.weights import Weights, load_there, whole_keys
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.graph.modes import in_mode
from assembler.graph.values import with_items
from assembler.infer.cost import total
from assembler.infer.shape import shapes
from assembler.train.data.core import Data, Split


@dataclass(frozen=True)
class Worth:
    """The metric and the task's loss, and the FLOPs of that.

    `shared` are the FLOPs of what stands before the slot, which a cache holds for other parts too, by its key there;
    `flops` are without.
    """

    metric: float
    loss: float
    flops: int
    shared: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Seen:
    """What of a host is computed for each part: `graph`, on samples that have all that enters it.

    `names` are what the task calls the graph's outputs, where they bear other names.
    """

    graph: Graph
    samples: Kept
    names: Mapping[str, str] = field(default_factory=dict)


def judge(seat: Seat, weights: Weights, data: Data, task: Task, cache: ValueCache | None = None) -> Worth:
    """What the host with the trained part in its slot is worth on the validation split.

    Raises TrainingError where the loss is not finite.
    """
    validation = data.validation.to(seat.device)
    seen = _behind(seat, validation, task, cache) or _Seen(seat.graph, Kept(validation, {}))
    module = lower(seen.graph)
    load_there(module, {**seat.host.weights, **whole_keys(weights, seat.slot, seat.part)})
    what = f"the validation loss of {seat.graph.name}"
    metric, loss = score(module.to(seat.device), seen.graph, seen.samples.split, task, what, seen.names)
    return Worth(metric, loss, total(seen.graph).flops * len(validation), seen.samples.shared)


def _behind(seat: Seat, validation: Split, task: Task, cache: ValueCache | None) -> _Seen | None:
    """The slot and what stands behind it.

    None where the values before it cannot be kept, or where the task reads what training alone gives.
    """
    own = needed(task, validation, dict(seat.graph.outputs))
    whole = with_items(seat.graph, own)
    if cache is None or not own or mode_of(whole, own) != "eval":
        return None
    graph = in_mode(whole, "eval")
    names = {f"v{i}": name for i, name in enumerate(own)}
    paths = value_paths(graph, own)
    wanted = {safe: paths[name] for safe, name in names.items()}
    cut = split(graph, seat.slot, wanted, shapes(graph), validation.fields)
    entering = piece(Model(graph, seat.host.weights), cut.frontier, {n: n for n in cut.frontier}, seat.device)
    samples = kept(validation, [entering], cache)
    return _Seen(cut.tail, samples, names) if samples else None
