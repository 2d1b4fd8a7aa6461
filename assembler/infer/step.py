"""One step: how it is made from its node, called on values, and what its outputs are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from assembler.graph.core import Graph, Node, TensorType
from assembler.infer.make import call_arguments, make
from assembler.registry import Entry, lookup

Build = Callable[[Graph, str], nn.Module]
"""Makes a module of a graph that calls with keywords and gives a dict; the name tells copies of one body apart."""

Infer = Callable[[Graph], Mapping[str, TensorType]]
"""Gives the types of all values of a graph."""


@dataclass(frozen=True)
class SubGraph:
    """The body of a step as the op gets it: see `assembler.registry.Body`."""

    graph: Graph
    types: Mapping[str, TensorType]
    lower: Build
    infer: Infer

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what the body makes."""
        return tuple(name for name, _ in self.graph.outputs)

    def made(self, types: Mapping[str, TensorType]) -> dict[str, TensorType]:
        """The types of what the body makes from values of these types."""
        found = self.infer(self._typed(types))
        return {name: found[i] for name, i in self.graph.outputs}

    def build(self, types: Mapping[str, TensorType], name: str = "") -> nn.Module:
        """A module for values of these types."""
        return self.lower(self._typed(types), name)

    def _typed(self, types: Mapping[str, TensorType]) -> Graph:
        return replace(self.graph, inputs=tuple((name, types[name]) for name in self.graph.input_names))


def step_of(node: Node, types: Sequence[TensorType], lower: Build, infer: Infer) -> Callable[..., Any]:
    """What computes a node whose inputs have these types, in order."""
    body = None
    if node.body is not None:
        given = {port: kind for (port, _), kind in zip(node.inputs, types, strict=True)}
        body = SubGraph(node.body, given, lower, infer)
    return make(lookup("op", node.op), dict(node.args), [t.shape for t in types], body)


def call_step(step: Callable[..., Any], entry: Entry, node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    """Call what `step_of` made on the values that `node` reads; its outputs by name, "" for the one of most ops."""
    positional, named = call_arguments(entry, node, values)
    return named_outputs(entry, node, step(*positional, **named))


def named_outputs(entry: Entry, node: Node, made: Any) -> dict[str, Any]:
    """What a step made, by the names of its outputs; nested tuples are taken apart in order."""
    names = entry.outputs(dict(node.args))
    if names is None:
        return {"": made}
    flat = list(made.values()) if isinstance(made, Mapping) else list(_flat(made))
    return dict(zip(names or map(str, range(len(flat))), flat, strict=False))


def _flat(made: Any) -> Iterator[Any]:
    if isinstance(made, tuple | list):
        for inner in made:
            yield from _flat(inner)
    else:
        yield made
