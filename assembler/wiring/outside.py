"""What a part that is written for a place of a graph reads of the graph around that place, as its `from:` says."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.recipe.values import Map, Seq, Value

_INSIDE = ("body", "shortcut")


def wired(value: Value, stream: str, graph: Graph, reads: dict[str, str]) -> Value:
    """The step as it is written, with names of inputs of its own where a `from:` names values of the graph around it.

    Adds these to `reads`, name -> id. `input` of the step itself is the input `stream`. A step inside has precedence.
    """
    if not isinstance(value, Map):
        return value
    return _Wiring(stream, graph, reads, frozenset(_steps(value))).step(value, outer=True)


@dataclass(frozen=True)
class _Wiring:
    stream: str
    graph: Graph
    reads: dict[str, str]
    own: frozenset[str]

    def step(self, written: Map, *, outer: bool) -> Map:
        """A step, or the steps of a body, with all that they read renamed."""
        for key, said in written:
            if key == "from":
                written = written.set(key, self.source(said, outer=outer))
            elif isinstance(said, Map):
                written = written.set(key, self.step(said, outer=False))
        return written

    def source(self, written: Value, *, outer: bool) -> Value:
        """What a `from:` names: one value, a list or a mapping of such."""
        if isinstance(written, Map):
            for key, said in written:
                written = written.set(key, self.source(said, outer=outer))
            return written
        if isinstance(written, Seq):
            return replace(written, items=tuple(self.source(v, outer=outer) for v in written))
        if not isinstance(written.value, str):
            return written
        if written.value == "input":
            return replace(written, value=self.stream) if outer else written
        return replace(written, value=self.name(written.value))

    def name(self, said: str) -> str:
        """The input that stands for a value of the graph; what names none stays."""
        if said.partition(".")[0] in self.own:
            return said
        try:
            i = self.graph.resolve(said)
        except GraphError:
            return said
        known = next((name for name, source in self.reads.items() if source == i), "")
        if not known:
            known = f"{self.stream}_{len(self.reads)}"
            self.reads[known] = i
        return known


def _steps(value: Map, names: Collection[str] = ()) -> Iterator[str]:
    """The names of all steps in a step's bodies."""
    yield from names
    for key, said in value:
        if isinstance(said, Map):
            yield from _steps(said, said.keys() if key in _INSIDE else ())
