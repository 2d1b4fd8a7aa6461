"""An objective as a recipe writes it, read into a graph: its steps, a step a loss term, and their weighted sum.

The graph's inputs stand for named values: batch fields, values of the model in training, of a teacher, a host or an
averaged copy. Free of torch, so that linting can read it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from assembler.errors import AssemblerError, Problem, RecipeError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.edit import step
from assembler.recipe.borrowed import SECTIONS as BORROWED
from assembler.recipe.notes import in_order
from assembler.recipe.values import Map, Value, marked
from assembler.registry import Entry, lookup, names
from assembler.train.arguments import check, entry_of
from assembler.train.steps import draft, free

KEYS = ("loss", "value", "target", "weight", "name")
"""What every term may say; further keys are arguments and further inputs of its loss."""
SECTIONS = ("graph", "given", "terms", *BORROWED)
"""What an objective may say that is not a list of terms."""
GIVEN = "{teacher.mask: mask}"
AT_HOST = "@host"
"""`teacher@host` is, while a part is incubated, the host with what the model `teacher` has in the slot."""
EXAMPLE = "[{loss: cross_entropy, value: logits, target: label}]"
_UNKNOWN = TensorType(())

Spec = Sequence[Mapping[str, Any]] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Term:
    """One term: `weight * loss(value, target, **args)`, or `weight` times the mean of `value` where there is no loss.

    `reads` pairs the loss's inputs with what they are: steps of the objective or named values.
    """

    name: str
    loss: str
    weight: float
    reads: tuple[tuple[str, str], ...]
    args: tuple[tuple[str, Any], ...] = ()

    @property
    def value(self) -> str:
        """What the term is about."""
        return self.reads[0][1]

    @property
    def target(self) -> str:
        """What it is compared with, or "" where it is compared with nothing."""
        return self.reads[1][1] if len(self.reads) > 1 else ""

    def arg(self, name: str, default: Any = None) -> Any:
        """The argument of the loss of that name."""
        return dict(self.args).get(name, default)


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of an objective, and the graph of all of it.

    `names` maps the graph's inputs to the named values that they stand for; its outputs are the total, then each term.
    `given` are values of models held still that they do not compute but are told: `teacher.keep` by the value `keep`.
    """

    terms: tuple[Term, ...]
    graph: Graph
    names: Mapping[str, str]
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> frozenset[str]:
        """The named values that are read, or told to another model."""
        return frozenset([*self.names.values(), *self.given.values()])

    def typed(self, types: Mapping[str, TensorType]) -> Graph:
        """The graph for values of these types, by named value."""
        return replace(self.graph, inputs=tuple((i, types[name]) for i, name in self.names.items()))


def read(spec: Spec, path: str = "objective") -> Terms:
    """The objective that a recipe writes.

    It is a list of terms `{loss, value, target, weight: 1.0, name, **arguments}`, one such term, or `{graph: steps,
    given: {teacher.value: value}, terms: [...]}`, whose terms read the steps as well; `vars` and `blocks` that these
    name stand beside them, as in a model. A term without a loss is the mean of its value. A term without a name is
    called after its loss, after its value too where that loss stands twice, and after its target where both do. Raises
    RecipeError for an unknown loss, argument, key or step and for a wrong type.
    """
    steps, written, given, beside = _parts(spec, path)
    if not written:
        raise RecipeError("the objective has no terms", hint=EXAMPLE)
    where = f"{path}.terms" if steps is not None else path
    terms = _distinct([_term(item, f"{where}.{i}") for i, item in enumerate(written)], where)
    problems: list[Problem] = []
    ends = [name for term in terms for _, name in term.reads]
    graph, values, own = draft(steps or Map(), ends, problems, beside)
    if problems:
        raise RecipeError([replace(p, path=p.path or f"{path}.graph") for p in in_order(problems)])
    return replace(_summed(terms, graph, values, own), given=given)


def ordered(spec: Spec) -> Spec:
    """The objective in a form whose steps keep their order where keys are sorted, as those of tasks are."""
    if not isinstance(spec, Mapping):
        return spec
    kept = {key: json.dumps(spec[key]) for key in ("graph", "blocks") if isinstance(spec.get(key), Mapping)}
    return {**spec, **kept} if kept else spec


