"""Whether the terms of an objective can be computed: what they read has types, and each loss is tried on those."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from assembler.assemble.hybrid import cut_down, value_paths, with_values
from assembler.errors import AssemblerError, Problem, RecipeError, ShapeError, Span, near
from assembler.graph.core import Graph, TensorType
from assembler.graph.modes import in_mode
from assembler.graph.values import covers, with_items
from assembler.infer.hints import other_axis
from assembler.infer.shape import meta_values, shapes
from assembler.recipe.values import Map, Seq, Value
from assembler.train.data.source import Declared
from assembler.train.spread import spread
from assembler.train.terms import AT_HOST, Term, Terms, loss_entry, read

_CLASSES = "cross_entropy"


@dataclass(frozen=True)
class Said:
    """An objective as plain data, as it is written (for places), and where: its path, or `place` where it is not."""

    spec: Any
    written: Value | None
    path: str
    place: Span | None = None

    def span(self, n: int, key: str = "") -> Span | None:
        """The place of a term, or of what it says under `key`."""
        at = self.written
        if isinstance(at, Map) and "terms" in at:
            at = at.get("terms")
        if isinstance(at, Seq):
            at = at.items[n]
        if isinstance(at, Map) and key in at:
            at = at.get(key)
        return at.span if at is not None else self.place


@dataclass(frozen=True)
class Values:
    """The types of all that an objective may read: values of the model in training, of `others`, fields of the data.

    A value that is not there is a problem unless it is inside one of the `slots`: what will stand in them may have it.
    """

    own: Graph
    others: Mapping[str, Graph]
    data: Declared
    slots: tuple[str, ...] = ()
    slot: str = ""

    def open(self, name: str) -> bool:
        """Whether another part in a slot may have a value of that name."""
        head, dot, inner = name.partition(".")
        path = inner if dot and (head in self.others or head == "ema") else name
        return any(covers(slot, path) for slot in self.slots) or (bool(self.slot) and covers("slot", path))

    def inside(self, slot: str, host: Graph) -> Values:
        """What a part in a slot of `host` may read."""
        swapped = {f"{name}{AT_HOST}": host for name in self.others}  # another part in the slot, else the host
        return replace(self, slot=slot, others={**self.others, **swapped, "host": host})

    def type(self, name: str) -> TensorType:
        """The type of a named value. Raises RecipeError where there is none."""
        if name in self.data.fields and name not in dict(self.own.outputs):
            return self.data.fields[name]
        head, dot, inner = name.partition(".")
        if dot and head in self.others:
            return _type(self.others[head], inner, self.slot)
        if dot and head == "ema":
            return _type(self.own, inner, self.slot)
        return _type(self.own, name, self.slot, training=True)

    def reached(self, name: str, terms: Terms) -> None:
        """Raise RecipeError where nothing that is read of a model depends on a value that it is given."""
        head, _, inner = name.partition(".")
        read = [n.removeprefix(f"{head}.") for n in terms.names.values() if n.startswith(f"{head}.")]
        graph = with_items(self.others.get(head, self.own), [inner, *read])
        paths = value_paths(graph, [inner, *read], self.slot)
        wanted = {f"v{i}": paths[n] for i, n in enumerate(read)}
        cut_down(graph, wanted, {paths[inner]: name}, "eval" if head in self.others else "train")


def term_problems(objectives: list[Said], values: Values) -> Iterator[Problem]:
    """Terms whose loss does not accept what it is given, or whose labels are more than the classes told apart."""
    for said in objectives:
        terms = read(spread(said.spec, values.own, values.others), said.path)
        types, missing = _types(terms, values)
        if missing:
            yield from (_place(p, terms, said, name) for name, p in missing if not values.open(name))
            continue
        if wrong := list(_given(terms, values, said)):
            yield from wrong
            continue
        try:
            found = shapes(terms.typed(types))
        except ShapeError as error:
            yield from (_refused(p, terms, types, said) for p in error.problems)
            continue
        known = types | {i: found[i] for i in terms.graph.nodes}
        fields = values.data.fields.keys() & terms.names.values()  # not those whose name a step bears
        for n, term in enumerate(terms.terms):
            yield from _told(n, term, known, values.data.classes if term.target in fields else 0, said)
            yield from _unlike_labels(n, term, known, values, said)


def _given(terms: Terms, values: Values, said: Said) -> Iterator[Problem]:
    """Values that other models are told which are of another type than theirs, or which change nothing."""
    written = said.written.get("given") if isinstance(said.written, Map) else None
    for name, source in terms.given.items():
        span = written.key_span(name) if isinstance(written, Map) else said.place
        try:
            theirs, ours = values.type(name), values.type(source)
            values.reached(name, terms)
        except AssemblerError as error:
            yield from (replace(p, span=span, path="" if span else said.path) for p in error.problems[:1])
            continue
        if (theirs.shape[1:], theirs.dtype) != (ours.shape[1:], ours.dtype):
            kinds = [f"{kind.dtype} {list(kind.shape)}" for kind in (theirs, ours)]
            text = f"'{name}' is {kinds[0]}, and '{source}', which it is given, {kinds[1]}"
            hint = (
                f"{{phase: tune, of: {name.partition('.')[0]}, set: ..., train: {{epochs: 0}}}} is it for other sizes"
            )
            yield Problem(text, span, said.path, hint if theirs.dtype == ours.dtype else "")


def _types(terms: Terms, values: Values) -> tuple[dict[str, TensorType], list[tuple[str, Problem]]]:
    types, missing = {}, []
    for name in terms.names.values():
        try:
            types[name] = values.type(name)
        except AssemblerError as error:
            missing.append((name, _or_field(error.problems[0], name, values)))
    return types, missing


def _or_field(problem: Problem, name: str, values: Values) -> Problem:
    """A problem of a value that is not there; a plain name may be meant for a field of the data."""
    if "." in name:
        return problem
    fields = [*values.data.fields]
    return replace(problem, hint=near(name, fields) or f"{problem.hint}; the data has {', '.join(fields)}")


def _place(problem: Problem, terms: Terms, said: Said, name: str) -> Problem:
    """A problem of a value that is not there, at the first term that reads it."""
    for n, term in enumerate(terms.terms):
        port = next((p for p, source in term.reads if source == name), "")
        if port:
            key = {0: "value", 1: "target"}.get([p for p, _ in term.reads].index(port), port)
            join = " Or" if problem.hint.endswith("?") else "; or"
            hint = problem.hint + (f"{join} say what the model is for, under task:" if said.place else "")
            return replace(problem, span=said.span(n, key), path="" if said.span(n, key) else said.path, hint=hint)
    return replace(problem, span=said.span(0), path="")


def _refused(problem: Problem, terms: Terms, types: Mapping[str, TensorType], said: Said) -> Problem:
    """What a step of an objective refuses, in the names that the objective has for what it reads."""
    at = next((n for n, (_, i) in enumerate(terms.graph.outputs[1:]) if problem.path in _ids(terms.graph, i)), None)
    if at is None:
        return replace(problem, message=f"in the objective, {problem.message}", span=said.span(0), path="")
    term, why = terms.terms[at], problem.message.rpartition(": ")[2]
    read_ = " and ".join(f"'{name}'{f' {list(types[name].shape)}' if name in types else ''}" for _, name in term.reads)
    hint = problem.hint or _axis(term, types)
    return Problem(f"{term.loss or 'mean'} does not accept {read_}: {why}", said.span(at), said.path, hint)


def _axis(term: Term, types: Mapping[str, TensorType]) -> str:
    """The other axis of the classes with which a loss takes its labels, or ""."""
    value, target = types.get(term.value), types.get(term.target)
    if value is None or target is None or not term.loss or loss_entry(term.loss).param("axis") is None:
        return ""
    return other_axis(value, target, term.arg("axis", 1))


def _ids(graph: Graph, i: str) -> tuple[str, ...]:
    """A term's step, and the loss under it where that is the mean of one."""
    return (i, *(graph.nodes[i].sources[:1] if i in graph.nodes else ()))


