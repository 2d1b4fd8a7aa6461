"""Training one part inside its frozen host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from assembler.assemble.fitting import Bench
from assembler.assemble.frozen import compared, own_values, piece
from assembler.assemble.hybrid import SLOT, split, value_paths
from assembler.assemble.judging import assess
from assembler.assemble.models import Model, Task, Training
from assembler.assemble.weights import Weights, copy_fitting, load_there, part_keys, whole_keys
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.graph.edit import graft
from assembler.graph.modes import in_mode
from assembler.graph.runs import holder
from assembler.graph.values import with_items
from assembler.infer.cost import train_flops
from assembler.infer.shape import shapes
from assembler.train.data.core import Data
from assembler.train.loop import FitResult, Hooks


@dataclass(frozen=True)
class Seat:
    """A part in one slot of a frozen host; `teachers` give further values to compare with, by name.

    `begin` are the weights, by the part's own keys, that it begins with whatever else is said.
    """

    host: Model
    slot: str
    part: Graph
    teachers: Mapping[str, Model] = field(default_factory=dict)
    device: torch.device | str = "cpu"
    begin: Weights = field(default_factory=dict, repr=False)

    @property
    def graph(self) -> Graph:
        """The host with the part in its slot."""
        return graft(self.host.graph, self.slot, self.part)

    @property
    def references(self) -> dict[str, Model]:
        """The models whose values are compared with: `host.<path>`, `<teacher>.<path>`."""
        return {"host": self.host, **self.teachers}


def incubate(
    seat: Seat, data: Data, training: Training, hooks: Hooks | None = None
) -> tuple[Weights, FitResult | None, int]:
    """Train the part in its seat; everything else stays bit for bit as it is.

    The objective may read values of the host with the part in it (`logits`, `slot`, any path), of the unchanged host
    (`host.slot`) and of teachers (`teacher.logits`). Returns the part's weights by the part graph's own keys, what the
    training did (None where the part has no weights), and the FLOPs that it cost.
    """
    needs = training.needs
    own = own_values(needs, seat.references, seat.graph, data)
    graph = in_mode(with_items(seat.graph, own), "train")
    # What leaves the slot is always computed: weights that no term reaches are part of the part too.
    paths = value_paths(graph, dict.fromkeys([*own, SLOT]), seat.slot)
    names = {f"v{i}": name for i, name in enumerate(paths)}
    cut = split(graph, seat.slot, {safe: paths[name] for safe, name in names.items()}, shapes(graph))
    tail, inside = _tail(seat, cut.tail, training), holder(seat.graph, seat.slot)
    trained = {n: p for n, p in tail.named_parameters() if inside(n)}
    frozen = [piece(Model(graph, seat.host.weights), cut.frontier, {n: n for n in cut.frontier}, seat.device)]
    bench = Bench(
        tail, cut.tail, [*frozen, *compared(seat.references, needs, seat.slot, seat.device)], seat.device, names
    )
    result, spent = None, 0
    if trained:
        result, beside = bench.fit(trained, data, training, hooks)
        spent = train_flops(cut.tail, seat.graph.region(seat.slot)) * result.samples + beside
    made = {n: t.cpu() for n, t in tail.state_dict().items() if inside(n)}
    return part_keys(made, seat.slot, seat.part), result, spent


def judge(seat: Seat, weights: Weights, data: Data, task: Task) -> tuple[float, float]:
    """(metric, task loss) on the validation split of the host with the trained part in its slot."""
    module = lower(seat.graph)
    load_there(module, {**seat.host.weights, **whole_keys(weights, seat.slot, seat.part)})
    return assess(module.to(seat.device), seat.graph, data, task, seat.device)


def _tail(seat: Seat, tail: Graph, training: Training) -> nn.Module:
    module, inside = lower(tail, seed=training.seed), holder(seat.graph, seat.slot)
    rest = {n: t for n, t in module.state_dict().items() if inside(n)}
    load_there(module, {**seat.host.weights, **rest})
    if training.start == "host":
        copy_fitting(module, seat.host.weights)
    copy_fitting(module, whole_keys(seat.begin, seat.slot, seat.part))
    module.eval()
    for path, inner in module.named_modules():
        if inside(path):
            inner.training = True  # drop-out and running statistics work in the part alone
    return module.to(seat.device)
