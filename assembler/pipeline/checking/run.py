"""What is wrong with the sections of a run, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from assembler.errors import Problem, RecipeError, Span
from assembler.pipeline import splitting
from assembler.pipeline.checking.given import metric, registered, training
from assembler.pipeline.checking.objectives import TASK as TASK
from assembler.pipeline.checking.objectives import objective
from assembler.pipeline.checking.phases import Phases
from assembler.recipe.borrowed import with_borrowed
from assembler.recipe.choices import space
from assembler.recipe.document import Document
from assembler.recipe.values import Leaf, Map, Value, plain


class RunCheck:
    """Checks a run; a recipe that is not `sound` has mistakes already."""

    def __init__(self, document: Document, *, sound: bool) -> None:
        self.document, self.sound = document, sound
        self.tree = document.tree
        self.decisions = space(document.model, [])
        self.phases = Phases(document, self.decisions, sound=sound)

    def problems(self) -> Iterator[Problem]:
        yield from self.data()
        yield from training(self.tree.get("train"))
        yield from self.task()
        yield from metric(self.tree.get("metric")) if "metric" in self.tree else ()
        yield from self.seeds()
        yield from self.phases.problems(self.tree.get("phases"), self.tree.span)
        yield from self.split()
        yield from self.lock()

    def task(self) -> Iterator[Problem]:
        """What is wrong with the task, or with a model that has not what the usual one reads."""
        scene, written = self.phases.scene(""), self.tree.get("task")
        if written is not None:
            try:
                written = with_borrowed(written, self.document.default)
            except RecipeError as error:
                yield from error.problems
                return
            models = tuple(self._making())
            yield from objective(written, replace(scene, models=models, changed=frozenset(models)))
        elif scene.graph is not None and not scene.has(TASK["value"]):
            outputs = [name for name, _ in scene.graph.outputs]
            said = f"the model has no '{TASK['value']}', which a run is about that has no 'task'"
            hint = f"call the output so, or write task: {{{', '.join(f'{k}: {v}' for k, v in TASK.items())}}}"
            hint = hint.replace(f"value: {TASK['value']}", f"value: {outputs[0]}") if outputs else hint
            if losses := [name for name, mode in scene.graph.only if mode == "train" and name in outputs]:
                hint = f"task: {{value: {losses[0]}}} if that is the loss that the model carries, or {hint}"
            yield Problem(said, self._where("model"), hint=hint)

    def _making(self) -> Iterator[str]:
        """The names of the phases that make models which a task may compare with."""
        phases = self.tree.get("phases")
        for name, body in phases if isinstance(phases, Map) else ():
            kind = plain(body.get("phase", Leaf(name))) if isinstance(body, Map) else name
            if kind in ("meta", "teacher", "train"):
                yield name

    def data(self) -> Iterator[Problem]:
        value = self.tree.get("data")
        if value is None or value == Leaf(None):
            yield Problem("a run needs 'data'", self._where("data"), hint="for instance data: {name: digits}")
        else:
            yield from registered("dataset", value, "name")

    def seeds(self) -> Iterator[Problem]:
        value = self.tree.get("seeds")
        seeds = plain(value) if value is not None else [0]
        if not isinstance(seeds, list) or not seeds or not all(type(s) is int and s >= 0 for s in seeds):
            said = "'seeds' must be a list of whole numbers from 0 on"
            yield Problem(said, value.span if value else None, hint="for instance [0, 1, 2]")
        elif len(set(seeds)) < len(seeds) and value is not None:
            yield Problem("a seed stands twice", value.span, hint="for instance [0, 1, 2]")

    def lock(self) -> Iterator[Problem]:
        value = self.tree.get("lock", Map())
        weights = value.get("weights", Map()) if isinstance(value, Map) else value
        said = plain(weights)
        if not isinstance(said, dict) or not all(isinstance(digest, str) for digest in said.values()):
            hint = "for instance lock: {weights: {model.safetensors: <sha256>}}, as recipe.lock.yaml has it"
            yield Problem("'lock' must say which weights a run was made with", value.span, hint=hint)

    def _where(self, key: str) -> Span | None:
        return self.tree.key_span(key) if key in self.tree else self.tree.span

    def split(self) -> Iterator[Problem]:
        value = self.tree.get("split")
        if value is None and self.decisions.decisions and self.sound and "incubate" in self.phases.kinds:
            yield Problem("a run that incubates parts needs 'split'", self._where("space"), hint="split: [stage.*]")
        yield from splitting.problems(self.document, self.phases.graph, self.decisions, sound=self.sound)


def settings_of(value: Value | None) -> Mapping[str, Any]:
    """A mapping section as plain data, empty where it is not written."""
    found = plain(value) if value is not None else {}
    assert isinstance(found, dict)
    return found
