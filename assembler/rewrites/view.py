"""A graph as rewrites look at it: who reads what, whose weights are shared, which regions are slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from assembler.graph.core import ITEM, Graph, Node, TensorType
from assembler.graph.edit import Slot
from assembler.graph.shares import owners
from assembler.registry import lookup


@dataclass(frozen=True)
class View:
    """A graph with the types of its values, and side tables that are made when they are asked for."""

    graph: Graph
    types: Mapping[str, TensorType]

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """For every value the steps that read it, once a read; "" stands for an output of the graph."""
        found: dict[str, list[str]] = {i: [] for i in (*self.graph.input_names, *self.graph.nodes)}
        for i, node in self.graph:
            for source in node.sources:
                found[source].append(i)
        for _, i in self.graph.outputs:
            found[i].append("")
        return {i: tuple(users) for i, users in found.items()}

    @cached_property
    def position(self) -> dict[str, int]:
        """The place of every step in the order of the graph."""
        return {i: n for n, i in enumerate(self.graph.nodes)}

    @cached_property
    def sharers(self) -> dict[str, set[str]]:
        """For every step whose weights another uses, the steps that do."""
        found: dict[str, set[str]] = {}
        for i, node in self.graph:
            for owner in (*owners(node, self.graph.nodes), *([i] if _shares_inside(node) else [])):
                found.setdefault(owner, set()).add(i)
        return found

    def lone(self, i: str) -> str | None:
        """The one step that reads the value `i` once, or None where there are more reads, or it is an output."""
        users = self.readers[i]
        return users[0] if len(users) == 1 and users[0] else None

    def free(self, *ids: str) -> bool:
        """Whether the weights of these steps are theirs alone."""
        return not any(i in self.sharers or self.graph.nodes[i].share for i in ids)

    def is_shared_outside(self, ids: Sequence[str]) -> bool:
        """Whether a step that is not one of `ids` uses weights of one that is."""
        inside = set(ids)
        return any(self.sharers.get(i, set()) - inside for i in ids)

    def single(self, i: str) -> bool:
        """Whether the step `i` makes one tensor and no other step reads further ones."""
        nodes = self.graph.nodes
        return nodes[i].op != ITEM and not any(u and nodes[u].op == ITEM for u in self.readers[i])

    def slots(self) -> Iterator[Slot]:
        """Every step and container with one value entering and one leaving, in the order of the steps."""
        regions: dict[str, list[str]] = {}
        for i in self.graph.nodes:
            path = i
            while path:
                regions.setdefault(path, []).append(i)
                path = path.rpartition(".")[0]
        for path, ids in regions.items():
            if path in self.graph.nodes or path in self.graph.names:
                slot = self._slot(path, ids)
                if slot is not None:
                    yield slot

    def _slot(self, path: str, ids: list[str]) -> Slot | None:
        inside = set(ids)
        sources = {s for i in ids for s in self.graph.nodes[i].sources if s not in inside}
        results = {i for i in ids if any(u not in inside for u in self.readers[i])}
        if len(sources) != 1 or len(results) != 1:
            return None
        return Slot(path, tuple(ids), sources.pop(), results.pop())

    def steady(self) -> Iterator[Slot]:
        """The slots whose value has the type of what enters, and whose weights nobody outside uses."""
        for slot in self.slots():
            same = self.types[slot.source] == self.types[slot.output]
            if same and self.single(slot.output) and not self.is_shared_outside(slot.ids):
                yield slot


def _shares_inside(node: Node) -> bool:
    """Whether a step in the body of a step shares anything, which the step as a whole then does."""
    inner = node.body.nodes.values() if node.body is not None else ()
    return any(n.share or _shares_inside(n) for n in inner)


def argument(node: Node, name: str) -> Any:
    """An argument of a step, or the op's own default where it is not written."""
    param = lookup("op", node.op).param(name)
    return node.arg(name, param.default if param else None)


def each(value: Any, n: int) -> tuple[int, ...]:
    """An argument that is one number for all axes, or one an axis, as `n` numbers."""
    return tuple(value) if isinstance(value, tuple) else (value,) * n


def free_id(graph: Graph, wanted: str) -> str:
    """`wanted` or, where something is called so already, the first of `wanted_2`, `wanted_3`, ... that is free."""
    taken = {*graph.nodes, *graph.names, *graph.input_names}
    found, n = wanted, 2
    while found in taken or any(i.startswith(f"{found}.") for i in taken):
        found, n = f"{wanted}_{n}", n + 1
    return found


def is_leaf(graph: Graph, i: str) -> bool:
    """Whether no step or container lies under the path of the step `i`."""
    return not any(path.startswith(f"{i}.") for path in (*graph.nodes, *graph.names))


def spliced(graph: Graph, at: str, block: Mapping[str, Node]) -> dict[str, Node]:
    """The graph's steps with `block` in the place of the step `at`."""
    nodes: dict[str, Node] = {}
    for i, node in graph:
        nodes |= block if i == at else {i: node}
    return nodes


def rewired(graph: Graph, nodes: Mapping[str, Node], moved: Mapping[str, str], kept: Sequence[str] = ()) -> Graph:
    """The graph of these steps, in which whoever read a moved value reads where it is now; steps in `kept` do not."""

    def where(i: str) -> str:
        while i in moved:
            i = moved[i]
        return i

    made = {}
    for i, node in nodes.items():
        inputs = tuple((port, where(s)) for port, s in node.inputs)
        made[i] = node if i in kept or inputs == node.inputs else replace(node, inputs=inputs)
    held = {*made, *graph.input_names}
    names = {path: where(v) for path, v in graph.names.items() if where(v) in held and path not in made}
    outputs = tuple((name, where(i)) for name, i in graph.outputs)
    return replace(graph, nodes=made, names=names, outputs=outputs)


def inserted(graph: Graph, slot: Slot, block: Mapping[str, Node], last: str) -> Graph:
    """The graph with `block` after a slot's value; what read that outside the slot reads `last` in its place.

    Containers that hold the value and that `last` lies under hold the new value from now on.
    """
    nodes = spliced(graph, slot.output, {slot.output: graph.nodes[slot.output], **block})
    made = rewired(graph, nodes, {slot.output: last}, (*slot.ids, *block))
    inner = {path: v for path, v in graph.names.items() if v == slot.output and not last.startswith(f"{path}.")}
    return replace(made, names={**made.names, **inner})
