"""Training one part inside its frozen host: the one primitive that every way of training parts is a setting of.

A host, a slot in it, a candidate, an objective over named values, and what of the candidate is trained. On the task in
a shallow meta model that is Deep Incubation (Ni et al. 2023); against the teacher's own block output, block-wise
distillation (DNA, Li et al. 2020); against the logits of the host with a teacher's module in the same slot, m2mKD
(Lo et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from assembler.assemble.fitting import Bench, divided
from assembler.assemble.frozen import Frozen, compared, own_values, piece
from assembler.assemble.hybrid import SLOT, split, value_paths
from assembler.assemble.inherit import Account
from assembler.assemble.models import Model, Training
from assembler.assemble.spliced import spliced
from assembler.assemble.starting import started
from assembler.assemble.stitches import NONE, Stitches, fitted_in, fitted_out
from assembler.assemble.values import ValueCache
from assembler.assemble.weights import Weights, load_there, part_keys, whole_keys, within
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.graph.edit import graft, outer_id
from assembler.graph.modes import in_mode
from assembler.graph.runs import holder
from assembler.graph.values import with_items
from assembler.infer.cost import train_flops
from assembler.infer.shape import shapes
from assembler.train.data.core import Data, Split
from assembler.train.loop import FitResult, Hooks
from assembler.train.terms import AT_HOST
from assembler.train.world import state_of


@dataclass(frozen=True)
class Seat:
    """A part in one slot of a frozen host; `teachers` give further values to compare with, by name.

    `begin` are the weights, by the part's own keys, that it begins with whatever else is said; `stitches` those of its
    steps that lead from the host's features to its own and back.
    """

    host: Model
    slot: str
    part: Graph
    teachers: Mapping[str, Model] = field(default_factory=dict)
    device: torch.device | str = "cpu"
    begin: Weights = field(default_factory=dict, repr=False)
    stitches: Stitches = NONE

    @property
    def graph(self) -> Graph:
        """The host with the part in its slot."""
        return graft(self.host.graph, self.slot, self.part)

    def references(self, needs: frozenset[str], split: Split) -> dict[str, Model]:
        """The models whose values are compared with: `host.<path>`, `<teacher>.<path>`, `<teacher>@host.<path>`.

        The last is the host with what the teacher has in the slot, between stitches fitted to `split` where the widths
        differ.
        """
        models = {"host": self.host, **self.teachers}
        swapped = {head: models[head.removesuffix(AT_HOST)] for head in _heads(needs) if head.endswith(AT_HOST)}
        return models | {name: spliced(self.host, {self.slot: (m, self.slot)}, split) for name, m in swapped.items()}


@dataclass(frozen=True)
class Seated:
    """A seat as its part is trained in it: `graph`, the host with the part in training, and what of it does not stay.

    That is `tail`; `frontier` are the values that enter it (input name -> id of `graph`), `names` what the objective
    calls those that leave it, the slot's always among them. `inside` tells which paths belong to the part.
    """

    seat: Seat
    training: Training
    graph: Graph
    tail: Graph
    frontier: Mapping[str, str]
    names: Mapping[str, str]
    inside: Callable[[str], bool]

    def learns(self, path: str) -> bool:
        """Whether what lies at a path is trained."""
        return self.inside(path) and not self.training.holds(path)

    def trained(self, tail: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters of the tail that are trained."""
        return {n: p for n, p in tail.named_parameters() if p.requires_grad and self.learns(n)}

    @property
    def flops(self) -> int:
        """FLOPs of one training step for one sample."""
        learning = [i for i in self.seat.graph.region(self.seat.slot) if not self.training.holds(i)]
        return train_flops(self.tail, learning)

    def beside(self, split: Split) -> list[Frozen]:
        """What gives the values that enter the tail, and those that the objective compares with."""
        seat, needs, given = self.seat, self.training.needs, self.training.objective.given
        enters = {name: name for name in self.frontier}
        entering = piece(Model(self.graph, seat.host.weights), self.frontier, enters, seat.device)
        return [entering, *compared(seat.references(needs, split), needs, seat.slot, seat.device, given)]

    def begun(self, data: Split) -> tuple[nn.Module, Account | None]:
        """The tail with the weights that it begins with, and the account of those of the part."""
        seat, module = self.seat, lower(self.tail, seed=self.training.seed)
        drawn = {n: t.clone() for n, t in module.state_dict().items() if self.inside(n)}
        begun, account = _begun(seat, drawn, data, self.training)
        load_there(module, {**seat.host.weights, **begun})
        module.eval()
        still = [i for i, node in self.tail if node.frozen]
        for path, inner in module.named_modules():
            if self.learns(path) and not any(within(path, i) for i in still):
                inner.training = True  # drop-out and running statistics work in the part alone
        return module.to(seat.device), account

    def own(self, weights: Mapping[str, Tensor]) -> Weights:
        """Those of the part among the tail's weights, by the part's own keys."""
        return part_keys({n: t for n, t in weights.items() if self.inside(n)}, self.seat.slot, self.seat.part)


