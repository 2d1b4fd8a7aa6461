"""The state of a run as its phases go by: which tasks made which models and parts, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assembler.assemble.plan import Failure
from assembler.assemble.product import Product, sha256
from assembler.assemble.runner import Runner
from assembler.assemble.task import Task, closure, task
from assembler.errors import AssemblerError, InputError, TaskError
from assembler.graph.core import Graph
from assembler.graph.text import to_text
from assembler.infer.cost import Cost, total
from assembler.pipeline.budgets import model_of
from assembler.pipeline.code import code_of
from assembler.pipeline.exporting import FORMATS, Format
from assembler.pipeline.slots import Variant, variants
from assembler.pipeline.spec import RunSpec
from assembler.train.data.core import fingerprint
from assembler.train.terms import read

Objective = list[dict[str, Any]] | dict[str, Any]


@dataclass
class Run:
    """A run under way. `models` and `parts` are tasks by name and seed; `make` turns tasks into products."""

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
    tuning: tuple[Objective | None, dict[str, Any] | None] = (None, None)
    assembled: dict[int, Graph] = field(default_factory=dict)
    baselines: dict[str, str] = field(default_factory=dict)
    exports: tuple[Format, ...] = FORMATS
    results: dict[Task, Product | Failure] = field(default_factory=dict)
    on_tasks: Callable[[list[Task]], None] | None = None
    _variants: dict[str, tuple[Variant, ...]] | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that the whole path is repeated with."""
        return self.spec.seeds

    @property
    def variants(self) -> dict[str, tuple[Variant, ...]]:
        """Every slot's variants."""
        if self._variants is None:
            self._variants = variants(self.spec)
        return self._variants

    def model_graph(self, changes: Mapping[str, Any] | None = None) -> Graph:
        """The graph of the run's model as it is written, with `changes` (path -> value) made to the recipe."""
        return model_of(self.spec, changes)

    def add_model(
        self,
        name: str,
        graph: Graph,
        train: Mapping[str, Any] | None,
        objective: Objective | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Plan one training of `graph` a seed, known as `name` from now on; `more` is as in `training`."""
        self.graphs[name] = graph
        objectives = [turn["objective"] for turn in (more or {}).get("turns", ())] or [objective]
        self.models[name] = {}
        for seed in self.seeds:
            teachers = {n: t for said in objectives for n, t in self.teachers(seed, said).items()}
            self.models[name][seed] = self.training(name, graph, seed, train, objective, teachers, more)

    def add_loaded(self, name: str, graph: Graph, weights: str) -> None:
        """Take a model's weights from a file instead of training it; every seed has the same one."""
        file = Path(weights)
        if not file.is_file():
            raise InputError(f"no weights file {file}", path=f"phases.{self.phase}.weights")
        inputs = {
            "graph": to_text(graph),
            "file": str(file.resolve()),
            "sha256": sha256(file),
            **self.common(0, None, None),
        }
        made = task(
            "assembler.pipeline.jobs:load_model", inputs, label=name, phase=self.phase, code=code_of(graph, (), {})
        )
        self.graphs[name] = graph
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
    ) -> Task:
        """The task that trains a whole model; `more` are its turns and the paths that are trained, where it has any."""
        inputs = {"graph": to_text(graph), **self.common(seed, train, objective), **(more or {})}
        return task(
            "assembler.pipeline.jobs:train",
            inputs,
            needs,
            label=self.say(label, seed),
            phase=self.phase,
            code=code_of(graph, inputs["objective"], inputs["train"], inputs.get("turns", ())),
        )

    def common(self, seed: int, train: Mapping[str, Any] | None, objective: Objective | None) -> dict[str, Any]:
        """What every training task depends on."""
        return {
            "data": dict(self.spec.data),
            "data_id": fingerprint(self.spec.data),
            "task": dict(self.spec.task),
            "metric": self.spec.metric,
            "train": {**self.spec.train, **(train or {})},
            "objective": objective or [dict(self.spec.task)],
            "seed": seed,
            "device": self.device,
        }

    def teachers(self, seed: int, objective: Objective | None) -> dict[str, Task]:
        """The models that an objective reads values of (`teacher.logits`), as needs. Raises InputError without one."""
        values = [name.partition(".") for name in sorted(read(objective).needs)] if objective else []
        heads = dict.fromkeys(head for head, dot, _ in values if dot and head != "host")
        if "teacher" in heads and "teacher" not in self.models:
            raise InputError(f"phase '{self.phase}' reads the teacher, and no phase before it makes one")
        return {head: self.models[head][seed] for head in heads if head in self.models}

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
