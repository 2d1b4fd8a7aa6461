"""A run recipe read into what the phases work with. Everything that can be checked without torch is checked here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assembler import registry
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.graph.build import draft
from assembler.recipe.choices import Space, decide, space
from assembler.recipe.document import Document
from assembler.recipe.spread import spread
from assembler.recipe.values import Leaf, Map, Seq, Value, plain
from assembler.registry import Entry, checks
from assembler.train.spec import signature

TASK = {"loss": "cross_entropy", "value": "logits", "target": "label"}
TERM_KEYS = ("loss", "value", "target", "weight", "name")


@dataclass(frozen=True)
class Phase:
    """One phase of a run: its name in the recipe, the registered phase that does it, and the options given."""

    name: str
    entry: Entry
    options: Mapping[str, Any]


@dataclass(frozen=True)
class RunSpec:
    """A checked run. `task` is the loss on the labels, `train` the settings that every training starts from."""

    document: Document
    data: Mapping[str, Any]
    split: tuple[str, ...]
    train: Mapping[str, Any]
    seeds: tuple[int, ...]
    task: Mapping[str, Any]
    metric: str
    phases: tuple[Phase, ...]
    space: Space

    @property
    def name(self) -> str:
        """The run's name."""
        return self.document.name


def read(document: Document) -> RunSpec:
    """The run that a recipe of kind `run` describes. Raises RecipeError with everything that is wrong with it."""
    if document.kind != "run":
        raise RecipeError(f"'{document.name}' is a {document.kind}, not a run", hint="a run has kind: run and phases:")
    tree, problems = document.tree, list[Problem]()
    decisions = space(document.model)
    draft(first(document.model, decisions), problems, name=document.name)
    problems += _data(tree)
    problems += _training(tree.get("train"))
    task = plain(tree.get("task", Leaf(None))) or TASK
    problems += _objective(Seq((tree.get("task"),)) if "task" in tree else None)
    phases = tuple(_phases(tree, problems))
    split = _split(document, problems)
    seeds = plain(tree.get("seeds", Seq((Leaf(0),))))
    if not isinstance(seeds, list) or not seeds or not all(type(s) is int for s in seeds):
        problems.append(Problem("'seeds' must be a list of whole numbers", tree.key_span("seeds"), hint="[0, 1, 2]"))
    elif len(set(seeds)) < len(seeds):
        problems.append(Problem("'seeds' holds a number twice", tree.key_span("seeds"), hint="every seed is one run"))
    if decisions.decisions and "split" not in tree:
        span, hint = tree.key_span("space"), "name the slots that hold them, for instance split: [stage.*]"
        problems.append(Problem("a run with open choices needs 'split'", span, hint=hint))
    if problems:
        raise RecipeError(problems)
    data = plain(tree.get("data"))
    data = {"name": data} if isinstance(data, str) else data
    metric = str(plain(tree.get("metric", Leaf("accuracy"))))
    settings = plain(tree.get("train", Map()))
    return RunSpec(document, data, split, settings, tuple(seeds), task, metric, phases, decisions)


def first(model: Map, decisions: Space) -> Map:
    """The model recipe with the first candidate of every open choice."""
    choice: dict[str, Any] = {}
    for d in decisions.decisions:
        if all(choice.get(name) == index for name, index in d.when):
            count = len(d.labels) if d.kind == "permutate" else d.k
            choice[d.name] = 0 if d.kind == "oneof" else d.low if not d.labels else tuple(range(count))
    return decide(model, choice)


def _data(tree: Map) -> Iterator[Problem]:
    value = tree.get("data")
    if isinstance(value, Leaf) and isinstance(value.value, str):
        value = Map((("name", value),), value.span)
    if not isinstance(value, Map) or not isinstance(plain(value.get("name", Leaf(None))), str):
        yield Problem("a run needs 'data'", tree.key_span("data"), hint="for instance data: {name: digits}")
        return
    yield from _registered("dataset", value, "name")


