"""Everything that is wrong with a recipe of any kind, without torch; runs are checked here, models in `graph.lint`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from assembler import registry
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.graph.build import draft
from assembler.graph.core import Graph
from assembler.graph.edit import cut
from assembler.graph.lint import lint
from assembler.recipe.choices import space
from assembler.recipe.document import Document, changed, entries
from assembler.recipe.expressions import evaluate, parse
from assembler.recipe.notes import in_order, note_all
from assembler.recipe.paths import get
from assembler.recipe.spread import spread
from assembler.recipe.values import Leaf, Map, Seq, Value, plain
from assembler.registry import Entry, checks
from assembler.train.spec import FitSpec

TASK = {"loss": "cross_entropy", "value": "logits", "target": "label"}
TERM_KEYS = ("loss", "value", "target", "weight", "name")
COSTS = ("params", "flops")
_NEEDS = {
    "search": ("incubate", "trained parts"),
    "assemble": ("search", "the winner of a search"),
    "compare": ("assemble", "an assembled model"),
}
_ONCE = ("incubate", "search", "assemble", "compare")
_TAKEN = ("assembled", "host", "slot", "test", "end_to_end_total", "end_to_end_tune", "random_assembly")
"""What runs, objectives and tables call things of their own: no phase can have the name."""
_MAKES_MODEL = ("meta", "teacher", "train", "assemble")


def check(document: Document) -> list[Problem]:
    """What is wrong with a loaded recipe (`load(..., strict=False)`), each mistake once, in the order of the file."""
    problems = lint(document)
    tree = document.tree
    if document.kind == "run":
        note_all(problems, _Run(document, sound=not problems).problems())
    elif "search" in tree:
        note_all(problems, _search(tree.get("search")))
    return in_order(problems, str(document.file or ""))


def _registered(kind: str, value: Value, key: str, beside: tuple[str, ...] = ()) -> Iterator[Problem]:
    """What is wrong with `name` or `{name: ..., arguments}` for a registered thing; keys `beside` are no arguments."""
    if not isinstance(value, Map):
        value = Map(((key, value),), value.span, (value.span,))
    said = value.get(key)
    if not isinstance(said, Leaf) or not isinstance(said.value, str):
        place = said.span if said is not None else value.span
        known = ", ".join(registry.names(kind)[:6])
        yield Problem(f"a {kind} needs '{key}', the name of one", place, hint=f"for instance {known}")
        return
    try:
        entry = registry.lookup(kind, said.value)
    except AssemblerError as error:
        yield from error.at(said.span).problems
        return
    yield from _arguments(entry, value.drop(key, *beside), value.span, (key, *beside))


def _arguments(entry: Entry, value: Map, span: Span | None, beside: tuple[str, ...] = ()) -> Iterator[Problem]:
    def place(name: str) -> Span | None:
        found = value.get(name)
        return found.span if found is not None else None

    for p in checks.problems(entry, plain(value), value.key_span, place, span=span):
        other = near(p.message.split("'")[-2], beside) if " has no " in p.message else ""
        yield replace(p, hint=other) if other else p


def _training(value: Value | None) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, Map):
        yield Problem("'train' must be a mapping", value.span, hint="for instance {epochs: 10, lr: 1e-3}")
        return
    found = list(_arguments(registry.settings("train"), value, value.span))
    yield from found
    for name, given in value:
        if any(f"'{name}'" in p.message for p in found):
            continue
        try:
            FitSpec(**{name: plain(given)})
        except RecipeError as error:
            yield from error.at(given.span).problems
    if (optimizer := value.get("optimizer")) is not None and isinstance(optimizer, Map | Leaf):
        yield from _registered("optimizer", optimizer, "name")


def _search(value: Value) -> Iterator[Problem]:
    """What is wrong with a space's `search:` section."""
    if not isinstance(value, Map):
        yield Problem("'search' must be a mapping", value.span, hint="for instance {data: digits, trials: 20}")
        return
    yield from _arguments(registry.settings("search"), value, value.span)
    for key, kind in (("data", "dataset"), ("sampler", "sampler")):
        if key in value:
            yield from _registered(kind, value.get(key), "name")
    yield from _training(value.get("train"))
    budget = value.get("budget")
    for name in budget.keys() if isinstance(budget, Map) else ():
        if name not in COSTS:
            hint = near(name, COSTS) or f"budgets: {', '.join(COSTS)}"
            yield Problem(f"there is no budget for '{name}'", budget.key_span(name), hint=hint)