def _told(n: int, term: Term, types: Mapping[str, TensorType], classes: int | None, said: Said) -> Iterator[Problem]:
    """What a loss takes and should not: shapes that only broadcast, fewer `classes` than the data's labels have."""
    value, target = types.get(term.value), types.get(term.target)
    if value is None or target is None:
        return
    if term.loss == _CLASSES and classes and "int" in target.dtype:
        axis = int(term.arg("axis", 1))
        told = value.shape[axis] if -len(value.shape) <= axis < len(value.shape) else classes
        if told < classes:
            message = f"'{term.value}' tells {told} classes apart, and '{term.target}' of the data has {classes}"
            hint = f"let the last layer make {classes}: out: {classes}"
            yield Problem(message, said.span(n, "value"), hint=hint)
    elif value.shape != target.shape and _broadcasts(term, value, target):
        read_ = f"'{term.value}' {list(value.shape)} with '{term.target}' {list(target.shape)}"
        hint = "bring them to one shape, with {op: squeeze} for instance"
        yield Problem(f"{term.loss} would compare {read_}, every one with every other", said.span(n), hint=hint)


def _unlike_labels(
    n: int, term: Term, types: Mapping[str, TensorType], values: Values, said: Said
) -> Iterator[Problem]:
    """A loss of two values that takes the first axis after the samples for the classes, where labels show another."""
    value, axis = types.get(term.value), dict(term.args).get("axis")
    if value is None or axis is not None or value != types.get(term.target) or not term.loss:
        return
    fields, inputs = values.data.fields.items(), values.own.input_names
    labels = {name: kind for name, kind in fields if "int" in kind.dtype and name not in inputs}
    if loss_entry(term.loss).param("axis") is None or (*value.shape[:1], *value.shape[2:]) in {
        kind.shape for kind in labels.values()
    }:
        return
    for name, kind in labels.items():
        if hint := other_axis(value, kind, 1):
            text = f"{term.loss} takes axis 1 of '{term.value}' {list(value.shape)} for the classes"
            yield Problem(f"{text}, and '{name}' is {list(kind.shape)}", said.span(n), said.path, hint)
            return


def _broadcasts(term: Term, value: TensorType, target: TensorType) -> bool:
    """Whether torch warns of the two shapes, as it does where a loss of equal shapes is given others."""
    entry = loss_entry(term.loss)
    if entry.kind != "loss":
        return False
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        entry.load()(*meta_values(("value", "target"), (value, target)).values(), **dict(term.args))
    return any("target size" in str(one.message) for one in told)


def _type(graph: Graph, name: str, slot: str, *, training: bool = False) -> TensorType:
    """The type of a named value of a graph, as it is in training or in evaluation."""
    there = with_items(graph, [name])
    path = value_paths(there, [name], slot)[name]
    if path in there.input_names:
        return shapes(there)[path]
    there = in_mode(with_values(there, {"value_": path}), "train") if training else in_mode(there, "eval")
    if path not in there.nodes:
        raise RecipeError(f"'{name}' is a value of training alone", hint="name one that there is in evaluation too")
    return shapes(there)[path]