def as_objective(task: Spec) -> Spec:
    """A task as the objective that trains for it: one term becomes a list of one."""
    return task if not isinstance(task, Mapping) or "terms" in task or "graph" in task else [dict(task)]


def usual_metric(task: Spec) -> str:
    """What people read of a task that names no metric: accuracy where it tells classes apart, else its loss."""
    found = as_objective(task)
    terms = found.get("terms", ()) if isinstance(found, Mapping) else found
    compared = [term for term in terms if "target" in term]
    return "accuracy" if compared and compared[0].get("loss") == "cross_entropy" else "loss"


def within(task: Spec, model: str) -> Spec:
    """A task as `model` itself sees it, which others compare with: `teacher.logits` is the teacher's own `logits`."""

    def own(value: Any) -> Any:
        match value:
            case str():
                return value.removeprefix(f"{model}.")
            case Mapping():
                kept = {k: v for k, v in value.items() if not k.startswith(f"{model}.")}  # nobody tells it its own
                return {key: own(inner) for key, inner in kept.items()}
            case list() | tuple():
                return [own(inner) for inner in value]
        return value

    found: Spec = own(task)
    return found


def _parts(spec: Spec, path: str) -> tuple[Map | None, Sequence[Mapping[str, Any]], dict[str, str], Map]:
    """The steps and the terms of an objective, what it tells other models, and the vars and blocks beside the steps."""
    if not isinstance(spec, Mapping):
        return None, spec, {}, Map()
    if "terms" not in spec and "graph" not in spec:
        return None, [spec], {}, Map()
    if unknown := sorted(set(spec) - set(SECTIONS)):
        raise RecipeError(f"an objective has no '{unknown[0]}'", path=path, hint="it is {graph: steps, terms: [...]}")
    given = spec.get("given") or {}
    steps, *beside = (_section(spec.get(key)) for key in ("graph", *BORROWED))
    if not isinstance(steps, Map) or not isinstance(spec.get("terms"), list | tuple):
        raise RecipeError("an objective is {graph: steps, terms: [...]}", path=path, hint=f"terms: {EXAMPLE}")
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for pair in given.items() for name in pair):
        raise RecipeError("'given' is a mapping of names of values", path=path, hint=f"for instance {GIVEN}")
    return steps, spec["terms"], dict(given), Map(tuple(zip(BORROWED, beside, strict=True)))


def _section(said: Any) -> Value:
    return marked(json.loads(said) if isinstance(said, str) else said or {})


def in_turn(given: Mapping[str, Iterable[str]]) -> list[str]:
    """Models, by what values each is given, so that each comes after those whose values these are.

    Raises RecipeError where that goes round in a circle.
    """
    waits = {key: sorted({v.partition(".")[0] for v in values} & set(given)) for key, values in given.items()}
    try:
        return list(TopologicalSorter(waits).static_order())
    except CycleError as error:
        circle = " and ".join(f"'{key}'" for key in dict.fromkeys(error.args[1]))
        raise RecipeError(f"{circle} would wait for each other's values", hint="give one of them less") from None


def metrics() -> list[str]:
    """The names of all metrics: accuracy, the task's own loss, e to the power of it, or any loss."""
    return ["accuracy", "loss", "perplexity", *names("loss")]


def loss_entry(name: str, *, path: str = "") -> Entry:
    """The registered loss of that name, or the op. Raises RecipeError where there is neither."""
    try:
        return lookup("op", name)  # losses are found as ops as well
    except AssemblerError:
        return entry_of("loss", name, path=path)


def ports(entry: Entry, keys: Iterable[str]) -> dict[str, str]:
    """Which input of a loss each of the keys of a term gives: its own name, or the first and second for the usual two.

    >>> ports(lookup("op", "sub"), ("value", "target"))
    {'value': 'a', 'target': 'b'}
    """
    inputs = ("0", "1") if entry.variadic else entry.inputs
    found = {}
    for key, at in (("value", 0), ("target", 1)):
        port = key if key in inputs else inputs[at] if at < len(inputs) else ""
        if key in keys and port:
            found[key] = port
    return found | {key: key for key in keys if key in inputs}


