"""A graph as it is written out: steps in the order of their lines, and bodies with what is known of their values."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from assembler.errors import GraphError
from assembler.graph.core import ITEM, SWITCH, Graph, Node, TensorType
from assembler.graph.modes import MODES, Mode, has_modes
from assembler.graph.reach import reach
from assembler.graph.shares import owners, parts
from assembler.infer.shape import run_step, shapes, signature
from assembler.infer.step import step_of
from assembler.registry import lookup

LOOP = "loop"
"""The op whose body is written as a `for`."""
GRADIENT = "gradient"
"""The op whose body is written under a `with`."""


@dataclass(frozen=True, eq=False)
class Place:
    """One graph of a model: its own, or a step's body, of the step `step` of `parent`.

    `modes` says which steps one mode alone needs; steps that neither needs are not in the graph. `bodies` are the
    places of the steps that have a body.
    """

    graph: Graph
    types: Mapping[str, TensorType]
    modes: Mapping[str, Mode] = field(default_factory=dict)
    bodies: dict[str, Place] = field(default_factory=dict)
    parent: Place | None = None
    step: str = ""
    _outputs: dict[str, tuple[str, ...] | None] = field(default_factory=dict)

    @property
    def inline(self) -> bool:
        """Whether its steps are written into the forward of the step's own model."""
        return self.parent is not None and self.parent.graph.nodes[self.step].op in (LOOP, GRADIENT)

    @property
    def frozen(self) -> bool:
        """Whether it is written into a forward that may be in training, and stays in evaluation."""
        if not self.inline or self.parent is None:
            return False
        return self.parent.node(self.step).frozen or self.parent.frozen

    @functools.cached_property
    def items(self) -> dict[str, dict[str, str]]:
        """For every step of which further outputs are read, the ids under which they are, by output."""
        found: dict[str, dict[str, str]] = {}
        for i, node in self.graph:
            if node.op == ITEM:
                found.setdefault(node.sources[0], {})[str(node.arg("output"))] = i
        return found

    def node(self, i: str) -> Node:
        """The step `i`."""
        return self.graph.nodes[i]

    def at(self, path: str) -> tuple[Place, str]:
        """The place that a shared path leads to, and the step there."""
        up, (*through, step) = parts(path)
        here = self
        for _ in range(up):
            assert here.parent is not None
            here = here.parent
        for inner in through:
            here = here.bodies[inner]
        return here, step

    def mode(self, i: str) -> str:
        """The one mode that needs the step, or ""."""
        return self.modes.get(i, "")

    def outputs(self, i: str) -> tuple[str, ...] | None:
        """The names of what a step makes, counted where they are numbers; None for a step of one output."""
        if i not in self._outputs:
            self._outputs[i] = self._named(i)
        return self._outputs[i]

    def _named(self, i: str) -> tuple[str, ...] | None:
        node = self.node(i)
        names = None if node.op in (ITEM, SWITCH) else lookup("op", node.op).outputs(dict(node.args))
        return tuple(self.run(i)[1]) if names == () else names

    def run(self, i: str) -> tuple[Any, dict[str, Any]]:
        """What computes a step, and what it makes by name, both on the `meta` device."""
        node = self.node(i)
        _, op, args, ports, given, _, body = signature(node, tuple(self.types[s] for s in node.sources))
        return run_step(op, args, ports, given, body)

    def walk(self, ids: tuple[str, ...], base: str = "") -> Iterator[tuple[str, Place, str]]:
        """(address, place, id) of steps and of all in their bodies; paths are told from `base` on."""
        for i in ids:
            here = i[len(base) + 1 :] if base else i
            yield here, self, i
            if i in self.bodies:
                body = self.bodies[i]
                for address, place, inner in body.walk(tuple(body.graph.nodes)):
                    yield f"{here}/{address}", place, inner


def place_of(graph: Graph, types: Mapping[str, TensorType], parent: Place | None = None, step: str = "") -> Place:
    """The place of a graph and those of all bodies in it. Raises GraphError where a body has no one form."""
    modes = _modes(graph)
    nodes: dict[str, Node] = {}
    items: dict[str, list[str]] = {}
    for i, node in graph:
        if node.op == ITEM and i in modes:
            items.setdefault(node.sources[0], []).append(i)
    for i, node in graph:  # an item stands behind what it is taken of, wherever it is read
        if node.op != ITEM and i in modes:
            nodes |= {i: node, **{j: graph.nodes[j] for j in items.get(i, ())}}
    kept = {i: mode for i, mode in modes.items() if mode}
    place = Place(replace(graph, nodes=nodes), types, kept, {}, parent, step)
    for i, node in nodes.items():
        if node.body is not None:
            body = _body(i, node, types)
            place.bodies[i] = place_of(body, shapes(body), place, i)
    return place


def _modes(graph: Graph) -> dict[str, Mode | None]:
    """The steps that are there in some mode, with that mode where it is one alone."""
    if not has_modes(graph):
        return dict.fromkeys(graph.nodes)
    train, evaluation = (_needed(graph, mode, _ends(graph, mode)) for mode in MODES)
    lent = [o for i in {*train, *evaluation} for o in owners(graph.nodes[i], graph.nodes) if o]
    evaluation |= _needed(graph, "eval", [o for o in lent if o not in train])  # which have to be somewhere
    both = {i: None if i in train and i in evaluation else "train" if i in train else "eval" for i in graph.nodes}
    return {i: mode for i, mode in both.items() if i in train or i in evaluation}  # type: ignore[misc]


def _ends(graph: Graph, mode: Mode) -> list[str]:
    gone = {name for name, when in graph.only if when != mode}
    return [i for name, i in graph.outputs if name not in gone]


def _needed(graph: Graph, mode: Mode, ends: list[str]) -> set[str]:
    """The steps that values depend on in a mode."""

    def before(i: str) -> Iterable[str]:
        node = graph.nodes.get(i)
        if node is None or node.op != SWITCH:
            return node.sources if node else ()
        return (dict(node.inputs)["eval" if node.frozen else mode],)

    return reach(ends, before) & graph.nodes.keys()


def _body(i: str, node: Node, types: Mapping[str, TensorType]) -> Graph:
    """The body of a step with the types that the op builds it for."""
    built: list[Graph] = []

    def record(body: Graph, name: str) -> nn.Module:
        built.append(body)
        return nn.Module()

    with torch.device("meta"):
        step_of(node, [types[s] for s in node.sources], record, shapes)
    if any(body != built[0] for body in built[1:]) or not built:
        said = f"{node.op} builds its body in several forms, so no stand-alone file can hold it"
        raise GraphError(said, path=i)
    return built[0]
