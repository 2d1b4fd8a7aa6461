"""Assemblies of trained parts as candidates of a search: nothing is trained, they are put together and validated."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from assembler.assemble.job import Job
from assembler.assemble.judging import assess
from assembler.assemble.product import Product
from assembler.assemble.task import Task, task
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.graph.text import from_text, to_text
from assembler.infer.cost import total
from assembler.pipeline.code import code_of
from assembler.pipeline.jobs import assembled, data_of, task_of
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.settings import Settings
from assembler.pipeline.search.trainer import read
from assembler.recipe.choices import Choice, Decision, Space
from assembler.recipe.document import Document
from assembler.search.evaluators import Outcome
from assembler.search.exact import Additive, solve
from assembler.search.trial import Trial
from assembler.train.device import resolve

PARTS = "assembler:parts"
"""The fact of a study that says which choices of the recipe each part of each slot stands for."""
SUMS = "assembler:costs"
"""The fact of a study that says what the rest of the host costs, and each part as it stands in it."""
_SETTING = ("data", "data_id", "task", "metric", "device")


class Assemblies:
    """The assemblies of parts. A decision is a slot, its candidates are the parts that are there, by label.

    `parts` has, for each slot, the label of every part and the picks of the recipe's own decisions that it stands for.
    `sums` are the costs that add up over the parts as they stand in their host, which may differ from the recipe's.
    """

    growth = None

    def __init__(
        self, whole: Candidates, parts: Mapping[str, Sequence[tuple[str, Choice]]], sums: Additive | None = None
    ) -> None:
        self.whole, self.name, self.model, self._parts, self._sums = whole, whole.name, whole.model, parts, sums
        self.space = Space(
            tuple(Decision(s, "oneof", tuple(label for label, _ in found)) for s, found in parts.items())
        )

    @staticmethod
    def read(whole: Candidates, facts: Mapping[str, Any]) -> Assemblies:
        """The assemblies that a study's `facts` tell of."""
        parts = {slot: [(label, _picks(picks)) for label, picks in found] for slot, found in facts[PARTS].items()}
        if SUMS not in facts:
            return Assemblies(whole, parts)
        scores = {slot: (0.0,) * len(found) for slot, found in parts.items()}
        return Assemblies(whole, parts, Additive(scores, **facts[SUMS]))

    def picks(self, choice: Choice) -> Choice:
        """The choice of the recipe's own decisions that makes an assembly."""
        made = {slot: found[indexed(choice)[slot]][1] for slot, found in self._parts.items()}
        return {name: pick for picks in made.values() for name, pick in picks.items()}

    def graph(self, choice: Choice) -> Graph:
        """The graph of an assembly."""
        return self.whole.graph(self.picks(choice))

    def fingerprint(self, choice: Choice) -> str:
        """What assemblies of the same parts share.

        Equal graphs are not enough: a part that stands in another slot was trained there, and has other weights.
        """
        held = [f"{slot}={label}" for slot, label in self.space.named(choice).items()]
        return hashlib.blake2b(" ".join(held).encode(), digest_size=16).hexdigest()

    def cost(self, choice: Choice) -> dict[str, float]:
        """The costs of an assembly by name; those that do not add up over parts are of the recipe's own model."""
        sums, picked = self._sums, indexed(choice)
        found = {n: sums.cost(n, picked) for n in sums.costs if n in self.whole.wanted} if sums else {}
        rest = self.whole.wanted - found.keys()
        return found | ({n: c for n, c in self.whole.cost(self.picks(choice)).items() if n in rest} if rest else {})

    def refusal(self, choice: Choice, costs: Mapping[str, float] | None = None) -> str:
        """Why an assembly breaks a constraint of the recipe's space."""
        return self.whole.refusal(self.picks(choice), costs)

    def recipe(self, choice: Choice) -> str:
        """The recipe of an assembly as text."""
        return self.whole.recipe(self.picks(choice))

    @property
    def text(self) -> str:
        """The recipe with its choices open, as text."""
        return self.whole.text

    @property
    def facts(self) -> dict[str, Any]:
        """What else is to be known of a study of them, as plain data."""
        parts = {slot: [[label, dict(picks)] for label, picks in found] for slot, found in self._parts.items()}
        sums = {SUMS: {"costs": self._sums.costs, "fixed": self._sums.fixed}} if self._sums else {}
        return {PARTS: parts, **sums}


class Made(Protocol):
    """A run under way, as far as its assemblies need it."""

    def assembly(self, seed: int, picks: Mapping[str, int]) -> tuple[Graph, dict[str, Task]]:
        """The graph of an assembly, with the host and the trained parts as needs."""


@dataclass(frozen=True)
class Assembler:
    """Trials as validations of assemblies, which `run` makes of the `variants` that were trained in each slot.

    `inputs` are those that every training of the run has, `beside` the models that the task compares with.
    """

    document: Document
    candidates: Assemblies
    how: Settings
    run: Made
    variants: Mapping[str, Sequence[int]]
    inputs: Mapping[str, Any]
    beside: Mapping[str, Task]
    additive: Additive
    phase: str = "search"

    away: ClassVar[bool] = True
    steps: ClassVar[None] = None
    seen: ClassVar[tuple[str, ...]] = ()
    devices: ClassVar[tuple[str, ...]] = ()

    @property
    def about(self) -> dict[str, Any]:
        """What the values of trials depend on beside their choices."""
        return {"data": self.how.data, "objectives": list(self.how.goals), "mode": self.how.mode}

    @property
    def data(self) -> Mapping[str, Any]:
        """The data that assemblies are validated on."""
        return self.how.data_for("assemblies are validated")

    def check(self) -> None:
        """Raise BudgetError where no assembly fits, with what binds."""
        solve(self.additive)

    def key(self, choice: Choice) -> str:
        """What candidates share that are the same parts."""
        return self.candidates.fingerprint(choice)

    def task(self, trial: Trial, more: Mapping[str, Task]) -> Task:
        """The validation of an assembly."""
        picks = {slot: self.variants[slot][i] for slot, i in indexed(trial.choice).items()}
        graph, needs = self.run.assembly(self.how.seed, picks)
        inputs = {"graph": to_text(graph), **{name: self.inputs[name] for name in _SETTING}}
        label = " ".join(trial.labels.values())
        code = code_of(graph, (), {})
        return task(f"{__name__}:score", inputs, {**needs, **self.beside, **more}, label=label, phase=self.phase,
                    code=code)  # fmt: skip

    def read(self, trial: Trial, product: Product) -> Outcome:
        """The values of a trial."""
        return read(self.how, trial, product)


def score(job: Job) -> dict[str, Any]:
    """What an assembly is worth on the validation split, and the FLOPs of that."""
    graph, data, device = from_text(job.inputs["graph"]), data_of(job), resolve(job.inputs["device"])
    module = lower(graph)
    load_there(module, assembled(job) or {})
    metric, loss = assess(module.to(device), graph, data, task_of(job), device)
    return {"validation": metric, "loss": loss, "flops": total(graph).flops * len(data.validation)}


def indexed(choice: Mapping[str, Any]) -> dict[str, int]:
    """The index of the part in each slot."""
    return {slot: int(pick) for slot, pick in choice.items()}


def _picks(said: Mapping[str, Any]) -> Choice:
    """Picks that were written as JSON."""
    return {name: tuple(pick) if isinstance(pick, list) else pick for name, pick in said.items()}
