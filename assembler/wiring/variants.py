"""The graphs of many choices in one recipe, put together from pieces that they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from assembler.graph.core import Graph, TensorType
from assembler.graph.fingerprint import chained, joined
from assembler.graph.verify import verify
from assembler.recipe.choices import Pick, Space, decide
from assembler.recipe.decided import Decided
from assembler.recipe.pause import no_collection
from assembler.recipe.unrolled import UnfitError, Unforgiving, Unrolled
from assembler.recipe.values import Map
from assembler.wiring.build import build, wired
from assembler.wiring.builder import Builder
from assembler.wiring.interface import inputs_of, outputs_of
from assembler.wiring.lanes import lanes
from assembler.wiring.nesting import UNKNOWN
from assembler.wiring.pieces import Part, Piece, PieceBuilder, Pieces

_MOST = 20_000


@dataclass(frozen=True, slots=True)
class Variant:
    """The graph of a choice, and the parts that it was put together from, in order; none where they are not known."""

    graph: Graph
    parts: tuple[Part, ...] = ()

    @property
    def fingerprint(self) -> str:
        """That of the graph; where the parts stand one behind another, it is made of what is known of them."""
        graph = self.graph
        if len(graph.inputs) != 1 or len(graph.outputs) != 1 or graph.only:
            return graph.fingerprint
        (start, kind), (output, end) = graph.inputs[0], graph.outputs[0]
        chain = _joined_chain(self.parts, start, end, output)
        return graph.fingerprint if chain is None else joined(kind, chain)


class Variants:
    """Gives the graph of a choice, equal to `build(decide(model, choice))`, and verified.

    What is kept of the choices before grows to some ten thousand steps, then it is dropped.
    """

    def __init__(self, model: Map, space: Space, name: str) -> None:
        self.model, self.space, self.name = model, space, name
        self._forget()

    def _forget(self) -> None:
        self._unrolled = Unrolled()
        self._decided = Decided(self.model, self.space, self._unrolled.one)
        self._pieces: Pieces = {}
        self._lanes = lanes(self.model, self._decided.root) if isinstance(self.model.get("graph"), Map) else None
        self._inputs: dict[str, TensorType] = {}

    def variant(self, choice: Mapping[str, Pick]) -> Variant:
        """The graph of a choice. Raises RecipeError, or GraphError, with every problem of it."""
        if len(self._unrolled.kept) > _MOST or (self._lanes and len(self._lanes.pieces) > _MOST):
            self._forget()
        if isinstance(self.model.get("graph"), Map):
            with suppress(UnfitError):
                return self._met(choice) or self._put_together(choice)
        graph = build(decide(self.model, choice), name=self.name)
        verify(graph)
        return Variant(graph)

    def _met(self, choice: Mapping[str, Pick]) -> Variant | None:
        """The graph of a choice, all of whose pieces were met in the places that they have in it."""
        pieces = self._lanes.find(choice, next(iter(self._inputs))) if self._lanes and self._inputs else None
        if not pieces:
            return None
        work = Builder(self._inputs, Unforgiving())
        for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
            work.nodes.update(piece.nodes)
            work.names.update(piece.names)
            top, _, copy = piece.step.path.partition(".")
            if copy and (after is None or not after.step.path.startswith(f"{top}.")):
                work.names[top] = piece.last
        steps, inputs = len(work.nodes), tuple(self._inputs.items())
        outputs = outputs_of(self.model, work, pieces[-1].last)
        if len(work.nodes) > steps:
            return None
        return Variant(Graph(inputs, work.nodes, outputs, work.names, self.name), tuple(pieces))

    def _put_together(self, choice: Mapping[str, Pick]) -> Variant:
        with no_collection():
            tree = self._decided.tree(choice)
            steps, units = self._unrolled.steps(tree)
            inputs = inputs_of(tree, Unforgiving())
            work = PieceBuilder(inputs, self._pieces, self._unrolled.kept, tree.get("blocks"))
            graph = wired(tree, steps, work, self.name)
            verify(graph, work.sound)
        if len(graph) != len(work.nodes) or "initializers" in tree:
            return Variant(graph)
        if self._lanes:
            self._inputs = inputs
            self._lanes.keep(choice, units, work.parts, graph)
        return Variant(graph, tuple(work.parts))


def _joined_chain(parts: tuple[Part, ...], start: str, end: str, output: str) -> list[bytes] | None:
    """The digests of all lengths of parts that stand one behind another, from `start` to `end`; None where they do not.

    `end` is an output of that name, or none where it is empty.
    """
    chain, at = list[bytes](), start
    for part in parts:
        if not isinstance(part, Piece) or part.current != at:
            return None
        at = part.last
        found = _chained(part, output if at == end else "")
        if found is None:
            return None
        chain += found
    return chain if at == end else None


def _chained(piece: Piece, output: str) -> list[bytes] | None:
    key = "chain", output
    if key not in piece.tables:
        found = _joined_chain(piece.parts, piece.current, piece.last, output)
        if found is None:
            outputs = ((output, piece.last),) if output else ()
            alone = chained(Graph(((piece.current, UNKNOWN),), piece.nodes, outputs), piece.last)
            found = None if alone is None else list(alone)
        piece.tables[key] = found
    known: list[bytes] | None = piece.tables[key]
    return known
