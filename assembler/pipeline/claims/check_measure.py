"""What is wrong with a check that a claim names: its arguments, and the values and paths that they name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from assembler import registry
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.graph.core import Graph
from assembler.graph.modes import MODES
from assembler.graph.values import covers
from assembler.pipeline.checking.given import arguments
from assembler.pipeline.checking.rewrites import rewrites
from assembler.pipeline.checking.scene import Scene
from assembler.pipeline.claims import spec
from assembler.pipeline.claims.check_models import Models, added
from assembler.pipeline.claims.spec import SPLITS
from assembler.recipe.borrowed import borrowed
from assembler.recipe.choices import TRAINED, score, space
from assembler.recipe.document import Document, beside
from assembler.recipe.scope import vars_of
from assembler.recipe.values import Leaf, Map, Seq, plain
from assembler.registry import Entry, checks
from assembler.train.steps import draft as draft_steps
from assembler.train.steps import names_in, places

_PRECISIONS = ("float64", "float32")


@dataclass(frozen=True)
class Around:
    """What a claim stands in: the recipe, the values of its model as the claim has it, and what models are made by."""

    document: Document
    scene: Scene
    models: Models


def changes(value: Map, around: Around) -> Iterator[Problem]:
    """What is wrong with changes by path, and with the recipe that they make."""
    yield from around.models.changed(around.document, value)[1]


def measure(body: Map, around: Around, span: Span | None, beside: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with a check, its arguments and the values that they name."""
    said = body.get("check")
    try:
        entry = registry.lookup("check", str(plain(said)))
    except AssemblerError as error:
        yield from error.at(said.span).problems
        return
    try:
        given = spec.evaluated(body.drop(*beside), vars_of(around.document.default))
    except RecipeError as error:
        yield from error.problems
        return
    yield from arguments(entry, given, span, beside)
    yield from _setup(body)
    yield from _since(body, around.document) if "expect" in beside else ()  # arms may add phases
    if "after" in body:
        yield from rewrites(body.get("after"), None, "after")
    yield from _steps(body, entry, around.scene, around.document)
    if around.scene.graph is not None:
        yield from _values(entry, body, around.scene)
        yield from _paths(entry, body, around.scene.graph)
    else:
        yield from _elsewhere(entry, body, around.document)
    yield from _others(entry, body, around)
    yield from _choices(entry, given, around.document, said.span, arms="expect" not in beside)


def _choices(entry: Entry, given: Map, document: Document, span: Span | None, *, arms: bool) -> Iterator[Problem]:
    """What is wrong with a check of choices: that there are none, or an objective that reads what there is not."""
    if not entry.option("choices", False):
        return
    if not space(document.model, []).decisions:
        hint = "give it some: a space's choose:, or {$oneof: [...]} in the recipe"
        yield Problem(f"the check '{entry.name}' is about choices, and '{document.name}' has none", span, hint=hint)
        return
    for key in entry.option("objectives", ()):
        value = given.get(key)
        if value == Leaf(TRAINED):
            yield from _trained(document, value.span, arms=arms)
        elif isinstance(value, Leaf) and isinstance(value.value, str):
            try:
                score(value.value, document.model, key)
            except RecipeError as error:
                yield from error.at(value.span).problems


def _trained(document: Document, span: Span | None, *, arms: bool) -> Iterator[Problem]:
    """What is wrong with an objective that is the worth of trained choices."""
    if not arms:
        hint = "arms: {random: {search.sampler: random}, ...}, metric: {check: found, objective: validation}"
        yield Problem("choices are trained for the metric of arms alone", span, hint=hint)
        return
    search = document.tree.get("search") if document.kind == "space" else None
    if not isinstance(search, Map) or "data" not in search:
        yield Problem(
            "to be trained, the choices need a space's 'search' with data", span, hint="search: {data: digits}"
        )


def _since(body: Map, document: Document) -> Iterator[Problem]:
    """What is wrong with the phase that a check compares with."""
    value, phases = body.get("since"), document.tree.get("phases")
    if value is None or not isinstance(phases, Map):  # a model alone: the check itself tells
        return
    known = [*phases.keys(), *added([body.get("at", Map())]), spec.START]
    if plain(value) not in known:
        hint = near(str(plain(value)), known) or f"phases: {', '.join(phases.keys())}; or {spec.START}"
        yield Problem(f"no phase of the run is called {checks.shown(plain(value))}", value.span, hint=hint)


