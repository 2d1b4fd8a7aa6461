"""The Python text of single steps: constructor calls and expressions, with every number in them open to be named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from assembler.compile.embed import Embedding
from assembler.compile.expression import expressions
from assembler.compile.literal import Leaf, literal, plain
from assembler.compile.source.place import GRADIENT, LOOP, Place
from assembler.compile.trace import traced
from assembler.errors import GraphError, Problem
from assembler.graph.core import ITEM, SWITCH, Node, TensorType
from assembler.graph.shares import TRANSPOSED
from assembler.infer.make import arguments, call_arguments
from assembler.infer.ties import transposed
from assembler.modules.gradient import followed, following, gradients
from assembler.modules.loop import is_over, kept
from assembler.registry import Entry, lookup

MODULES = ("module", LOOP, GRADIENT)
"""The kinds of steps that have a module."""
_SCALARS = (type(None), bool, int, float, str)
Lines = list[tuple[str, str]]
"""(variable, expression) pairs."""


@dataclass(frozen=True)
class Made:
    """A constructor call: what is called, and its keywords with their texts."""

    callee: str
    keywords: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.callee}({', '.join(f'{k}={v}' for k, v in self.keywords)})"


@dataclass(frozen=True)
class Form:
    """What a step looks like with its numbers left out; `leaves` are those, with what they are called."""

    kind: str
    text: str
    leaves: tuple[tuple[Any, str], ...]


@dataclass
class Forms:
    """The texts of a model's steps, whose ops' sources are collected in `embedding`."""

    embedding: Embedding
    _bodies: dict[tuple[int, str], fx.Graph | None] = field(default_factory=dict)
    _owners: dict[tuple[int, str], str] = field(default_factory=dict)
    _weights: dict[tuple[int, str], bool] = field(default_factory=dict)
    _forms: dict[tuple[int, str], Form] = field(default_factory=dict)

    def form(self, place: Place, i: str) -> Form:
        """The form of a step. Raises GraphError where its op's source cannot stand alone."""
        if (id(place), i) not in self._forms:
            self._forms[id(place), i] = self._form(place, i)
        return self._forms[id(place), i]

    def _form(self, place: Place, i: str) -> Form:
        node = place.node(i)
        kind = kind_of(node)
        leaves: list[tuple[Any, str]] = []
        if any(path.endswith(TRANSPOSED) for _, path in node.share):
            self.embedding.add(transposed)

        def note(value: Any, called: str) -> str:
            leaves.append((value, called))
            return "_"

        try:
            if kind in (LOOP, GRADIENT):
                args = dict(node.args)
                for part in _parts(kind, args):
                    self.embedding.add(part)
                text = f"{literal(args.pop('times', None), note, 'times')} {sorted(args.items())}"
            elif kind == "module":
                text = str(self.made(place, i, note))
            elif kind == "function":
                text = str(self.lines(place, i, {s: f"<{n}>" for n, s in enumerate(node.sources)}, "<>", note))
            else:
                text = str(node.args)
        except GraphError as error:
            first = error.problems[0]
            raise GraphError(Problem(first.message, first.span or node.span, first.path or i, first.hint)) from error
        return Form(kind, f"{node.op} {text}", tuple(leaves))

    def made(self, place: Place, i: str, leaf: Leaf, body: str = "") -> Made:
        """The call that makes a step's module; `body` is what makes that of its body."""
        node = place.node(i)
        entry = lookup("op", node.op)
        bound = _bound(place, node, entry)
        if entry.option("bare"):
            return _tensor(bound, leaf)
        given = _given(entry, bound, leaf)
        if i in place.bodies:
            inner = place.bodies[i].graph
            types = ", ".join(f"{plain(name)}: {_type_text(place.types[s], leaf)}" for name, s in node.inputs)
            outputs = literal(tuple(name for name, _ in inner.outputs))
            argument = next(p.argument for p in entry.params if p.inferred == "body")
            given.insert(0, (argument, f"Body({{{types}}}, {outputs}, {body})"))
        return Made(self.callee(entry), tuple(given))

    def lines(self, place: Place, i: str, values: Mapping[str, str], name: str, leaf: Leaf) -> Lines:
        """The statements of a function step, the last of which is `name`'s: torch expressions, or a call of it."""
        node = place.node(i)
        entry = lookup("op", node.op)
        bound = _bound(place, node, entry)
        body = self._traced(place, i, node, entry, bound)
        if body is not None:
            said = {_key(v): k for k, value in bound.items() for v in _scalars(value)}
            found = expressions(
                body, [values[s] for s in node.sources], name, lambda v, _: leaf(v, said.get(_key(v), ""))
            )
            if found is not None:
                return found
        args, kwargs = call_arguments(entry, node, values)
        inputs = [*args, *(f"{k}={v}" for k, v in kwargs.items())]
        given = [f"{k}={v}" for k, v in _given(entry, bound, leaf)]
        return [(name, f"{self.callee(entry)}({', '.join([*inputs, *given])})")]

    def call(self, place: Place, i: str, values: Mapping[str, str]) -> str:
        """What stands between the parentheses where a step's module is called."""
        node = place.node(i)
        args, kwargs = call_arguments(lookup("op", node.op), node, values, lambda parts: f"({', '.join(parts)})")
        return ", ".join([*args, *(f"{k}={v}" for k, v in kwargs.items())])

    def callee(self, entry: Entry) -> str:
        """The name of an op's code in the file."""
        return f"nn.{entry.qualname}" if entry.module == "torch.nn" else self.embedding.add(entry.load())

    def owner(self, place: Place, i: str) -> str:
        """The step whose module computes the step `i`: itself, unless it shares one that has weights.

        One of another graph is given as `assembler.graph.shares` writes it.
        """
        found = self._owners.get((id(place), i))
        if found is None:
            owner = place.node(i).owner
            found = owner if owner and self.has_weights(*place.at(owner)) else i
            self._owners[id(place), i] = found
        return found

    def has_weights(self, place: Place, i: str) -> bool:
        """Whether a step has parameters or buffers, beside numbers that the recipe says."""
        if (id(place), i) not in self._weights:
            step = place.run(i)[0]
            self._weights[id(place), i] = isinstance(step, nn.Module) and bool(step.state_dict())
        return self._weights[id(place), i]

    def _traced(self, place: Place, i: str, node: Node, entry: Entry, bound: Mapping[str, Any]) -> fx.Graph | None:
        key = id(place), i
        if key not in self._bodies:
            named = frozenset(call_arguments(entry, node, {s: p for p, s in node.inputs})[1])
            ports = tuple(dict(node.inputs))
            self._bodies[key] = traced(entry.load(), tuple(sorted(bound.items())), ports, named)
        return self._bodies[key]