def _registered(kind: str, value: Map, key: str, other: tuple[str, ...] = ()) -> Iterator[Problem]:
    """What is wrong with `{name: ..., arguments}` for a registered thing."""
    name = plain(value.get(key))
    try:
        entry = registry.lookup(kind, str(name))
    except AssemblerError as error:
        yield from error.at(value.get(key).span).problems
        return
    given = {k: plain(v) for k, v in value if k != key and k not in other}
    yield from checks.problems(entry, given, value.key_span, span=value.span)


def _training(value: Value | None) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, Map):
        yield Problem("'train' must be a mapping", value.span, hint="for instance {epochs: 10, lr: 1e-3}")
        return
    yield from checks.problems(signature(), plain(value), value.key_span, span=value.span)


def _objective(value: Value | None) -> Iterator[Problem]:
    """What is wrong with a list of loss terms."""
    if value is None:
        return
    if not isinstance(value, Seq) or not len(value):
        yield Problem("an objective is a list of loss terms", value.span, hint=f"for instance [{{{_written(TASK)}}}]")
        return
    for term in value:
        if not isinstance(term, Map):
            yield Problem("a loss term is a mapping", term.span, hint=f"for instance {{{_written(TASK)}}}")
            continue
        missing = [key for key in TERM_KEYS[:3] if key not in term]
        if missing:
            yield Problem(f"a loss term needs '{missing[0]}'", term.span, hint=f"for instance {{{_written(TASK)}}}")
        if "loss" in term:
            yield from _registered("loss", term, "loss", TERM_KEYS)


def _written(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}: {v}" for k, v in mapping.items())


def _phases(tree: Map, problems: list[Problem]) -> Iterator[Phase]:
    value = tree.get("phases")
    if not isinstance(value, Map) or not len(value):
        hint = f"phases are {', '.join(registry.names('phase'))}"
        problems.append(Problem("a run needs 'phases', a mapping", tree.key_span("phases"), hint=hint))
        return
    for name, body in value:
        span = value.key_span(name)
        body = Map(span=span) if isinstance(body, Leaf) and body.value is None else body
        if not isinstance(body, Map):
            problems.append(Problem(f"phase '{name}' must be a mapping of options", body.span))
            continue
        yield from _phase(name, body, span, problems)


def _phase(name: str, body: Map, span: Span | None, problems: list[Problem]) -> Iterator[Phase]:
    kind = str(plain(body.get("phase", Leaf(name))))
    try:
        entry = registry.lookup("phase", kind)
    except AssemblerError as error:
        problems += error.at(body.get("phase").span if "phase" in body else span).problems
        return
    options = {k: plain(v) for k, v in body if k != "phase"}
    problems += checks.problems(entry, options, body.key_span, span=body.span or span)
    problems += _training(body.get("train")) if entry.param("train") else ()
    problems += _objective(body.get("objective")) if entry.param("objective") else ()
    if entry.param("sampler") and isinstance(sampler := body.get("sampler"), Map | Leaf):
        sampler = sampler if isinstance(sampler, Map) else Map((("name", sampler),), sampler.span)
        problems += _registered("sampler", sampler, "name") if "name" in sampler else ()
    yield Phase(name, entry, options)


def _split(document: Document, problems: list[Problem]) -> tuple[str, ...]:
    value = document.tree.get("split")
    if value is None:
        return ()
    names = plain(value)
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        problems.append(Problem("'split' must be a list of steps", value.span, hint="for instance [stage.*]"))
        return ()
    found: list[str] = []
    model = first(document.model, space(document.model))
    for name in names:
        try:
            found += spread(model, name, value.span)
        except RecipeError as error:
            problems += error.problems
    return tuple(found)


def slot_of(decision: str, slots: tuple[str, ...]) -> str:
    """The slot that a decision belongs to. Raises RecipeError, naming the nearest path that would, if none."""
    for slot in slots:
        if decision == slot or decision.startswith((f"{slot}.", f"{slot}[")):
            return slot
    hint = near(decision, slots) or "write it for one copy or for each (stage.*.block.mixer)"
    slots_text = ", ".join(slots)
    raise RecipeError(f"the decision '{decision}' does not lie within one slot ({slots_text})", hint=hint)
