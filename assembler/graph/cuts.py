"""Where a graph can be cut: every region that one value enters and one leaves.

On the graph of values, with one begin above all inputs, a value that every path to another passes through is its
dominator (networkx has the algorithm of Cooper, Harvey & Kennedy 2001). The smallest region that a value can be the
exit of begins at its nearest dominator; it is one where every way out leads through the value, its post-dominator. All
other regions are runs of such (Johnson, Pearson & Pingali 1994, "The program structure tree").
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from assembler.graph.core import ITEM, Graph
from assembler.graph.edit import Slot, bonds, torn
from assembler.graph.runs import named, sizes_of, upstream

_BEGIN, _END = "\0begin", "\0end"  # no ids
Readers = Mapping[str, set[str]]
"""Who reads each value; an output of the graph is read by a reader called `\\0end`."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """The slots of a graph, the smallest ones and the containers, in the order of their values.

    `chain` lists the smallest that follow each other down to the output that most steps lead to. Neighbours there are
    one slot together unless the value between them is read elsewhere too, which `tapped` says of the first of them.
    `torn` says, by a region's name, why one that would be a slot is none.
    """

    slots: tuple[Slot, ...]
    chain: tuple[Slot, ...]
    tapped: tuple[bool, ...]
    torn: Mapping[str, str]


def cuts(graph: Graph) -> Cuts:
    """Every place where a graph can be cut."""
    above, pairs, sizes = _dominators(graph), bonds(graph), sizes_of(graph)
    place = {i: n for n, i in enumerate(graph.nodes)}
    pieces = {s.output: s for s in _pieces(graph, above, place, sizes)}
    whole = [s for s in _containers(graph, place) if s.output in pieces]
    found = {s.ids: s for s in (*whole, *pieces.values())}
    why = {s.path: said for s in found.values() if (said := torn(pairs, s.ids))}
    kept = sorted((s for s in found.values() if s.path not in why), key=lambda s: (place[s.output], len(s.ids)))
    line = _chain(graph, above, pieces)
    return Cuts(tuple(kept), line, _tapped(graph, line), why)


def joined(graph: Graph, pieces: Sequence[Slot], sizes: Mapping[str, int] | None = None) -> Slot:
    """Neighbouring pieces of a chain as one slot, under the path that holds them or as a run."""
    held = {i for piece in pieces for i in piece.ids}
    ids = tuple(i for i in graph.nodes if i in held)
    return _named(graph, Slot("", ids, pieces[0].source, pieces[-1].output), sizes)


def _named(graph: Graph, slot: Slot, sizes: Mapping[str, int] | None) -> Slot:
    return Slot(named(graph, slot, sizes), slot.ids, slot.source, slot.output)


def _dominators(graph: Graph) -> dict[str, str]:
    """The nearest dominator of every value that an input has a part in."""
    import networkx as nx

    view: nx.DiGraph[str] = nx.DiGraph()
    view.add_edges_from((_BEGIN, name) for name in graph.input_names)
    for i, node in graph:
        # What comes of no input (a table of positions) is no way in: it belongs to what reads it.
        view.add_edges_from([(s, i) for s in node.sources if s in view])
    found = nx.immediate_dominators(view, _BEGIN)
    return {i: over for i, over in found.items() if over is not None and i != _BEGIN}


def _pieces(
    graph: Graph, above: Mapping[str, str], place: Mapping[str, int], sizes: Mapping[str, int]
) -> Iterator[Slot]:
    """For each value the smallest region that it is the exit of, where there is one."""
    readers = _readers(graph)
    several = {node.sources[0] for _, node in graph if node.op == ITEM}
    for output in graph.nodes:
        source = above.get(output, _BEGIN)
        while source in several:  # as a whole it is no tensor that could enter
            source = above.get(source, _BEGIN)
        if output in several or source == _BEGIN:
            continue
        ids = tuple(sorted(_between(graph, source, output), key=place.__getitem__))
        if _ways_out(ids, readers) == {output}:
            yield _named(graph, Slot("", ids, source, output), sizes)


def _readers(graph: Graph) -> Readers:
    found: dict[str, set[str]] = {i: set() for i in (*graph.input_names, *graph.nodes)}
    for i, node in graph:
        for source in node.sources:
            found[source].add(i)
    for _, i in graph.outputs:
        found[i].add(_END)
    return found


def _between(graph: Graph, source: str, output: str) -> set[str]:
    """The steps from a value to one that it dominates, and what they read that comes of no input."""
    found: set[str] = set()
    waiting = [output]
    while waiting:
        i = waiting.pop()
        if i not in found and i != source:
            found.add(i)
            waiting += graph.nodes[i].sources
    return found


def _ways_out(ids: Collection[str], readers: Readers) -> set[str]:
    """The values of a region that are read outside it."""
    inside = set(ids)
    return {i for i in inside if not inside.issuperset(readers[i])}


def _containers(graph: Graph, place: Mapping[str, int]) -> Iterator[Slot]:
    """The regions under one path that one value enters and one leaves, single steps left out."""
    readers = _readers(graph)
    held: dict[str, list[str]] = {}
    for i in graph.nodes:
        parts = i.split(".")
        for n in range(1, len(parts) + 1):
            held.setdefault(".".join(parts[:n]), []).append(i)
    for path, ids in held.items():
        inside = set(ids)
        entering = {s for i in ids for s in graph.nodes[i].sources} - inside
        leaving = _ways_out(ids, readers)
        if len(ids) > 1 and len(entering) == 1 and len(leaving) == 1:
            yield Slot(path, tuple(ids), entering.pop(), leaving.pop())


def _chain(graph: Graph, above: Mapping[str, str], pieces: Mapping[str, Slot]) -> tuple[Slot, ...]:
    """The pieces that lie one behind the other; where one is no region the chain begins behind it."""
    output = max((i for _, i in graph.outputs), key=lambda i: len(upstream(graph, i)), default=_BEGIN)
    found: list[Slot] = []
    while output not in pieces and output in above:
        output = above[output]
    while output in pieces:
        found.append(pieces[output])
        output = pieces[output].source
    return tuple(reversed(found))


def _tapped(graph: Graph, chain: Sequence[Slot]) -> tuple[bool, ...]:
    readers = _readers(graph)
    between = itertools.pairwise(chain)
    return (*(not readers[piece.output] <= set(behind.ids) for piece, behind in between), *(False for _ in chain[-1:]))