def required(entry: Entry) -> list[str]:
    """The keys that a term has to give for a loss to have its inputs."""
    count = 1 if entry.variadic else len(entry.inputs) - entry.optional
    named = {port: key for key, port in ports(entry, ("value", "target")).items()}
    return [named.get(port, port) for port in entry.inputs[:count]]


def _term(item: Mapping[str, Any], path: str) -> Term:
    weight, name, loss = item.get("weight", 1.0), item.get("name", ""), item.get("loss", "")
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise RecipeError(f"'weight' must be a number, not {weight!r}", path=path)
    if not loss:
        _require_strings(item, ["value"], path)
        if extra := [key for key in item if key not in ("value", "weight", "name")]:
            raise RecipeError(f"a term without a 'loss' has no '{extra[0]}'", path=path, hint="name its loss")
        return Term(name, "", float(weight), (("x", item["value"]),))
    _require_strings(item, ["loss"], path)
    entry = loss_entry(loss, path=path)
    given = ports(entry, item)
    _require_strings(item, dict.fromkeys([*required(entry), *given]), path)
    args = {k: v for k, v in item.items() if k not in KEYS and k not in given}
    check(entry, args, path=path, reserved=KEYS)
    order = {port: at for at, port in enumerate(entry.inputs)}
    reads = sorted(((port, item[key]) for key, port in given.items()), key=lambda read: order.get(read[0], 0))
    return Term(name, entry.name, float(weight), tuple(reads), tuple(args.items()))


def _require_strings(item: Mapping[str, Any], keys: Iterable[str], path: str) -> None:
    if missing := [key for key in keys if not isinstance(item.get(key), str)]:
        raise RecipeError([Problem(f"a term of an objective needs '{key}', a string", path=path) for key in missing])


def _distinct(terms: list[Term], path: str) -> tuple[Term, ...]:
    said: list[list[str]] = [[term.loss, term.value, term.target] if term.loss else [term.value] for term in terms]
    named = list(terms)
    for n, (term, words) in enumerate(zip(terms, said, strict=True)):
        alike = [other for other, one in zip(said, terms, strict=True) if not one.name and other is not words]
        short = next((k for k in range(1, len(words)) if all(o[:k] != words[:k] for o in alike)), len(words))
        named[n] = replace(term, name=term.name or ".".join(filter(None, words[:short])))
    for name, count in Counter(term.name for term in named).items():
        if count > 1:
            raise RecipeError(f"{count} terms are called '{name}'", path=path, hint="give each its own `name`")
    return tuple(named)


def _summed(terms: tuple[Term, ...], graph: Graph, values: Mapping[str, str], own: Mapping[str, str]) -> Terms:
    """The graph with a step a term, each weighted, and their sum."""
    nodes = dict(graph.nodes)
    taken = {*nodes, *values, *graph.names}
    inputs = {value: i for i, value in values.items()}
    ids, weighted = [], []
    for term in terms:
        i = free(term.name, taken)
        nodes[i] = _node(term, {name: own.get(name) or inputs[name] for _, name in term.reads})
        if term.loss and loss_entry(term.loss).kind != "loss":
            nodes[mean := free(f"{i}_mean", taken)] = step("mean", {"dim": None}, (i,))
            i = mean
        ids.append(i)
        if term.weight != 1:
            nodes[part := free(f"{i}_weighted", taken)] = step("scale", {"factor": term.weight}, (i,))
            i = part
        weighted.append(i)
    total = weighted[0]
    if len(weighted) > 1:
        nodes[total := free("total", taken)] = step("add", {}, tuple(weighted))
    outputs = (("loss", total), *((f"term{n}", i) for n, i in enumerate(ids)))
    kinds = tuple((i, _UNKNOWN) for i in values)
    return Terms(terms, Graph(kinds, nodes, outputs, graph.names, "objective"), values)


def _node(term: Term, ids: Mapping[str, str]) -> Node:
    if not term.loss:
        return step("mean", {"dim": None}, (ids[term.value],))
    wired = tuple((port, ids[name]) for port, name in term.reads)
    return step(term.loss, dict(term.args), tuple(i for _, i in wired), Node(term.loss, (), wired))