class _Run:
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

    def problems(self) -> Iterator[Problem]:
        yield from self.data()
        yield from _training(self.tree.get("train"))
        if (task := self.tree.get("task")) is not None:
            yield from self.objective(Seq((task,), task.span), "")
        yield from self.metric()
        yield from self.seeds()
        yield from self.phases()
        yield from self.split()

    def data(self) -> Iterator[Problem]:
        value = self.tree.get("data")
        if value is None or value == Leaf(None):
            yield Problem("a run needs 'data'", self._where("data"), hint="for instance data: {name: digits}")
        else:
            yield from _registered("dataset", value, "name")

    def metric(self) -> Iterator[Problem]:
        value, known = self.tree.get("metric"), ["accuracy", *registry.names("loss")]
        if value is not None and plain(value) not in known:
            hint = near(str(plain(value)), known) or "there are " + ", ".join(known)
            yield Problem(f"unknown metric {checks.shown(plain(value))}", value.span, hint=hint)

    def seeds(self) -> Iterator[Problem]:
        value = self.tree.get("seeds")
        seeds = plain(value) if value is not None else [0]
        if not isinstance(seeds, list) or not seeds or not all(type(s) is int and s >= 0 for s in seeds):
            said = "'seeds' must be a list of whole numbers from 0 on"
            yield Problem(said, value.span if value else None, hint="for instance [0, 1, 2]")
        elif len(set(seeds)) < len(seeds) and value is not None:
            yield Problem("a seed stands twice", value.span, hint="for instance [0, 1, 2]")

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
        yield from _arguments(entry, body.drop("phase"), body.span or span, ("phase",))
        yield from self.order(name, kind, span)
        options: dict[str, Callable[[Value], Iterator[Problem]]] = {
            "train": _training,
            "objective": lambda v: self.objective(v, kind),
            "sampler": lambda v: _registered("sampler", v, "name"),
            "budget": self.budget,
            "set": self.set,
        }
        for key, look in options.items():
            if key in body and entry.param(key) and body.get(key) != Leaf(None):
                yield from look(body.get(key))
        if kind == "incubate":
            yield from self.host(body.get("host", Leaf("meta", span)))
        self.kinds.add(kind)
        if "set" in body:
            self.changed.add(name)
        if kind == "incubate" and plain(body.get("host", Leaf("meta"))) in self.changed:
            self.changed.add("host")
        if kind in _MAKES_MODEL:
            self.models.append("assembled" if kind == "assemble" else name)

    def order(self, name: str, kind: str, span: Span | None) -> Iterator[Problem]:
        before, what = _NEEDS.get(kind, ("", ""))
        if before and before not in self.kinds:
            said = f"phase '{name}' needs {what}, and no phase before it gives any"
            yield Problem(said, span, hint=f"put a phase '{before}' before it")

    def host(self, value: Value) -> Iterator[Problem]:
        name = plain(value)
        if isinstance(name, str) and name not in self.models:
            said = f"parts are trained inside the model '{name}', and no phase before this one makes it"
            made = f"models made before it: {', '.join(self.models)}" if self.models else "put a phase 'meta' before it"
            yield Problem(said, value.span, hint=near(name, self.models) or made)

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

    def budget(self, value: Value) -> Iterator[Problem]:
        section = value if isinstance(value, Map) else Map()
        for name, limit in section:
            if name not in COSTS:
                hint = near(name, COSTS) or f"budgets: {', '.join(COSTS)}"
                yield Problem(f"there is no budget for '{name}'", section.key_span(name), hint=hint)
            said = plain(limit)
            try:
                said = (
                    evaluate(parse(said, limit.span), dict.fromkeys(self.models, 1e6))
                    if isinstance(said, str)
                    else said
                )
            except RecipeError as error:
                yield from error.at(limit.span).problems
                continue
            if isinstance(said, bool) or not isinstance(said, int | float) or said <= 0:
                shown = checks.shown(plain(limit))
                hint = "for instance 20000, or =0.5 * teacher"
                yield Problem(f"the budget of '{name}' must be a number above 0, not {shown}", limit.span, hint=hint)

    def objective(self, value: Value, kind: str) -> Iterator[Problem]:
        """What is wrong with a list of loss terms, written in a phase of that kind (or as the run's task)."""
        example = f"for instance {{{', '.join(f'{k}: {v}' for k, v in TASK.items())}}}"
        if not isinstance(value, Seq) or not len(value):
            yield Problem("an objective is a list of loss terms", value.span, hint=example)
            return
        for term in value:
            if not isinstance(term, Map):
                yield Problem("a loss term is a mapping", term.span, hint=example)
                continue
            for key in TERM_KEYS[:3]:
                if key not in term and not any(near(k, (key,)) for k in term.keys()):
                    yield Problem(f"a loss term needs '{key}'", term.span, hint=example)
            if "loss" in term:
                yield from _registered("loss", term, "loss", TERM_KEYS[1:])
            yield from self.term(term, kind)

    def term(self, term: Map, kind: str) -> Iterator[Problem]:
        for key in ("value", "target"):
            text = term.get(key)
            if text is None:
                continue
            if isinstance(text, Leaf) and isinstance(text.value, str):
                yield from self.named(key, text.value, text.span, kind)
            else:
                yield Problem(f"'{key}' must be the name of a value", text.span, hint="for instance logits")
        weight = term.get("weight")
        if weight is not None and type(plain(weight)) not in (int, float):
            yield Problem(f"'weight' must be a number, not {checks.shown(plain(weight))}", weight.span)

    def named(self, key: str, text: str, span: Span | None, kind: str) -> Iterator[Problem]:
        """What is wrong with the name of a value: of this model (`logits`), of another (`teacher.logits`)."""
        if self.graph is None or not self.sound:
            return
        own = [*(n for n, _ in self.graph.outputs), *self.graph.names, *self.graph.nodes, *self.graph.input_names]
        own += ["slot"] if kind == "incubate" else []
        head, dot, _ = text.partition(".")
        others = [*self.models, *(["host"] if kind == "incubate" else [])]
        if dot and head in others:
            inner, place = text.removeprefix(f"{head}."), [f"{head}.{name}" for name in own]
            # A model with changes of its own may have other steps.
            nearest = near(text, place)
            if inner not in own and (nearest or head not in self.changed):
                yield Problem(f"'{head}' has no value '{inner}'", span, hint=nearest or f"for instance {head}.slot")
            return
        if text in own or (not dot and key == "target"):
            return
        if dot and not any(n.split(".")[0] == head for n in own):
            made = f"models made before it: {', '.join(others)}" if others else "no phase before this one makes a model"
            yield Problem(f"'{text}' is a value of the model '{head}', which no phase before this one makes", span,
                          hint=near(head, others) or made)  # fmt: skip
            return
        outputs = ", ".join(n for n, _ in self.graph.outputs)
        hint = near(text, own) or f"the model's outputs are {outputs}; a step's path is a value as well"
        yield Problem(f"the model has no value '{text}'", span, hint=hint)

    def split(self) -> Iterator[Problem]:
        value = self.tree.get("split")
        found: list[str] = []
        for item in slot_items(value):
            if not isinstance(item, Leaf) or not isinstance(item.value, str):
                yield Problem("'split' must be a list of steps", item.span, hint="for instance [stage.*]")
                return
            if self.graph is not None:
                try:
                    found += self.slots(self.graph, item.value, item.span)
                except AssemblerError as error:
                    yield from error.at(item.span).problems
                else:
                    yield from _overlapping(found, item)
        if value is None and self.decisions.decisions and self.sound and "incubate" in self.kinds:
            yield Problem("a run that incubates parts needs 'split'", self._where("space"), hint="split: [stage.*]")
        if self.sound and found:
            yield from self.outside(tuple(found))

    def slots(self, graph: Graph, name: str, span: Span | None) -> list[str]:
        found = spread(self.model, name, span)
        for slot in found:
            graph.resolve(slot)
            if self.sound:
                cut(graph, slot)
        return found

    def outside(self, slots: tuple[str, ...]) -> Iterator[Problem]:
        """Decisions that lie in no slot."""
        for decision in self.decisions.decisions:
            try:
                slot_of(decision.name, slots)
            except RecipeError as error:
                laid = get(self.document.model, decision.name.partition("[")[0])
                yield from error.at(laid.span if laid is not None else None).problems


