"""What is wrong with a run, and with the `search:` of a space; without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from assembler import registry
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.graph.core import Graph
from assembler.pipeline import splitting
from assembler.pipeline.checking import rewrites as check_rewrites
from assembler.pipeline.checking.borrowing import in_phase
from assembler.pipeline.checking.given import arguments, registered, training
from assembler.pipeline.checking.objectives import TASK as TASK
from assembler.pipeline.checking.objectives import objective, paths, turns
from assembler.pipeline.checking.scene import Scene
from assembler.recipe.borrowed import with_borrowed
from assembler.recipe.choices import Space, space
from assembler.recipe.document import Document, beside, changed, entries
from assembler.recipe.expressions import evaluate, parse
from assembler.recipe.scope import Scope, vars_of
from assembler.recipe.values import Leaf, Map, Seq, Value, plain
from assembler.registry import checks
from assembler.train.terms import metrics
from assembler.wiring.build import draft

COSTS = ("params", "flops")
PARTS = (*COSTS, "memory", "latency")
"""What budgets bound: of candidates that are trained, of assemblies of parts."""
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


def search_problems(value: Value, decisions: Space, names: Scope) -> Iterator[Problem]:
    """What is wrong with a space's `search:` section; `names` are the vars of its first candidate."""
    if not isinstance(value, Map):
        yield Problem("'search' must be a mapping", value.span, hint="for instance {data: digits, trials: 20}")
        return
    from assembler.pipeline.checking.search import asked, cheaper  # what a recipe does not have is not imported

    yield from arguments(registry.settings("search"), value, value.span)
    if "data" in value:
        yield from registered("dataset", value.get("data"), "name")
    yield from asked(value, decisions)
    yield from training(value.get("train"), names)
    if any(key in value for key in ("mode", "screen", "prune", "supernet", "objectives")):
        yield from cheaper(value)
    budget = value.get("budget")
    for name in budget.keys() if isinstance(budget, Map) else ():
        if name not in COSTS:
            hint = near(name, COSTS) or f"budgets: {', '.join(COSTS)}"
            yield Problem(f"there is no budget for '{name}'", budget.key_span(name), hint=hint)


