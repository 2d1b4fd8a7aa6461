"""Trials as trainings of their candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from assembler.assemble.product import Product
from assembler.assemble.store import Store
from assembler.assemble.task import Task
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.settings import Settings, filled
from assembler.pipeline.training import Setting, training_task
from assembler.pipeline.weights.initial import needs_of
from assembler.pipeline.weights.loading import places
from assembler.recipe.choices import Choice, decide
from assembler.recipe.document import Document
from assembler.recipe.expressions import is_expression
from assembler.search.evaluators import Outcome
from assembler.search.study import Trial
from assembler.train.spec import FitSpec
from assembler.train.terms import Spec


@dataclass(frozen=True)
class Trainer:
    """Trials as trainings: the task of a trial, and what its product is worth; `loss` and `metric` as in `Setting`.

    `beside` are the trained models that the loss compares with, by name.
    """

    document: Document
    candidates: Candidates
    how: Settings
    store: Store
    device: str
    loss: Spec | None = None
    metric: str = "accuracy"
    phase: str = "search"
    beside: Mapping[str, Task] = field(default_factory=dict)

    away: ClassVar[bool] = True
    seen = ("validation",)
    additive = None

    @property
    def about(self) -> dict[str, Any]:
        """What the values of trials depend on beside their choices."""
        how = self.how
        found = {"data": how.data, "train": how.train or {}, "objectives": list(how.goals)}
        return found | ({"mode": how.mode, "supernet": how.supernet or {}} if how.mode != "trials" else {})

    @property
    def data(self) -> Mapping[str, Any]:
        """The data that candidates are trained on."""
        return self.how.data_for("its candidates are trained")

    @property
    def steps(self) -> int | None:
        """The epochs of a training, if it counts by them."""
        spec = FitSpec.from_spec(self.training(self.candidates.space.first))
        return None if spec.steps else math.ceil(spec.epochs)

    def check(self) -> None:
        """Look at the data and at the weights that each candidate begins with, before anything is trained."""
        _ = self.data
        for choice in self.candidates.space.covering():
            self.begin(choice)
            FitSpec.from_spec(self.training(choice), path="search.train")

    @property
    def devices(self) -> tuple[str, ...]:
        """The GPUs that workers share out, where there are several and none is asked for by number."""
        several = torch.cuda.device_count() if self.device == "cuda" else 0
        return tuple(map(str, range(several))) if several > 1 else ()

    def begin(self, choice: Choice) -> dict[str, Task]:
        """The weights that a candidate begins with, as a need."""
        where = places(decide(self.document.model, choice), self.document.folder)
        return needs_of(self.store, self.candidates.graph(choice), where, phase=self.phase) if where else {}

    def training(self, choice: Choice) -> dict[str, Any]:
        """How a candidate is trained: expressions read the vars of its recipe."""
        said = self.how.train or {}
        return filled(said, decide(self.document.model, choice)) if _reads(said) else said

    def key(self, choice: Choice) -> str:
        """What candidates share that are the same model, trained in the same way."""
        graph = self.candidates.fingerprint(choice)
        return f"{graph} {self.training(choice)}" if _reads(self.how.train) else graph

    def setting(self, train: Mapping[str, Any], repeat: int = 0) -> Setting:
        """What candidates are trained on and how; those that repeat others have seeds of their own."""
        return Setting(self.data, train, self.how.seed + repeat, self.device, self.loss, self.metric)

    def task(self, trial: Trial, more: Mapping[str, Task]) -> Task:
        """The training of a trial, which needs `more` than the weights that its recipe names."""
        label = " ".join(trial.labels.values())
        begin = {**self.begin(trial.choice), **self.beside, **more}
        graph = self.candidates.graph(trial.choice)
        setting = self.setting(self.training(trial.choice), trial.repeat)
        return training_task(graph, setting, begin, label=label, phase=self.phase)

    def read(self, trial: Trial, product: Product) -> Outcome:
        """The values of a trial."""
        return read(self.how, trial, product)


def _reads(said: Any) -> bool:
    """Whether there is an expression in settings."""
    if isinstance(said, Mapping):
        return any(map(_reads, said.values()))
    return any(map(_reads, said)) if isinstance(said, list) else is_expression(said)


def read(how: Settings, trial: Trial, product: Product) -> Outcome:
    """The objectives of a trial, each one of its costs or a number of its product."""
    known = {**trial.costs, **product.result}
    missing = [name for name in how.goals if not isinstance(known.get(name), int | float)]
    if missing:
        return Outcome(None, f"the training gives no '{missing[0]}'", "failed")
    return Outcome(tuple(float(known[name]) for name in how.goals))