def _setup(body: Map) -> Iterator[Problem]:
    for key, known in (("mode", MODES), ("precision", _PRECISIONS)):
        value = body.get(key)
        if value is not None and plain(value) not in known:
            said = f"'{key}' must be {' or '.join(known)}, not {checks.shown(plain(value))}"
            yield Problem(said, value.span, hint=near(str(plain(value)), known))
    batch = body.get("batch")
    if batch is not None and not (type(plain(batch)) is int and plain(batch) > 0):
        said = f"'batch' is how many samples a check is made with, not {checks.shown(plain(batch))}"
        yield Problem(said, batch.span, hint="for instance batch: 16; it is 2 otherwise, and 64 real ones")
    inputs = body.get("inputs", Map())
    if isinstance(inputs, Map):
        for name, value in inputs:
            said = plain(value)
            if not (isinstance(said, list) and len(said) == 2 and all(type(n) in (int, float) for n in said)):
                text = f"the range of '{name}' must be two numbers, [lowest, first above]"
                yield Problem(text, value.span, hint="for instance {ids: [0, 100]}")
    elif plain(inputs) not in SPLITS:
        text = "'inputs' are ranges of inputs, or a split of the data"
        yield Problem(text, inputs.span, hint="for instance {ids: [0, 100]}, or validation")


def _steps(body: Map, entry: Entry, scene: Scene, document: Document) -> Iterator[Problem]:
    """What is wrong with the further steps of a claim."""
    steps = body.get("graph", Map())
    if not isinstance(steps, Map):
        yield Problem("the graph of a claim is a mapping of steps", steps.span)
        return
    own = set(names_in(steps))
    read = [n for n, _ in _named(entry, body) if n.partition(".")[0] in own]
    if len(steps) and not read:
        yield Problem("the check reads no step of the claim's graph", steps.span, hint="name one with `of:`")
        return
    found: list[Problem] = []
    try:
        draft_steps(steps, read, found, borrowed(steps, document.default))
    except RecipeError as error:
        found += error.problems
    yield from found
    for name, leaf in places(steps).items() if scene.graph is not None else ():
        if not scene.has(name) and not _real(body):
            yield scene.missing(name, span=leaf.span)


def _real(body: Map) -> bool:
    """Whether real samples are measured, whose fields are values too."""
    return isinstance(plain(body.get("inputs", Map())), str)


def _named(entry: Entry, body: Map) -> Iterator[tuple[str, Span | None]]:
    """(name, place) of every value that the arguments name."""
    for key in entry.option("values", ()):
        value = body.get(key)
        for one in value if isinstance(value, Seq) else [value]:
            if isinstance(one, Leaf) and isinstance(one.value, str) and one.value:
                yield one.value, one.span


def _values(entry: Entry, body: Map, scene: Scene) -> Iterator[Problem]:
    steps = body.get("graph", Map())
    own = [*names_in(steps)] if isinstance(steps, Map) else []
    for name, span in _named(entry, body):
        if name.partition(".")[0] not in own and not scene.has(name) and not (_real(body) and "." not in name):
            yield scene.missing(name, own, span)


def _elsewhere(entry: Entry, body: Map, document: Document) -> Iterator[Problem]:
    """Values of the models of other phases: a check is about one model alone."""
    phases, own = document.tree.get("phases"), document.default.get("graph")
    others = {*phases.keys()} if isinstance(phases, Map) else set()
    others -= {*own.keys()} if isinstance(own, Map) else set()
    for name, span in _named(entry, body):
        if name.partition(".")[0] in others and "." in name:
            hint = "a metric compares models: {split: test, loss: mse, value: ..., target: " + name + "}"
            yield Problem(f"a check reads the values of one model, and '{name}' is of another", span, hint=hint)


def _paths(entry: Entry, body: Map, graph: Graph) -> Iterator[Problem]:
    """What is wrong with arguments that are paths of steps or weights."""
    for key in entry.option("paths", ()):
        value = body.get(key)
        for one in value if isinstance(value, Seq) else [value]:
            path = plain(one) if one is not None else None
            if isinstance(path, str) and not any(covers(path, i) or covers(i, path) for i in graph.nodes):
                tops = ", ".join(dict.fromkeys(i.split(".")[0] for i in graph.nodes))
                hint = near(path, [*graph.names, *graph.nodes]) or f"it has {tops}"
                yield Problem(f"the model has no step '{path}'", one.span, hint=hint)


def _others(entry: Entry, body: Map, around: Around) -> Iterator[Problem]:
    """What is wrong with arguments that change the recipe or name another."""
    for key in entry.option("recipes", ()):
        value = body.get(key)
        if isinstance(value, Leaf) and isinstance(value.value, str):
            try:
                around = replace(around, document=beside(around.document, value))
            except AssemblerError as error:
                yield from error.at(value.span).problems
                return
    for key in entry.option("changes", ()):
        if isinstance(value := body.get(key), Map):
            yield from changes(value, around)