def _overlapping(found: list[str], item: Leaf) -> Iterator[Problem]:
    """Slots that lie in each other, or stand twice."""
    for slot in dict.fromkeys(found):
        inner = next((s for s in found if s.startswith(f"{slot}.")), "")
        if inner or found.count(slot) > 1:
            said = f"the slots '{slot}' and '{inner}' overlap" if inner else f"the slot '{slot}' stands twice"
            yield Problem(said, item.span, hint="a step belongs to one slot")
            return


def slot_items(value: Value | None) -> tuple[Value, ...]:
    """The entries of `split:`; one step may stand without a list."""
    if value is None:
        return ()
    return value.items if isinstance(value, Seq) and len(value) else (value,)


def slot_of(decision: str, slots: tuple[str, ...]) -> str:
    """The slot that a decision belongs to. Raises RecipeError, naming the nearest path that would, if none."""
    for slot in slots:
        if decision == slot or decision.startswith((f"{slot}.", f"{slot}[")):
            return slot
    hint = "split at a step that holds it, or take it out of the space"
    tops = {slot.split(".")[0] for slot in slots if "." in slot}
    if decision.split(".")[0] in tops and not any(part.isdigit() for part in decision.split(".")):
        hint = "one choice for all copies binds the slots; write it for each copy (stage.*.block.mixer)"
    some = ", ".join(slots[:4]) + (", ..." if len(slots) > 4 else "")
    raise RecipeError(f"the decision '{decision}' does not lie within one slot ({some})", hint=hint)


def settings_of(value: Value | None) -> Mapping[str, Any]:
    """A mapping section as plain data, empty where it is not written."""
    found = plain(value) if value is not None else {}
    assert isinstance(found, dict)
    return found
