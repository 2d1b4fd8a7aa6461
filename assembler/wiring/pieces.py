"""Wires the steps of many recipes into graphs: a step that reads but the value before it is wired and checked once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from assembler.errors import GraphError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.verify import verify
from assembler.recipe.steps import Step
from assembler.recipe.unrolled import Unforgiving
from assembler.recipe.values import Value
from assembler.wiring.builder import Builder
from assembler.wiring.names import Names
from assembler.wiring.nesting import UNKNOWN


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A step, or a container with all that is in it, which reads one value, `current`, and gives one, `last`.

    It is sound, and uses no weights of steps outside of it. It was put together from `parts`, in order. `covered`
    are its ids and the names of its containers; `tables` hold what analyses found out about it, each under its own key.
    """

    step: Step
    current: str
    last: str
    nodes: dict[str, Node]
    names: dict[str, str]
    spare: frozenset[str]
    covered: frozenset[str]
    parts: tuple[Part, ...]
    tables: dict[Any, Any] = field(default_factory=dict)

    def graph(self, kind: TensorType = UNKNOWN) -> Graph:
        """The piece as a graph whose input is of this type."""
        return Graph(((self.current, kind),), self.nodes, (("output", self.last),), self.names)


Part = Piece | str
"""What a graph was put together from: a piece, or the id of a node of its own."""
Pieces = dict[tuple[int, str], Piece | Step]
"""Pieces by the `id` of their step and what they read; a step alone where it makes no piece."""


class PieceBuilder(Builder):
    """Wires steps; `known` grows with every piece, and `parts` are in the order of the nodes.

    Pieces are made of the steps in `kept`, by `id`: the others are not met again.

    What would be a problem raises UnfitError.
    """

    def __init__(self, inputs: Mapping[str, TensorType], known: Pieces, kept: Collection[int],
                 blocks: Value | None = None) -> None:  # fmt: skip
        super().__init__(inputs, Unforgiving(), blocks)
        self.known = known
        self.kept = kept
        self.parts: list[Part] = []
        self.sound = set[str]()
        self.borders: list[_Border] = []

    def step(self, step: Step, current: str, names: Names) -> str:
        found = self.known.get((id(step), current))
        if isinstance(found, Piece):
            self.nodes.update(found.nodes)
            self.names.update(found.names)
            self.spare |= found.spare
            self.sound |= found.covered
            self.parts.append(found)
            return found.last
        if found is None and id(step) in self.kept and not _is_marked(step):
            return self.piece(step, current, names)
        return self.wired(step, current, names)

    def wired(self, step: Step, current: str, names: Names) -> str:
        """Wire a step that is no piece."""
        parts, nodes = len(self.parts), len(self.nodes)
        last = super().step(step, current, names)
        if step.kind == "nested":  # what was wired inside of it is its body now
            del self.parts[parts:]
        if _is_marked(step):  # and its nodes are changed after this
            self.parts[parts:] = islice(self.nodes, nodes, None)
            self.sound.difference_update(islice(self.nodes, nodes, None))
        elif step.kind == "model":
            self.parts.extend(islice(self.nodes, nodes, None))
        elif step.path in self.nodes:
            self.parts.append(step.path)
        return last

    def piece(self, step: Step, current: str, names: Names) -> str:
        """Wire a step, and keep it if it is a piece."""
        border = _Border(names.paths)
        nodes, inside, spare, parts = len(self.nodes), len(self.names), set(self.spare), len(self.parts)
        self.borders.append(border)
        last = self.wired(step, current, Names(border, names.outer))
        self.borders.pop()
        new = dict(islice(self.nodes.items(), nodes, None))
        called = dict(islice(self.names.items(), inside, None))
        covered, inner = frozenset((*new, *called)), tuple(self.parts[parts:])
        made = Piece(step, current, last, new, called, frozenset(self.spare - spare), covered, inner)
        if border.crossed or not _is_closed(made, self.sound):
            self.known[id(step), current] = step
            return last
        self.known[id(step), current] = made
        self.parts[parts:] = [made]
        self.sound |= covered
        return last

    def value_at(self, source: str, names: Names, besides: str = "") -> str:
        found = super().value_at(source, names, besides)
        head, _, rest = source.partition(".")
        path = names.find(head)
        here = f"{path}.{rest}" if rest else path or ""
        if found != self.names.get(here, here):  # it is not by the names within that it was found
            self.cross()
        return found

    def matching(self, pattern: str, step: Step, names: Names, *at: str) -> list[str]:
        self.cross()
        return super().matching(pattern, step, names, *at)

    def item(self, path: str) -> str:
        nodes = len(self.nodes)
        found = super().item(path)
        if len(self.nodes) > nodes:
            self.parts.append(found)
        return found

    def cross(self) -> None:
        for border in self.borders:
            border.crossed = True


class _Border(dict[str, str]):
    """The names around a step, and whether it looked at them."""

    def __init__(self, around: dict[str, str]) -> None:
        super().__init__()
        self.around = around
        self.crossed = False

    def __contains__(self, name: object) -> bool:
        self.crossed = True
        return name in self.around

    def __getitem__(self, name: str) -> str:
        return self.around[name]

    def __iter__(self) -> Iterator[str]:
        self.crossed = True
        return iter(self.around)


def _is_marked(step: Step) -> bool:
    return bool(step.share or step.frozen or "initializers" in step.written)


def _is_closed(piece: Piece, sound: Set[str]) -> bool:
    known, prefix = {piece.current}, f"{piece.step.path}."
    for i, node in piece.nodes.items():
        if not (i == piece.step.path or i.startswith(prefix)):
            return False
        if any(source not in known for source in node.sources):
            return False
        known.add(i)
    return piece.last in piece.nodes and _is_sound(piece.graph(), sound & piece.covered)


def _is_sound(graph: Graph, sound: Set[str]) -> bool:
    try:
        verify(graph, sound)
    except GraphError:
        return False
    return True