def _tensor(bound: Mapping[str, Any], leaf: Leaf) -> Made:
    """What makes a step that is one tensor: a parameter, or a buffer."""
    size = literal(bound["shape"], leaf, "shape")
    dtype = "" if bound.get("dtype", "float32") == "float32" else f", dtype=torch.{bound['dtype']}"
    callee = "nn.Parameter" if bound.get("learned", True) else "nn.Buffer"
    return Made(callee, (("data", f"torch.zeros({size}{dtype})"),))


def _parts(kind: str, args: Mapping[str, Any]) -> tuple[Callable[..., Any], ...]:
    """The functions that the lines of a loop or a gradient call."""
    if kind == GRADIENT:
        return following, followed, gradients
    return (kept, is_over) if args.get("until") else ()


def kind_of(node: Node) -> str:
    """How a step is written: as an item, a switch, a loop, a gradient, a check, a function, or a module's call."""
    if node.op in (ITEM, SWITCH, LOOP, GRADIENT):
        return node.op
    entry = lookup("op", node.op)
    return "check" if entry.option("checks") else "function" if entry.shape == "function" else "module"


def _bound(place: Place, node: Node, entry: Entry) -> dict[str, Any]:
    return arguments(entry, dict(node.args), [place.types[s].shape for s in node.sources])


def _given(entry: Entry, bound: Mapping[str, Any], leaf: Leaf) -> list[tuple[str, str]]:
    """The keywords of a call with their texts; a default is left out unless `leaf` writes it otherwise."""
    found = []
    for p in entry.params:
        if p.argument in bound:
            found.append((p.argument, literal(bound[p.argument], leaf, p.argument)))
        elif not p.required and not p.inferred and all(type(v) in _SCALARS for v in _scalars(p.default)):
            text = literal(p.default, leaf, p.argument)
            found += [(p.argument, text)] if text != literal(p.default) else []
    return found


def _type_text(given: TensorType, leaf: Leaf) -> str:
    return f"TensorType({literal(given.shape, leaf, 'shape')}, {plain(given.dtype)})"


def _scalars(value: Any) -> Sequence[Any]:
    return [s for v in value for s in _scalars(v)] if isinstance(value, tuple) else [value]


def _key(value: Any) -> tuple[type, str]:
    return type(value), repr(value)
