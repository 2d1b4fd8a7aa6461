"""The steps of an objective, wired: what they read is each other or a named value (`logits`, `teacher.stage.1`)."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping

from assembler.errors import Problem, near
from assembler.graph.core import Graph, TensorType
from assembler.graph.reserved import RESERVED_STEPS
from assembler.recipe.values import Leaf, Map, Seq, Value
from assembler.wiring.build import draft as draft_model

_BODIES = ("body", "shortcut")
_NOTHING = Map()


def draft(
    steps: Map, ends: Iterable[str], problems: list[Problem], beside: Map = _NOTHING
) -> tuple[Graph, dict[str, str], dict[str, str]]:
    """(graph, named value of each of its inputs, id of each of `ends` that is a step) of an objective's steps.

    A name that is no step's is a named value. `beside` are vars and blocks that the steps name. What is wrong is added
    to `problems`, with its place.
    """
    own = set(names_in(steps))
    read = dict.fromkeys([*sources(steps), *ends])
    values = [name for name in read if name.partition(".")[0] not in own]
    taken = set(own)
    ids = {name: free(name, taken) for name in values}
    inner = [name for name in dict.fromkeys(ends) if name not in ids]
    names = {i: name for name, i in ids.items()}
    if not len(steps):
        return Graph(tuple((i, TensorType(())) for i in names), {}, (), {}, "objective"), names, {}
    if not inner:
        hint = next((found for name in values if (found := near(name, own))), "{value: step}")
        problems.append(Problem("no term reads the steps of the objective", steps.span, hint=hint))
    batch = Seq((Leaf("B"),))
    inputs = Map(tuple((i, batch) for i in names))
    outputs = Map(tuple((f"end{n}", Leaf(name, steps.span)) for n, name in enumerate(inner)), steps.span)
    tree = Map((*beside, ("inputs", inputs), ("graph", _renamed(steps, ids)), ("outputs", outputs)), steps.span)
    graph = draft_model(tree if inner else tree.drop("outputs"), problems, name="objective")
    return graph, names, dict(zip(inner, (i for _, i in graph.outputs), strict=False))


def free(stem: str, taken: set[str]) -> str:
    """A new identifier like `stem`, entered in `taken`."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII).strip("_") or "value"
    name = f"v{name}" if name[0].isdigit() else name
    while name in taken or name in RESERVED_STEPS or keyword.iskeyword(name):
        name += "_"
    taken.add(name)
    return name


def names_in(steps: Map) -> Iterator[str]:
    """The names of all steps, those inside others too."""
    for name, step in steps:
        yield name
        if isinstance(step, Map):
            for body in (step.get(key) for key in _BODIES):
                yield from names_in(body) if isinstance(body, Map) else ()


def sources(steps: Map) -> Iterator[str]:
    """Every name that a `from` reads which no step has."""
    own = set(names_in(steps)) | {"input"}
    for leaf in _leaves(steps):
        if isinstance(leaf.value, str) and leaf.value.partition(".")[0] not in own:
            yield leaf.value


def places(steps: Map) -> dict[str, Leaf]:
    """Where each named value is first read."""
    own = set(sources(steps))
    found: dict[str, Leaf] = {}
    for leaf in _leaves(steps):
        if leaf.value in own:
            found.setdefault(str(leaf.value), leaf)
    return found


def _leaves(steps: Map) -> Iterator[Leaf]:
    """What is read, but for what a step around calls by a name of its own (`gradient`, `loop`)."""
    for _, step in steps:
        if isinstance(step, Map):
            yield from _from(step.get("from"))
            known = _introduced(step)
            for key in _BODIES:
                if isinstance(body := step.get(key), Map):
                    yield from (leaf for leaf in _leaves(body) if str(leaf.value).partition(".")[0] not in known)


def _introduced(step: Map) -> set[str]:
    """The names by which a step's body knows what the step reads, and the count of a loop."""
    read, index = step.get("from"), step.get("index")
    counted = {str(index.value)} if isinstance(index, Leaf) else set()
    return counted | (set(read.keys()) if isinstance(read, Map) else set())


def _from(value: Value | None) -> Iterator[Leaf]:
    if isinstance(value, Leaf):
        yield value
    elif value is not None:
        items = value.items if isinstance(value, Seq) else [v for _, v in value]
        yield from (item for item in items if isinstance(item, Leaf))


def _renamed(steps: Map, ids: Mapping[str, str]) -> Map:
    """The steps with the inputs' names where they read named values."""
    found = steps
    for name, step in steps:
        if isinstance(step, Map):
            changed = step.set("from", _named(step.get("from"), ids)) if "from" in step else step
            inner = {name: i for name, i in ids.items() if name.partition(".")[0] not in _introduced(step)}
            for key in _BODIES:
                if isinstance(body := step.get(key), Map):
                    changed = changed.set(key, _renamed(body, inner))
            found = found.set(name, changed)
    return found


def _named(value: Value, ids: Mapping[str, str]) -> Value:
    match value:
        case Leaf():
            return Leaf(ids.get(value.value, value.value), value.span) if isinstance(value.value, str) else value
        case Seq():
            return Seq(tuple(_named(v, ids) for v in value), value.span)
        case Map():
            return Map(tuple((k, _named(v, ids)) for k, v in value), value.span, value.key_spans)