@dataclass(frozen=True)
class Incubated:
    """A trained part: its weights by the part graph's own keys, what training did, its FLOPs, what it began with.

    `fit` is None where nothing of the part is trained, `account` where it began with drawn weights. `shared` are the
    FLOPs of values of frozen models that a cache holds for other parts too, by their keys there; `flops` are without.
    """

    weights: Weights = field(repr=False)
    fit: FitResult | None
    flops: int
    account: Account | None
    shared: Mapping[str, int] = field(default_factory=dict)


def incubate(
    seat: Seat, data: Data, training: Training, hooks: Hooks | None = None, cache: ValueCache | None = None
) -> Incubated:
    """Train the part in its seat, or the steps of it that `training.paths` name; all else stays bit for bit as it is.

    The objective may read values of the host with the part in it (`logits`, `slot`, any path), of the unchanged host
    (`host.slot`), of teachers (`teacher.logits`), and of the host with a teacher's part (`teacher@host.logits`).
    """
    one = seated(seat, data, training)
    tail, account = one.begun(data.train)
    trained = one.trained(tail)
    if not trained or not training.spec.total_steps(1):
        return Incubated(one.own(state_of(tail)), None, 0, account)
    bench = Bench(tail, one.tail, one.beside(data.train), seat.device, one.names, cache=cache)
    fitted = bench.fit(divided(tail, trained, training), data, training, hooks)
    spent = one.flops * fitted.result.samples + fitted.beside
    return Incubated(one.own(state_of(tail)), fitted.result, spent, account, fitted.shared)


def seated(seat: Seat, data: Data, training: Training) -> Seated:
    """A seat as its part is trained in it. Raises RecipeError for a value of the objective that is not there."""
    heads = {"host", *seat.teachers, *(head for head in _heads(training.needs) if head.endswith(AT_HOST))}
    own = own_values(training.needs, heads, seat.graph, data)
    graph = in_mode(with_items(seat.graph, own), "train")
    # What leaves the slot is always computed: weights that no term reaches are part of the part too.
    paths = value_paths(graph, dict.fromkeys([*own, SLOT]), seat.slot)
    names = {f"v{i}": name for i, name in enumerate(paths)}
    wanted = {safe: paths[name] for safe, name in names.items()}
    cut = split(graph, seat.slot, wanted, shapes(graph), data.train.fields)
    return Seated(seat, training, graph, cut.tail, cut.frontier, names, holder(seat.graph, seat.slot))


def _heads(needs: Iterable[str]) -> list[str]:
    """The first parts of names of values, which may be those of models."""
    return sorted({name.partition(".")[0] for name in needs})


def _begun(seat: Seat, drawn: Mapping[str, Tensor], data: Split, training: Training) -> tuple[Weights, Account | None]:
    """The weights, by the whole model's keys, that the part begins with; those of stitches are fitted to them.

    `drawn` are those of the seed, which it has where nothing else is said or fits.
    """
    given, account = started(training.start, seat.host, seat.slot, seat.part, training.seed)
    more = whole_keys({**given, **seat.begin}, seat.slot, seat.part)
    begun = {**drawn, **{n: t for n, t in more.items() if n in drawn and t.shape == drawn[n].shape}}
    seated = Model(seat.graph, {**seat.host.weights, **begun})
    enter, leave = (outer_id(seat.slot, i) if i else "" for i in seat.stitches)
    if enter:
        others = [(teacher, seat.slot) for teacher in seat.teachers.values()]
        seated.weights.update(fitted_in(enter, seated, others, data, training.seed))
    if leave:  # fitted to what the part makes of what enters it by now
        seated.weights.update(fitted_out(leave, seated, seat.slot, seat.host, data))
    return {name: seated.weights[name] for name in begun}, account
