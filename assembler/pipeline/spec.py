"""A run recipe read into what the phases work with. Everything that can be checked without torch is checked first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler import registry
from assembler.errors import RecipeError
from assembler.pipeline.checking.borrowing import in_phase
from assembler.pipeline.checking.check import check
from assembler.pipeline.checking.run import TASK as TASK
from assembler.pipeline.checking.run import settings_of
from assembler.pipeline.splitting import Split, split_of
from assembler.pipeline.splitting import slot_of as slot_of
from assembler.recipe.borrowed import with_borrowed
from assembler.recipe.choices import Space, space
from assembler.recipe.choices import first as first
from assembler.recipe.document import Document
from assembler.recipe.values import Leaf, Map, plain
from assembler.registry import Entry
from assembler.train.spec import named_data
from assembler.train.terms import Spec, usual_metric
from assembler.wiring.build import build

OWN = ("data", "task", "metric")
"""What a phase may have in the place of the run's."""


@dataclass(frozen=True)
class Phase:
    """One phase of a run: its name in the recipe, the registered phase that does it, and the options given.

    `changes` are its `set:` as it is written, for the places of mistakes.
    """

    name: str
    entry: Entry
    options: Mapping[str, Any]
    changes: Map = field(default_factory=Map)

    @property
    def begins_with_recipe(self) -> bool:
        """Whether the phase makes a model of a recipe: the run's, under its `set`, or another that it names."""
        return bool(self.entry.option("makes") == "recipe")

    @property
    def own(self) -> dict[str, Any]:
        """The data, the task and the metric that the phase has in the place of the run's."""
        return {name: given for name in OWN if (given := self.options.get(name)) is not None}

    @property
    def has_recipe(self) -> bool:
        """Whether the graph of the phase's model is that of a recipe, and not of what an earlier phase made."""
        return self.begins_with_recipe or self.options.get("set") is not None


@dataclass(frozen=True)
class Purpose:
    """What a model is trained for: data, the task on it, and the metric that people read."""

    data: Mapping[str, Any]
    task: Spec
    metric: str


@dataclass(frozen=True)
class RunSpec:
    """A checked run. `task` is the loss on the labels, `train` the settings that every training starts from."""

    document: Document
    data: Mapping[str, Any]
    split: tuple[str, ...]
    train: Mapping[str, Any]
    seeds: tuple[int, ...]
    task: Spec
    metric: str
    phases: tuple[Phase, ...]
    space: Space
    split_how: str = ""

    @property
    def name(self) -> str:
        """The run's name."""
        return self.document.name

    def purpose(
        self, data: str | Mapping[str, Any] | None = None, task: Spec | None = None, metric: str | None = None
    ) -> Purpose:
        """The run's own purpose, but for what a phase says instead."""
        usual = usual_metric(task) if task else self.metric
        return Purpose(named_data(data) if data else self.data, task or self.task, metric or usual)

    def purpose_of(self, phase: Phase) -> Purpose:
        """What the model of a phase is trained for."""
        return self.purpose(**phase.own)


def read(document: Document) -> RunSpec:
    """The run that a recipe of kind `run` describes. Raises RecipeError with everything that is wrong with it."""
    if document.kind != "run":
        raise RecipeError(f"'{document.name}' is a {document.kind}, not a run", hint="a run has kind: run and phases:")
    if problems := check(document):
        raise RecipeError(problems)
    tree, decisions = document.tree, space(document.model)
    split = split_of(document, build(document.default, name=document.name), decisions) if "split" in tree else Split()
    data, said = plain(tree.get("data")), tree.get("task")
    task: Spec = (plain(with_borrowed(said, document.default)) if said is not None else None) or TASK
    return RunSpec(
        document,
        named_data(data),
        split.slots,
        settings_of(tree.get("train")),
        tuple(plain(tree.get("seeds"))) if "seeds" in tree else (0,),
        task,
        str(plain(tree.get("metric", Leaf(usual_metric(task))))),
        tuple(_phase(name, body, document.default) for name, body in tree.get("phases")),
        decisions,
        split.how,
    )


def _phase(name: str, body: Any, model: Map) -> Phase:
    body = in_phase(body, model) if isinstance(body, Map) else Map()
    entry = registry.lookup("phase", str(plain(body.get("phase", Leaf(name)))))
    changes = body.get("set")
    return Phase(name, entry, plain(body.drop("phase")), changes if isinstance(changes, Map) else Map())
