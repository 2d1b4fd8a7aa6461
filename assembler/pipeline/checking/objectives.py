"""What is wrong with the objectives of a run, their values, and the turns that a phase takes: told without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from assembler import registry
from assembler.errors import Problem, RecipeError, Span, near
from assembler.graph.values import covers
from assembler.pipeline.checking.given import arguments, registered, training
from assembler.pipeline.checking.scene import Scene
from assembler.recipe.borrowed import SECTIONS as BORROWED
from assembler.recipe.values import Leaf, Map, Seq, Value, plain
from assembler.registry import checks
from assembler.train.spec import OWN
from assembler.train.steps import draft, names_in, places
from assembler.train.terms import AT_HOST, GIVEN, KEYS, SECTIONS, in_turn, loss_entry, ports, read, required

TASK = {"loss": "cross_entropy", "value": "logits", "target": "label"}
"""What a run is about if it does not say."""
_EXAMPLE = f"for instance {{{', '.join(f'{k}: {v}' for k, v in TASK.items())}}}"
_TURN = "for instance {train: [generator], objective: [{loss: mse, value: fake, target: image}]}"


def objective(value: Value, scene: Scene) -> Iterator[Problem]:
    """What is wrong with an objective: a term, a list of terms, or {graph: steps, terms: [...]}."""
    if isinstance(value, Map) and ("terms" in value or "graph" in value):
        found = list(_with_steps(value, scene))
    else:
        found = list(_terms(Seq((value,), value.span) if isinstance(value, Map) else value, scene, Map()))
    yield from found or _together(value)


def _together(value: Value) -> Iterator[Problem]:
    """What no term by itself shows: several of one name."""
    try:
        read(plain(value))
    except RecipeError as error:
        yield from (replace(p, span=value.span, path="") for p in error.problems)


def turns(value: Value, scene: Scene, *, beside: bool = False) -> Iterator[Problem]:
    """What is wrong with a list of turns; `beside` says that an objective is given as well."""
    if beside:
        yield Problem("a phase has an objective or turns, not both", value.span, hint="each turn has an objective")
    if not isinstance(value, Seq) or not len(value):
        yield Problem("'turns' must be a list", value.span, hint=_TURN)
        return
    names: list[str] = []
    for turn in value:
        if not isinstance(turn, Map):
            yield Problem("a turn is a mapping", turn.span, hint=_TURN)
            continue
        yield from _turn(turn, scene)
        first = turn.get("train").items[:1] if isinstance(turn.get("train"), Seq) else ()
        name = plain(turn.get("name", first[0] if first else Leaf("")))
        if name and name in names:
            yield Problem(f"two turns are called '{name}'", turn.span, hint="give each its own `name`")
        names.append(name)


def _turn(turn: Map, scene: Scene) -> Iterator[Problem]:
    yield from arguments(registry.settings("turn"), turn, turn.span)
    yield from training(Map(tuple((k, v) for k, v in turn if k in OWN), turn.span))
    every = turn.get("every")
    if every is not None and type(plain(every)) is int and plain(every) < 1:
        yield Problem(f"'every' must be at least 1, not {plain(every)}", every.span)
    if "train" in turn:
        yield from paths(turn.get("train"), scene, "train")
    if isinstance(turn.get("objective"), Seq | Map):
        yield from objective(turn.get("objective"), scene)


def paths(value: Value, scene: Scene, key: str) -> Iterator[Problem]:
    """What is wrong with a list of paths of steps to train, `*` standing for any one part."""
    if not isinstance(value, Seq) or not len(value):
        yield Problem(f"'{key}' must be a list of steps", value.span, hint="for instance [head]")
        return
    for item in value:
        path = plain(item)
        if scene.graph is None or not isinstance(path, str):
            continue
        if not any(covers(path, i) for i in scene.graph.nodes):
            known = [*scene.graph.names, *scene.graph.nodes]
            tops = ", ".join(dict.fromkeys(i.split(".")[0] for i in known))
            yield Problem(f"the model has no step '{path}'", item.span, hint=near(path, known) or f"it has {tops}")


def _with_steps(value: Map, scene: Scene) -> Iterator[Problem]:
    for key in value.keys():
        if key not in SECTIONS:
            hint = near(key, SECTIONS) or "it is {graph: steps, terms: [...]}"
            yield Problem(f"an objective has no '{key}'", value.key_span(key), hint=hint)
    steps = value.get("graph", Map())
    if not isinstance(steps, Map):
        yield Problem("the graph of an objective is a mapping of steps", steps.span)
        return
    terms = value.get("terms", Seq((), value.span))
    yield from _terms(terms, scene, steps)
    for name, leaf in places(steps).items():
        yield from _named("target", name, leaf.span, scene)
    own, found = set(names_in(steps)), [t for t in terms if isinstance(t, Map)] if isinstance(terms, Seq) else []
    used = [plain(v) for t in found for k, v in t if k not in ("loss", "name", "weight")]
    given = value.get("given", Map())
    told = [plain(v) for _, v in given] if isinstance(given, Map) else []
    problems: list[Problem] = []
    ends = [r for r in (*used, *told) if isinstance(r, str) and r.partition(".")[0] in own]
    draft(steps, ends, problems, Map(tuple((k, value.get(k)) for k in BORROWED if k in value)))
    yield from problems
    yield from _given(given, {str(r).partition(".")[0] for r in (*used, *places(steps))}, own, scene)


def _given(value: Value, read: set[str], steps: set[str], scene: Scene) -> Iterator[Problem]:
    """What is wrong with the values that other models are told; `read` are the models whose values are read."""
    if not isinstance(value, Map):
        yield Problem("'given' is a mapping of names of values", value.span, hint=f"for instance {GIVEN}")
        return
    waits: dict[str, list[str]] = {}
    for name, source in value:
        if found := list(_told(name, value.key_span(name), read, scene)):
            yield from found
        elif isinstance(source, Leaf) and isinstance(source.value, str):
            waits.setdefault(name.partition(".")[0], []).append(source.value)
        if not isinstance(source, Leaf) or not isinstance(source.value, str):
            yield Problem("what is given is the name of a value", source.span, hint=f"for instance {GIVEN}")
        elif source.value.partition(".")[0] in steps:
            what = f"'{source.value}' is a step of the objective, which is computed after the model that it is given to"
            yield Problem(what, source.span, hint="write the step in the model's graph, as an output if need be")
        else:
            yield from _named("target", source.value, source.span, scene)
    try:
        in_turn(waits)
    except RecipeError as error:
        yield from error.at(value.span).problems


def _terms(value: Value, scene: Scene, steps: Map) -> Iterator[Problem]:
    if not isinstance(value, Seq) or not len(value):
        yield Problem("an objective is a list of loss terms", value.span, hint=_EXAMPLE)
        return
    for term in value:
        if isinstance(term, Map):
            yield from _term(term, scene, set(names_in(steps)))
        else:
            yield Problem("a loss term is a mapping", term.span, hint=_EXAMPLE)


def _term(term: Map, scene: Scene, own: set[str]) -> Iterator[Problem]:
    inputs, needed = _inputs(term)
    if "loss" in term:
        beside = (*(k for k in KEYS if k != "loss"), *inputs)
        yield from registered("loss", term, "loss", tuple(dict.fromkeys(beside)))
    for key in needed:
        if key not in term and not any(near(k, (key,)) for k in term.keys()):
            yield Problem(f"a loss term needs '{key}'", term.span, hint=_EXAMPLE)
    for key in inputs:
        text = term.get(key)
        if not isinstance(text, Leaf) or not isinstance(text.value, str):
            yield Problem(f"'{key}' must be the name of a value", text.span, hint="for instance logits")
        elif text.value.partition(".")[0] not in own:
            yield from _named(key, text.value, text.span, scene)
    weight = term.get("weight")
    if weight is not None and type(plain(weight)) not in (int, float):
        yield Problem(f"'weight' must be a number, not {checks.shown(plain(weight))}", weight.span)


def _told(name: str, span: Span | None, read: set[str], scene: Scene) -> Iterator[Problem]:
    """What is wrong with the name of a value that another model is told; `read` are the models that are read."""
    head, others = name.partition(".")[0], [*_others(scene), "ema"]
    if scene.graph is not None and head not in others and scene.has(name):
        hint = near(f"{others[0]}.{name}", [f"{one}.{name}" for one in others])
        yield Problem(f"'{name}' is a value of the model itself, and others are given theirs", span, hint=hint)
    elif head in others and head not in read:
        yield Problem(f"'{head}' is given '{name}', and no value of it is read", span, hint="a term has to read one")
    else:
        yield from _named("value", name, span, scene)


def _inputs(term: Map) -> tuple[list[str], list[str]]:
    """(the keys of a term that name values, the keys that it has to have)."""
    usual = [key for key in ("value", "target") if key in term]
    if "loss" not in term:
        more = any(key not in ("value", "weight", "name") for key in term.keys())
        return usual, ["loss", "value"] if more else ["value"]
    try:
        entry = loss_entry(str(plain(term.get("loss"))))
    except RecipeError:
        return usual, ["value", "target"]
    return [key for key in term.keys() if key in (*usual, *ports(entry, term.keys()))], required(entry)


def _named(key: str, text: str, span: Span | None, scene: Scene) -> Iterator[Problem]:
    """What is wrong with the name of a value: of this model (`logits`), of another (`teacher.logits`)."""
    if scene.graph is None:
        return
    head, dot, inner = text.partition(".")
    others = _others(scene)
    if dot and head == "ema" and "ema" not in others:
        others.append("ema")
        if not scene.averaged:
            hint = "train: {ema: {decay: 0.999}}"
            yield Problem(f"'{text}' is a value of the average of the weights, and none is kept", span, hint=hint)
            return
    if dot and head in others:
        theirs = replace(scene, graph=scene.graphs.get(head, scene.graph))
        if theirs.graph is None:
            return
        nearest = near(text, [f"{head}.{name}" for name in theirs.own()])
        # A model with changes of its own may have other steps.
        if not theirs.has(inner) and (nearest or head in scene.graphs or head not in scene.changed):
            yield Problem(f"'{head}' has no value '{inner}'", span, hint=nearest or f"for instance {head}.slot")
    elif not scene.has(text) and (dot or key != "target"):  # a field of the data, perhaps
        yield _missing(text, span, scene, others)


def _others(scene: Scene) -> list[str]:
    """The models beside the one in training."""
    if scene.kind != "incubate":
        return [*scene.models]
    # the host, and that with what another model has in the slot
    return [*scene.models, "host", *(f"{name}{AT_HOST}" for name in scene.models)]


def _missing(text: str, span: Span | None, scene: Scene, others: list[str]) -> Problem:
    assert scene.graph is not None
    own, (head, dot, _) = scene.own(), text.partition(".")
    if dot and not any(n.split(".")[0] == head for n in own):
        listed = ", ".join(name for name in others if not name.endswith(AT_HOST))
        made = f"models made before it: {listed}" if others else "no phase before this one makes a model"
        said = f"'{text}' is a value of the model '{head}', which no phase before this one makes"
        return Problem(said, span, hint=near(head, others) or made)
    return scene.missing(text, span=span)
