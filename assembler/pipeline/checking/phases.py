"""What is wrong with the phases of a run, one after another: each knows the models that those before it make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from assembler import registry
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.graph.core import Graph
from assembler.pipeline.checking import rewrites as check_rewrites
from assembler.pipeline.checking.borrowing import in_phase
from assembler.pipeline.checking.given import arguments, metric, registered, training
from assembler.pipeline.checking.limits import limits, makes_model
from assembler.pipeline.checking.objectives import objective, paths, turns
from assembler.pipeline.checking.scene import Scene
from assembler.recipe.choices import Space
from assembler.recipe.document import Document, beside, changed, entries
from assembler.recipe.scope import vars_of
from assembler.recipe.values import Leaf, Map, Seq, Value, plain
from assembler.wiring.build import draft

Look = Callable[[Value], Iterator[Problem]]
_NEEDS = {
    "search": ("incubate", "trained parts"),
    "assemble": ("search", "the winner of a search"),
    "compare": ("assemble", "an assembled model"),
}
_ONCE = ("incubate", "search", "assemble", "compare")
_DONE = {"rewrite": "rewritten", "merge": "merged", "tune": "trained further", "splice": "spliced"}
_NOTHING = Map()
_TAKEN = ("assembled", "host", "slot", "test", "end_to_end_total", "end_to_end_tune", "random_assembly")
"""What runs, objectives and tables call things of their own: no phase can have the name."""


class Phases:
    """Checks phases. `models` are the names of the models that those so far make, `kinds` the phases' kinds.

    `changed` are models that may have other steps than the run's own, `graphs` those that the recipe tells of them.
    """

    def __init__(self, document: Document, decisions: Space, *, sound: bool) -> None:
        self.document, self.decisions, self.sound = document, decisions, sound
        self.model = document.default
        self.graph: Graph | None = draft(self.model, [], name="the model") if len(document.model) else None
        self.models: list[str] = []
        self.kinds: set[str] = set()
        self.changed: set[str] = set()
        self.graphs: dict[str, Graph | None] = {}

    def problems(self, value: Value | None, place: Span | None) -> Iterator[Problem]:
        """What is wrong with the section `phases:`, or with the run at `place` that has none."""
        if not isinstance(value, Map) or not len(value):
            hint = f"phases are {', '.join(registry.names('phase'))}"
            yield Problem("a run needs 'phases', a mapping", place if value is None else value.span, hint=hint)
            return
        for name, body in value:
            span = value.key_span(name)
            body = Map((), span) if body == Leaf(None) else body
            if isinstance(body, Map):
                try:
                    body = in_phase(body, self.model)
                except RecipeError as error:
                    yield from error.problems
                    body = body.drop("objective", "task", "turns")
                yield from self.phase(name, body, span)
            else:
                hint = f"for instance {name}: {{}}"
                yield Problem(f"phase '{name}' must be a mapping of options", body.span, hint=hint)

    def phase(self, name: str, body: Map, span: Span | None) -> Iterator[Problem]:
        kind = str(plain(body.get("phase", Leaf(name))))
        try:
            entry = registry.lookup("phase", kind)
        except AssemblerError as error:
            yield from error.at(body.get("phase").span if "phase" in body else span).problems
            return
        if name in _TAKEN:
            yield Problem(
                f"a phase cannot be called '{name}'", span, hint="runs use that name for something of their own"
            )
        if kind in _ONCE and kind in self.kinds:
            yield Problem(f"a run has one phase '{kind}'", span, hint="write a second run, it reads what this one made")
        yield from arguments(entry, body.drop("phase"), body.span or span, ("phase",))
        yield from self.searching(body) if kind == "search" else ()
        yield from _unread(name, body) if kind == "tune" and "set" not in body else ()
        yield from self.order(name, kind, plain(body.get("mode", Leaf("parts"))), span)
        scene = self.scene(kind, body)
        for key, look in self.looks(name, kind, body, scene).items():
            told = key in ("train", "grow", "nested") and not isinstance(body.get(key), Map)  # that it is no mapping
            if key in body and entry.param(key) and body.get(key) != Leaf(None) and not told:
                yield from look(body.get(key))
        if kind == "incubate":
            yield from self.host(body.get("host", Leaf("meta", span)))
        self.note(name, kind, body, scene)

    def looks(self, name: str, kind: str, body: Map, scene: Scene) -> dict[str, Look]:
        """What tells what is wrong with each option that some phase has."""
        return {
            "data": lambda v: registered("dataset", v, "name"),
            "task": lambda v: objective(v, scene),
            "metric": metric,
            "train": lambda v: training(v, vars_of(self.model) if kind == "search" else None),
            "grow": training,
            "nested": training,
            "objective": lambda v: objective(v, scene),
            "turns": lambda v: turns(v, scene, beside="objective" in body),
            # What a rewrite makes is not known without torch.
            "trained": lambda v: paths(v, replace(scene, graph=None) if kind == "rewrite" else scene, "trained"),
            "budget": lambda v: limits(v, plain(body.get("mode", Leaf("parts"))), self.models),
            "model": lambda v: self.other(name, v, body.get("set")),
            "set": lambda v: iter(()) if "model" in body else self.set(v),
            "of": lambda v: check_rewrites.source(v, self.models, _DONE.get(kind, "read")),
            "base": lambda v: check_rewrites.source(v, self.models),
            "take": lambda v: check_rewrites.taken(v, self.models, self._written(body), self._known),
            "method": lambda v: self.merging(v, body),
            "apply": lambda v: check_rewrites.rewrites(v, self._written(body)),
        }

    def note(self, name: str, kind: str, body: Map, scene: Scene) -> None:
        """Note which model a phase makes, and whether that may have other steps than the run's."""
        self.kinds.add(kind)
        if kind in ("rewrite", "splice") or not {"set", "model", "blocks"}.isdisjoint(body.keys()):
            self.changed.add(name)
        if "set" in body and "model" not in body:
            self.graphs[name] = scene.graph
        elif kind == "tune" and str(plain(body.get("of", Leaf("")))) in self.changed:
            self.changed.add(name)
            self.graphs[name] = scene.graph
        if kind == "incubate" and body.get("host", Leaf("meta")) in [Leaf(name) for name in self.changed]:
            self.changed.add("host")
        if registry.lookup("phase", kind).option("makes"):
            self.models.append("assembled" if kind == "assemble" else name)

    def _written(self, body: Map) -> Graph | None:
        """The graph of the model that a phase reads, if the recipe tells."""
        return self._known(str(plain(body.get("of", Leaf("")))))

    def _known(self, name: str) -> Graph | None:
        """The graph of a model that a phase has made, if the recipe tells."""
        if name in self.graphs:
            return self.graphs[name]
        same = self.sound and name in self.models and name not in {*self.changed, "assembled"}
        return self.graph if same else None

    def order(self, name: str, kind: str, mode: object, span: Span | None) -> Iterator[Problem]:
        before, what = _NEEDS.get(kind, ("", "")) if mode == "parts" else ("", "")
        if before and before not in self.kinds:
            said = f"phase '{name}' needs {what}, and no phase before it gives any"
            other = ", or search in another mode: trials, inherit, supernet" if kind == "search" else ""
            yield Problem(said, span, hint=f"put a phase '{before}' before it{other}")

    def searching(self, body: Map) -> Iterator[Problem]:
        """What is wrong with how a phase searches, beside its options one by one."""
        from assembler.pipeline.checking.search import asked, cheaper  # most runs do not search otherwise

        yield from asked(body, self.decisions, "parts")
        if any(key in body for key in ("mode", "screen", "prune", "supernet", "train", "objectives")):
            yield from cheaper(body, "parts")
        if plain(body.get("mode", Leaf("parts"))) == "parts" and self.decisions.moves:
            said = "moves change graphs, and slots have no parts that are trained for that"
            place = body.get("mode").span if "mode" in body else self.document.model.get("moves").span
            yield Problem(said, place, hint="search: {mode: trials}, or take the moves out")

    def host(self, value: Value) -> Iterator[Problem]:
        name = plain(value)
        if isinstance(name, str) and name not in self.models:
            said = f"parts are trained inside the model '{name}', and no phase before this one makes it"
            made = f"models made before it: {', '.join(self.models)}"
            there = f"put a phase '{name}' before it{'' if makes_model(name) else ', with phase: teacher'}"
            yield Problem(said, value.span, hint=near(name, self.models) or (made if self.models else there))

    def merging(self, method: Value, body: Map) -> Iterator[Problem]:
        """What is wrong with the way in which models are merged, and with how many there are."""
        fixed = _fixed(method)
        if found := list(registered("merge", fixed, "name")):
            yield from found
            return
        entry = registry.lookup("merge", str(plain(fixed.get("name") if isinstance(fixed, Map) else fixed)))
        of = [name for name in plain(body.get("of", Leaf(None))) or () if isinstance(name, str)]
        if entry.option("base") and "base" not in body:
            first = next((name for name in self.models if name not in of), "the phase that makes it")
            said = f"'{entry.name}' needs the base, the model that all were tuned from"
            yield Problem(said, method.span, hint=f"base: {first}")
        if (many := entry.option("models", 0)) and len(of) != many:
            yield Problem(f"'{entry.name}' merges {many} models, and there are {len(of)}", method.span)

    def other(self, name: str, value: Value, changes: Value | None) -> Iterator[Problem]:
        """What is wrong with the recipe that a phase names as its model, and with the changes to that."""
        found: list[Problem] = []
        self.graphs[name] = None
        try:
            model = (
                changed(beside(self.document, value).default, entries(changes)) if isinstance(value, Leaf) else Map()
            )
        except AssemblerError as error:
            yield from error.problems
            return
        self.graphs[name] = draft(model, found, name=f"'{name}'")
        yield from found

    def set(self, value: Value) -> Iterator[Problem]:
        """What is wrong with the changes that a phase makes to the model."""
        try:
            model = changed(self.model, entries(value))
        except RecipeError as error:
            yield from error.problems
            return
        if self.sound:
            found: list[Problem] = []
            draft(model, found)
            yield from found

    def scene(self, kind: str, body: Map = _NOTHING) -> Scene:
        """What an objective in a phase of that kind, with these options, may read."""
        sections = [s for s in (self.document.tree.get("train"), body.get("train")) if isinstance(s, Map)]
        averaged = any(plain(s.get("ema", Leaf(None))) for s in sections)
        goes_on = kind == "tune" and "set" not in body
        graph = (self._written(body) if goes_on else self._graph(body)) if self.sound else None
        alike = {name: self.graph if self.sound else None for name in self.models if name not in self.changed}
        return Scene(graph, tuple(self.models), frozenset(self.changed), kind, averaged, {**alike, **self.graphs})

    def _graph(self, body: Map) -> Graph | None:
        """The graph of the run's model as a phase changes it, None where the changes are wrong."""
        changes, found = body.get("set"), list[Problem]()
        if "model" in body or not isinstance(changes, Map):
            return self.graph
        try:
            graph = draft(changed(self.model, entries(changes)), found)
        except RecipeError:
            return None
        return None if found else graph


def _unread(name: str, body: Map) -> Iterator[Problem]:
    """The options of a phase that goes on with a model which are for one that begins with another's weights."""
    of = plain(body.get("of", Leaf("it")))
    for key, usual in (("start", "host"), ("grow", None)):
        if plain(body.get(key, Leaf(usual))) != usual:
            said = f"'{key}' changes nothing: without 'set' phase '{name}' trains '{of}' itself further"
            hint = f"for instance set: {{vars.depth: 3}}, or set: {{}} for the run's own model; or take '{key}' out"
            yield Problem(said, body.key_span(key), hint=hint)


def _fixed(method: Value) -> Value:
    """A way to merge without the numbers that differ along the model."""
    along = [name for name, value in method if isinstance(value, Map | Seq)] if isinstance(method, Map) else []
    return method.drop(*along) if isinstance(method, Map) else method
