"""Training a library of weights: every step is one of a few candidates, drawn anew."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from assembler.assemble.models import Task, Training
from assembler.assemble.supernet.library import Library
from assembler.assemble.supernet.policy import Policy
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.infer.cost import total, train_flops
from assembler.recipe.choices import Choice, Pick, Space
from assembler.train.augment import Augment
from assembler.train.data.batches import Batches
from assembler.train.data.core import Data, Split
from assembler.train.evaluate import Forward, measure
from assembler.train.loop import FitResult, Hooks, fit_turns
from assembler.train.objective import Objective
from assembler.train.supernet import SupernetSpec
from assembler.train.turns import Turn

_DRAWS = 100  # draws in a row that build nothing, after which a space is given up
_JUDGED = 256  # validation samples that a controller learns from
NARROW, WIDE = "supernet.narrow", "supernet.wide"


@dataclass(frozen=True)
class Supernet:
    """A trained library, what training did, its FLOPs, and the choice that it has come to prefer, if it has one."""

    library: Library
    fit: FitResult
    train_flops: int
    preferred: Choice | None = None


@dataclass(frozen=True)
class Places:
    """The candidates that a supernet holds: a space, their graphs, and what keeps a choice out (a reason, or "")."""

    space: Space
    graph: Callable[[Choice], Graph]
    refusal: Callable[[Choice], str] = lambda choice: ""

    def draw(self, rng: random.Random, how: Callable[[random.Random], Choice] | None = None) -> Choice:
        """A choice that can be built and is not refused. Raises RecipeError where a hundred in a row are none."""
        reason = ""
        for _ in range(_DRAWS):
            choice = (how or self.space.uniform)(rng)
            try:
                self.graph(choice)
            except RecipeError as error:
                reason = str(error.problems[0].message)
                continue
            if not (reason := self.refusal(choice)):
                return choice
        raise RecipeError(f"no candidate could be drawn for the supernet; the last one was refused: {reason}")

    def extreme(self, rng: random.Random, sign: int) -> Choice:
        """The candidate with the most (1) or fewest (-1) parameters that one decision after the other leads to."""
        best = self.draw(rng)
        for d in self.space.decisions:
            for pick in d.spread() if d.name in best else ():
                other = self._with(best, d.name, pick)
                if self._fits(other) and sign * self._size(other) > sign * self._size(best):
                    best = other
        return best

    def _with(self, choice: Choice, name: str, pick: Pick) -> Choice:
        return self.space.made(lambda d: pick if d.name == name else choice.get(d.name, d.first))

    def _fits(self, choice: Choice) -> bool:
        try:
            self.graph(choice)
        except RecipeError:
            return False
        return not self.space.refusal(choice) and not self.refusal(choice)

    def _size(self, choice: Choice) -> int:
        return total(self.graph(choice)).params


def train_supernet(
    places: Places,
    data: Data,
    task: Task,
    training: Training,
    how: SupernetSpec,
    *,
    device: torch.device | str = "cpu",
    hooks: Hooks | None = None,
) -> Supernet:
    """Train one library for all candidates, on the task's loss, by `how.train`: spos, sandwich, enas or darts."""
    if how.train == "darts":
        from assembler.assemble.supernet.darts import train_darts

        return Supernet(*train_darts(places.space, places.graph, data, task, training, device, hooks))
    run = _RUNS[how.train](places, data.train.to(device), data, task, training, how, device)
    batches = Batches(run.split, training.spec.batch, training.seed, Augment.from_spec(training.spec.augment))
    run.prepare(training.spec.total_steps(len(batches)))
    told = replace(hooks or Hooks(), after=run.after)
    result = fit_turns(
        [Turn(run.forward, run.objective, run.library.params, training.spec)], batches, training.spec, told
    )
    return Supernet(run.library, result, run.flops, run.preferred)


