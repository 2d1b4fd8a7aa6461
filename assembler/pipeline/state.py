"""The state of a run as its phases go by: which tasks made which models and parts, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler.assemble.plan import Failure
from assembler.assemble.product import Product
from assembler.assemble.runner import Runner
from assembler.assemble.task import Task, closure, task
from assembler.errors import AssemblerError, InputError, TaskError, near
from assembler.graph.core import Graph
from assembler.graph.edit import graft
from assembler.graph.text import to_text
from assembler.infer.cost import Cost, total
from assembler.pipeline.checking.budgets import OWN, Which, model_of, tree_of
from assembler.pipeline.code import beginnings, code_of
from assembler.pipeline.exporting import Format
from assembler.pipeline.folders import Place
from assembler.pipeline.jobs import PARENT
from assembler.pipeline.slots import Variant, in_host, variants
from assembler.pipeline.spec import Purpose, RunSpec
from assembler.pipeline.weights.beginning import of_model
from assembler.pipeline.weights.initial import needs_of
from assembler.pipeline.weights.loading import places
from assembler.search.pareto import Direction
from assembler.search.watch import Watch
from assembler.train.data.core import fingerprint
from assembler.train.spec import settings
from assembler.train.spread import spread
from assembler.train.terms import AT_HOST, Spec, as_objective, ordered, read, within

ASSEMBLED = "assembled"
"""What the model of the assemble phase is called."""
_APART = 1_000_003
"""How far the seeds of trainings lie apart that differ in their own `seed`: further than seeds of runs do."""
Objective = list[dict[str, Any]] | dict[str, Any]
OnSearch = Callable[[str, Mapping[str, Direction], int], Watch]
"""Told that a phase searches, for which objectives and with how many trials; gives what is told of each trial."""


@dataclass
class Run:
    """A run under way. `models` and `parts` are tasks by name and seed; `make` turns tasks into products.

    `studies` are what a report says of searches by seed, `winners` of those that train candidates graphs, with what a
    training needs that goes on with their weights. Without a `place` searches are not written down.
    """

    spec: RunSpec
    runner: Runner
    device: str = "auto"
    phase: str = ""
    host: str = ""
    main: str = ""
    models: dict[str, dict[int, Task]] = field(default_factory=dict)
    graphs: dict[str, Graph] = field(default_factory=dict)
    parts: dict[int, dict[tuple[str, int], Task]] = field(default_factory=dict)
    searches: dict[int, Task] = field(default_factory=dict)
    studies: dict[int, dict[str, Any]] = field(default_factory=dict)
    winners: dict[int, tuple[Graph, dict[str, Task]]] = field(default_factory=dict)
    tuning: tuple[Objective | None, dict[str, Any] | None] = (None, None)
    assembled: dict[int, Graph] = field(default_factory=dict)
    baselines: dict[str, str] = field(default_factory=dict)
    exports: tuple[Format, ...] | None = None
    results: dict[Task, Product | Failure] = field(default_factory=dict)
    place: Place | None = None
    on_tasks: Callable[[list[Task]], None] | None = None
    on_search: OnSearch | None = None
    _variants: dict[str, tuple[Variant, ...]] | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that the whole path is repeated with."""
        return self.spec.seeds

    @property
    def variants(self) -> dict[str, tuple[Variant, ...]]:
        """Every slot's variants; once parts have a host, as they stand in that."""
        if self._variants is None:
            self._variants = variants(self.spec)
        return self._variants

    def seat(self, host: str) -> None:
        """Let the slots' variants stand in a host. Raises InputError where they cannot."""
        self._variants = in_host(self.host_model(host), host, self.variants)
        self.host = host

    def model_graph(self, which: Which = OWN) -> Graph:
        """The graph of the model of a phase, by default the run's as it is written."""
        return model_of(self.spec, which)

    def begin(self, graph: Graph, which: Which = OWN, *, fitting: bool = False) -> dict[str, Task]:
        """The weights that the training of a model begins with, as a need; none where the recipe names none.

        `graph` is that of the model `which`; with `fitting` it may be another, which gets what fits it.
        """
        found = places(tree_of(self.spec, which), self.spec.document.folder)
        return needs_of(self.runner.store, graph, found, phase=self.phase, fitting=fitting)

    def add_model(
        self,
        name: str,
        which: Which,
        train: Mapping[str, Any] | None,
        objective: Objective | None = None,
        more: Mapping[str, Any] | None = None,
        purpose: Purpose | None = None,
    ) -> None:
        """Plan one training a seed of the model `which`, called `name` from now on; the rest as in `training`."""
        graph = self.graphs[name] = self.model_graph(which)
        begin = self.begin(graph, which)
        objectives = [turn["objective"] for turn in (more or {}).get("turns", ())] or [objective]
        made = {}
        for seed in self.seeds:
            needs = {n: t for said in objectives for n, t in self.teachers(seed, said, name, purpose).items()} | begin
            made[seed] = self.training(name, graph, seed, train, objective, needs, more, purpose)
        self.models[name] = made

    def add_loaded(self, name: str, which: Which, weights: str, purpose: Purpose | None = None) -> None:
        """Take a model's weights from a file instead of training it; every seed has the same one."""
        graph = self.graphs[name] = self.model_graph(which)
        where = of_model(self.spec, name, which, weights)
        begin = needs_of(self.runner.store, graph, where, phase=self.phase)
        inputs = {"graph": to_text(graph), **self.common(0, None, None, name, purpose=purpose)}
        begin |= self.teachers(0, None, name, purpose)
        code = code_of(graph, (), {})
        made = task("assembler.pipeline.jobs:load_model", inputs, begin, label=name, phase=self.phase, code=code)
        self.models[name] = dict.fromkeys(self.seeds, made)

    def training(
        self,
        label: str,
        graph: Graph,
        seed: int,
        train: Mapping[str, Any] | None,
        objective: Objective | None,
        needs: Mapping[str, Task] | None = None,
        more: Mapping[str, Any] | None = None,
        purpose: Purpose | None = None,
    ) -> Task:
        """The task that trains a whole model, for the run's purpose if it has none of its own.

        `more` are its turns and the paths that are trained, where it has any.
        """
        common = self.common(seed, train, objective, label, graph, purpose)
        inputs = {"graph": to_text(graph), **common, **(more or {})}
        if "turns" in inputs:
            inputs["turns"] = [{**turn, "objective": self.told(turn["objective"], graph)} for turn in inputs["turns"]]
        return task(
            "assembler.pipeline.jobs:train",
            inputs,
            needs,
            label=self.say(label, seed),
            phase=self.phase,
            code=[
                *code_of(graph, inputs["objective"], inputs["train"], inputs.get("turns", ())),
                *(beginnings() if PARENT in (needs or {}) else ()),
            ],
        )

    def common(
        self,
        seed: int,
        train: Mapping[str, Any] | None,
        objective: Objective | None,
        model: str = "",
        graph: Graph | None = None,
        purpose: Purpose | None = None,
    ) -> dict[str, Any]:
        """What every training task depends on; of `model` itself, if its task compares with that.

        Patterns of values are of `graph`, or of the host that parts are trained in.
        """
        what = purpose or self.spec.purpose()
        own = within(what.task, model) if model in self._compared(what) else what.task
        how = settings(self.spec.train, train or {})
        return {
            "data": dict(what.data),
            "data_id": fingerprint(what.data),
            "task": self.told(own, graph),
            "metric": what.metric,
            "train": how,
            "objective": self.told(as_objective(objective or own), graph),
            "seed": seed + _APART * int(how.get("seed", 0)),
            "device": self.device,
        }

    def told(self, said: Spec, graph: Graph | None) -> Spec:
        """An objective as tasks know it: with names in the place of patterns, and its steps in their order."""
        host = self.graphs.get(self.host)
        seen = graph or host
        others = self.graphs if host is None else {**self.graphs, "host": host}
        return ordered(spread(said, seen, others) if seen else said)

    def _compared(self, purpose: Purpose) -> frozenset[str]:
        """The models that a task compares with."""
        phases = {phase.name for phase in self.spec.phases}
        return frozenset(n.partition(".")[0] for n in read(purpose.task, "task").needs if "." in n) & phases

    def teachers(
        self, seed: int, objective: Objective | None, model: str = "", purpose: Purpose | None = None
    ) -> dict[str, Task]:
        """The models that an objective or the task reads values of (`teacher.logits`), as needs; `model` reads its own.

        Raises InputError where the teacher is none that was made.
        """
        values = [name.partition(".") for name in sorted(read(objective).needs)] if objective else []
        heads = dict.fromkeys(head.removesuffix(AT_HOST) for head, dot, _ in values if dot and head != "host")
        heads |= dict.fromkeys(sorted(self._compared(purpose or self.spec.purpose()) - {model}))
        if "teacher" in heads and "teacher" not in self.models:
            raise InputError(f"phase '{self.phase}' reads the teacher, and no phase before it makes one")
        return {head: self.models[head][seed] for head in heads if head in self.models}

    def assembly(self, seed: int, picks: Mapping[str, int]) -> tuple[Graph, dict[str, Task]]:
        """The graph of an assembly, with the host and the trained parts as needs; `picks` are variants by slot."""
        graph, needs = self.graphs[self.host], {"host": self.models[self.host][seed]}
        for slot, pick in picks.items():
            graph = graft(graph, slot, self.variants[slot][pick].graph)
            needs[f"part:{slot}"] = self.parts[seed][slot, pick]
        return graph, needs

    def made_before(self, name: str) -> dict[int, Task]:
        """The model of an earlier phase, by seed. Raises InputError where none is called so."""
        if name not in self.models:
            known = near(name, self.models) or f"models made before it: {', '.join(self.models) or 'none yet'}"
            raise InputError(f"phase '{self.phase}' needs the model '{name}'", hint=known)
        return self.models[name]

    def graph_of(self, name: str, seed: int) -> Graph:
        """The graph of a model; that of an assembly may be another one for each seed."""
        return self.assembled[seed] if name == ASSEMBLED and seed in self.assembled else self.host_model(name)

    def becomes(self, made: dict[int, Task], graph: Graph) -> None:
        """Make what the phase has made of models before it: the run's model from then on, by the phase's name."""
        self.models[self.phase] = made
        self.graphs[self.phase] = graph
        self.main = self.phase

    def say(self, label: str, seed: int) -> str:
        """A task's label for people."""
        return f"{label} · seed {seed}" if len(self.seeds) > 1 else label

    def make(self, tasks: Iterable[Task]) -> dict[Task, Product | Failure]:
        """Products (or failures) of the tasks and of all that they need; what has failed already is not tried again."""
        wanted = list(dict.fromkeys(tasks))
        fresh = [t for t in wanted if t not in self.results]
        if self.on_tasks:
            self.on_tasks(closure(fresh, lambda t: self.runner.store.get(t.key) is None))
        self.results |= self.runner.run(fresh)
        return {t: self.results[t] for t in wanted}

    def product(self, wanted: Task) -> Product:
        """The product of one task. Raises what `error` says where it failed."""
        found = self.make([wanted])[wanted]
        if isinstance(found, Failure):
            raise self.error(found, f"{wanted.name} failed")
        return found

    def error(self, failure: Failure, what: str) -> AssemblerError:
        """What to raise for a failure, with the reason at its root: an InputError where that is the user's input."""
        found = (self.results.get(t) for t in closure([failure.task]))
        root = next((f for f in found if isinstance(f, Failure) and f.kind != "needs"), failure)
        return (InputError if root.kind == "input" else TaskError)(f"{what}: {root.reason}", hint=root.hint)

    def cost(self, name: str) -> Cost:
        """Parameters and FLOPs of a model."""
        return total(self.graphs[name])

    def host_model(self, name: str) -> Graph:
        """The graph of the host that parts are trained in. Raises InputError where no phase makes it."""
        if name not in self.graphs:
            known = ", ".join(self.graphs) or "none yet"
            raise InputError(f"phase '{self.phase}' needs the model '{name}'", hint=f"models made before it: {known}")
        return self.graphs[name]