class RunCheck:
    """Checks a run. `models` are the names of the models that the phases so far make, `kinds` the phases' kinds."""

    def __init__(self, document: Document, *, sound: bool) -> None:
        self.document = document
        self.tree = document.tree
        self.sound = sound
        self.decisions = space(document.model, [])
        self.model = document.default
        self.graph: Graph | None = draft(self.model, [], name="the model") if len(document.model) else None
        self.models: list[str] = []
        self.kinds: set[str] = set()
        self.changed: set[str] = set()
        self.graphs: dict[str, Graph | None] = {}

    def problems(self) -> Iterator[Problem]:
        yield from self.data()
        yield from training(self.tree.get("train"))
        yield from self.task()
        yield from _metric(self.tree.get("metric")) if "metric" in self.tree else ()
        yield from self.seeds()
        yield from self.phases()
        yield from self.split()
        yield from self.lock()

    def task(self) -> Iterator[Problem]:
        """What is wrong with the task, or with a model that has not what the usual one reads."""
        scene, written = self.scene(""), self.tree.get("task")
        if written is not None:
            try:
                written = with_borrowed(written, self.model)
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

    def phases(self) -> Iterator[Problem]:
        value = self.tree.get("phases")
        if not isinstance(value, Map) or not len(value):
            place = value.span if value is not None else self._where("phases")
            hint = f"phases are {', '.join(registry.names('phase'))}"
            yield Problem("a run needs 'phases', a mapping", place, hint=hint)
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
        options: dict[str, Callable[[Value], Iterator[Problem]]] = {
            "data": lambda v: registered("dataset", v, "name"),
            "task": lambda v: objective(v, scene),
            "metric": _metric,
            "train": lambda v: training(v, vars_of(self.model) if kind == "search" else None),
            "grow": training,
            "nested": training,
            "objective": lambda v: objective(v, scene),
            "turns": lambda v: turns(v, scene, beside="objective" in body),
            # What a rewrite makes is not known without torch.
            "trained": lambda v: paths(v, replace(scene, graph=None) if kind == "rewrite" else scene, "trained"),
            "budget": lambda v: self.budget(v, plain(body.get("mode", Leaf("parts")))),
            "model": lambda v: self.other(name, v, body.get("set")),
            "set": lambda v: iter(()) if "model" in body else self.set(v),
            "of": lambda v: check_rewrites.source(v, self.models, _DONE.get(kind, "read")),
            "base": lambda v: check_rewrites.source(v, self.models),
            "take": lambda v: check_rewrites.taken(v, self.models, self._written(body), self._known),
            "method": lambda v: registered("merge", _fixed(v), "name"),
            "apply": lambda v: check_rewrites.rewrites(v, self._written(body)),
        }
        for key, look in options.items():
            told = key in ("train", "grow", "nested") and not isinstance(body.get(key), Map)  # that it is no mapping
            if key in body and entry.param(key) and body.get(key) != Leaf(None) and not told:
                yield from look(body.get(key))
        if kind == "incubate":
            yield from self.host(body.get("host", Leaf("meta", span)))
        self.note(name, kind, body, scene)

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
        from assembler.pipeline.checking.search import asked, cheaper  # as above

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
            there = f"put a phase '{name}' before it{'' if _makes_model(name) else ', with phase: teacher'}"
            yield Problem(said, value.span, hint=near(name, self.models) or (made if self.models else there))

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

    def budget(self, value: Value, mode: object) -> Iterator[Problem]:
        section, costs = value if isinstance(value, Map) else Map(), PARTS if mode == "parts" else COSTS
        for name, limit in section:
            if name not in costs:
                hint = near(name, costs) or f"budgets: {', '.join(costs)}"
                yield Problem(f"there is no budget for '{name}'", section.key_span(name), hint=hint)
            said = plain(limit)
            try:
                said = (
                    evaluate(parse(said, limit.span), dict.fromkeys(self.models, 1e6))
                    if isinstance(said, str)
                    else said
                )
            except RecipeError as error:
                yield from (self._unmade(p) for p in error.at(limit.span).problems)
                continue
            if isinstance(said, bool) or not isinstance(said, int | float) or said <= 0:
                shown = checks.shown(plain(limit))
                hint = "for instance 20000, or =0.5 * teacher"
                yield Problem(f"the budget of '{name}' must be a number above 0, not {shown}", limit.span, hint=hint)

    def _unmade(self, problem: Problem) -> Problem:
        """An unknown name in a budget, where only models that phases make are known."""
        name = problem.message.removeprefix("unknown name '").rstrip("'")
        if not problem.message.startswith("unknown name ") or near(name, self.models):
            return problem
        made = f"models made before it: {', '.join(self.models)}; " if self.models else ""
        hint = f"{made}a phase '{name}' before it would make one" if _makes_model(name) else made.rstrip("; ")
        return replace(problem, hint=hint or "a phase before it, for instance 'teacher', has to make a model")

    def scene(self, kind: str, body: Map = _NOTHING) -> Scene:
        """What an objective in a phase of that kind, with these options, may read."""
        sections = [s for s in (self.tree.get("train"), body.get("train")) if isinstance(s, Map)]
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

    def split(self) -> Iterator[Problem]:
        value = self.tree.get("split")
        if value is None and self.decisions.decisions and self.sound and "incubate" in self.kinds:
            yield Problem("a run that incubates parts needs 'split'", self._where("space"), hint="split: [stage.*]")
        yield from splitting.problems(self.document, self.graph, self.decisions, sound=self.sound)


def _metric(value: Value) -> Iterator[Problem]:
    known = metrics()
    if plain(value) not in known:
        hint = near(str(plain(value)), known) or "there are " + ", ".join(known)
        yield Problem(f"unknown metric {checks.shown(plain(value))}", value.span, hint=hint)


def _unread(name: str, body: Map) -> Iterator[Problem]:
    """The options of a phase that goes on with a model which are for one that begins with another's weights."""
    of = plain(body.get("of", Leaf("it")))
    for key, usual in (("start", "host"), ("grow", None)):
        if plain(body.get(key, Leaf(usual))) != usual:
            said = f"'{key}' changes nothing: without 'set' phase '{name}' trains '{of}' itself further"
            hint = f"for instance set: {{vars.depth: 3}}, or set: {{}} for the run's own model; or take '{key}' out"
            yield Problem(said, body.key_span(key), hint=hint)


def settings_of(value: Value | None) -> Mapping[str, Any]:
    """A mapping section as plain data, empty where it is not written."""
    found = plain(value) if value is not None else {}
    assert isinstance(found, dict)
    return found


def _fixed(method: Value) -> Value:
    """A way to merge without the numbers that differ along the model."""
    along = [name for name, value in method if isinstance(value, Map | Seq)] if isinstance(method, Map) else []
    return method.drop(*along) if isinstance(method, Map) else method


def _makes_model(kind: str) -> bool:
    """Whether a phase of that name would make a model."""
    return kind in registry.names("phase") and bool(registry.lookup("phase", kind).option("makes"))