@dataclass
class _Spos:
    """One path a step, uniformly, its sizes cut out of the largest (Guo et al., 2020, sections 3.2 and 3.3)."""

    places: Places
    split: Split
    data: Data
    task: Task
    training: Training
    how: SupernetSpec
    device: torch.device | str
    library: Library = field(init=False)
    order: Iterator[Graph] = field(init=False)
    flops: int = 0
    preferred: Choice | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.training.seed)
        self.library = Library("nested", self.training.seed, self.device)
        self.objective = self.task.loss

    def prepare(self, steps: int) -> None:
        """Make room for every candidate that will be drawn."""
        drawn = [self.places.graph(self.places.draw(self.rng)) for _ in range(steps)]
        self.library.reserve(dict.fromkeys(drawn))
        self.order = iter(drawn)

    def forward(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The outputs of the next candidate."""
        return self.run(next(self.order), batch)

    def run(self, graph: Graph, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of a candidate in training, its weights being the library's."""
        self.flops += train_flops(graph) * len(next(iter(batch.values())))
        return dict(through(self.library, graph, training=True)(batch))

    def after(self) -> None:
        """Nothing follows a step."""


class _Sandwich(_Spos):
    """The largest learns from labels, the smallest and some others from it (Yu and Huang, 2019, arXiv:1903.05134)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        value = self.task.loss.terms[0].value
        self.value = value
        terms = [{"loss": "cross_entropy", "value": value, "target": self.task.loss.terms[0].target}]
        teach = {"loss": "kl", "value": NARROW, "target": WIDE, "temperature": 1.0}
        self.objective = Objective.from_spec([*terms, teach])

    def prepare(self, steps: int) -> None:
        wide, narrow = (self.places.graph(self.places.extreme(self.rng, sign)) for sign in (1, -1))
        drawn = [[self.places.graph(self.places.draw(self.rng)) for _ in range(self.how.paths)] for _ in range(steps)]
        self.library.reserve(dict.fromkeys([wide, narrow, *(g for some in drawn for g in some)]))
        self.wide, self.narrow, self.others = wide, narrow, iter(drawn)

    def forward(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        found = self.run(self.wide, batch)
        students = [self.run(graph, batch)[self.value] for graph in (self.narrow, *next(self.others))]
        taught = found[self.value].detach().repeat(len(students), *[1] * (found[self.value].ndim - 1))
        return {**found, NARROW: torch.cat(students), WIDE: taught}


class _Enas(_Spos):
    """A controller draws the paths and learns, after every step, from a candidate's loss on validation samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.policy = Policy(self.places.space)
        self.judged = self.data.validation.head(_JUDGED).to(self.device)

    def prepare(self, steps: int) -> None:
        graphs = []
        for choice in (*self.places.space.covering(), self.places.extreme(self.rng, 1)):
            try:
                graphs.append(self.places.graph(choice))
            except RecipeError:
                continue
        self.library.reserve(graphs)

    def forward(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return self.run(self.places.graph(self.places.draw(self.rng, self.policy.draw)), batch)

    def after(self) -> None:
        choice = self.places.draw(self.rng, self.policy.draw)
        graph = self.places.graph(choice)
        forward = through(self.library, graph, training=False)
        self.policy.learn(choice, -measure(forward, self.judged, self.task.loss))
        self.flops += total(graph).flops * len(self.judged)
        self.preferred = self.policy.preferred


_RUNS = {"spos": _Spos, "sandwich": _Sandwich, "enas": _Enas}


def through(library: Library, graph: Graph, *, training: bool) -> Forward:
    """A candidate as a function of a batch, with the library's tensors in place of its own.

    In evaluation batch norms look at the batch, since the running statistics are those of all candidates.
    """
    return library.forward(graph, _training if training else _evaluation, kept=training)


def _training(module: nn.Module) -> None:
    if not module.training:
        module.train()


def _evaluation(module: nn.Module) -> None:
    module.eval()
    for norm in module.modules():
        norm.training = isinstance(norm, nn.modules.batchnorm._BatchNorm)
