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
class _Tail:
    """What of a host is computed for each part: `graph`, on a split that has the values which enter it.

    `names` are what the task calls the graph's outputs.
    """

    graph: Graph
    names: Mapping[str, str]
    before: Kept


def judge(seat: Seat, weights: Weights, data: Data, task: Task, cache: ValueCache | None = None) -> Worth:
    """What the host with the trained part in its slot is worth on the validation split.

    Raises TrainingError where the loss is not finite.
    """
    validation = data.validation.to(seat.device)
    tail = _tail(seat, validation, task, cache)
    graph = tail.graph if tail else seat.graph
    module = lower(graph)
    load_there(module, {**seat.host.weights, **whole_keys(weights, seat.slot, seat.part)})
    samples, names = (tail.before.split, tail.names) if tail else (validation, {})
    what = f"the validation loss of {seat.graph.name}"
    metric, loss = score(module.to(seat.device), graph, samples, task, what, names)
    shared = tail.before.shared if tail else {}
    return Worth(metric, loss, total(graph).flops * len(validation), shared)


def _tail(seat: Seat, validation: Split, task: Task, cache: ValueCache | None) -> _Tail | None:
    """None where the values before the slot cannot be kept, or where the task reads what training alone gives."""
    own = needed(task, validation, dict(seat.graph.outputs))
    whole = with_items(seat.graph, own)
    if cache is None or not own or mode_of(whole, own) != "eval":
        return None
    graph = in_mode(whole, "eval")
    paths = value_paths(graph, own)
    wanted = {f"v{i}": paths[name] for i, name in enumerate(own)}
    cut = split(graph, seat.slot, wanted, shapes(graph), validation.fields)
    entering = piece(Model(graph, seat.host.weights), cut.frontier, {n: n for n in cut.frontier}, seat.device)
    before = kept(validation, [entering], cache)
    return _Tail(cut.tail, {f"v{i}": name for i, name in enumerate(own)}, before) if before else None
