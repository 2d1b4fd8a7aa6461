"""Where a graph can be cut: every region that one value enters and one leaves, and what else the region reads.

On the graph of values, with one begin above all inputs, a value that every path to another passes through is its
dominator (networkx has the algorithm of Cooper, Harvey & Kennedy 2001). The smallest region that a value can be the
exit of begins at its nearest dominator; it is one where every way out leads through the value, its post-dominator. All
other regions are runs of such (Johnson, Pearson & Pingali 1994, "The program structure tree").

Where a mask or the embedding of a time is read all along, no value dominates any other. Then regions are those between
a value and its nearest post-dominator: what is computed outside and read inside is a side input.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from assembler.errors import GraphError
from assembler.graph.core import ITEM, Graph
from assembler.graph.edit import Slot, bonds, torn
from assembler.graph.reach import upstream
from assembler.graph.runs import ends, entry, named, sizes_of
from assembler.graph.sides import entering, fed, readers_of, region_of, stream

_BEGIN = "\0begin"  # no id
Readers = Mapping[str, set[str]]


@dataclass(frozen=True, slots=True)
class Cuts:
    """The slots of a graph, the smallest ones and the containers, in the order of their values.

    `chain` lists the smallest that follow each other down to the output that most steps lead to: slots without side
    inputs, unless the largest of them, or what they leave out, is more than twice what it is with such. Neighbours
    there are one slot together unless the value between them is read elsewhere too, which `tapped` says of the first
    of them. `torn` says, by a region's name, why one that would be a slot is none.
    """

    slots: tuple[Slot, ...]
    chain: tuple[Slot, ...]
    tapped: tuple[bool, ...]
    torn: Mapping[str, str]


def cuts(graph: Graph) -> Cuts:
    """Every place where a graph can be cut."""
    above, pairs, sizes, readers = _dominators(graph), bonds(graph), sizes_of(graph), readers_of(graph)
    place = {i: n for n, i in enumerate(graph.nodes)}
    pieces = {s.output: s for s in _pieces(graph, above, place, sizes)}
    line = _better(_chain(graph, above, pieces), _sided(graph, above, pieces, readers, sizes), graph)
    several = _several(graph)
    whole = [s for s in _containers(graph, readers) if s.output not in several and (s.sides or s.output in pieces)]
    found = {s.ids: s for s in (*whole, *line, *pieces.values())}
    why = {s.path: said for s in found.values() if (said := torn(pairs, s.ids))}
    kept = sorted((s for s in found.values() if s.path not in why), key=lambda s: (place[s.output], len(s.ids)))
    return Cuts(tuple(kept), line, _tapped(readers, line), why)


def joined(graph: Graph, pieces: Sequence[Slot], sizes: Mapping[str, int] | None = None) -> Slot:
    """Neighbouring pieces of a chain as one slot, under the path that holds them or as a run."""
    begin, held = pieces[0].source, {i for piece in pieces for i in piece.ids}
    return _slot(graph, begin, pieces[-1].output, region_of(graph, begin, held, readers_of(graph)), sizes)


def _slot(graph: Graph, begin: str, output: str, held: Collection[str], sizes: Mapping[str, int] | None) -> Slot:
    ids = tuple(i for i in graph.nodes if i in held)
    sides = tuple(s for s in entering(graph, ids) if s != begin)
    return _named(graph, Slot("", ids, begin, output, sides), sizes)


def _named(graph: Graph, slot: Slot, sizes: Mapping[str, int] | None) -> Slot:
    return Slot(named(graph, slot, sizes), slot.ids, slot.source, slot.output, slot.sides)


def _several(graph: Graph) -> set[str]:
    """The steps with several outputs: as a whole their values are no tensors."""
    return {node.sources[0] for _, node in graph if node.op == ITEM}


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
    readers, several = readers_of(graph), _several(graph)
    for output in graph.nodes:
        source = above.get(output, _BEGIN)
        while source in several:  # as a whole it is no tensor that could enter
            source = above.get(source, _BEGIN)
        if output in several or source == _BEGIN:
            continue
        ids = tuple(sorted(_between(graph, source, output), key=place.__getitem__))
        if _ways_out(ids, readers) == {output}:
            yield _named(graph, Slot("", ids, source, output), sizes)


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


def _containers(graph: Graph, readers: Readers) -> Iterator[Slot]:
    """The regions under one path that values enter and one leaves, single steps left out."""
    held: dict[str, list[str]] = {}
    for i in graph.nodes:
        parts = i.split(".")
        for n in range(1, len(parts) + 1):
            held.setdefault(".".join(parts[:n]), []).append(i)
    for path, ids in held.items():
        values, leaving = entering(graph, ids), _ways_out(ids, readers)
        if len(ids) > 1 and values and len(leaving) == 1:
            source = stream(graph, ids, values)
            yield Slot(path, tuple(ids), source, leaving.pop(), tuple(s for s in values if s != source))


def _chain(graph: Graph, above: Mapping[str, str], pieces: Mapping[str, Slot]) -> tuple[Slot, ...]:
    """The pieces that lie one behind the other; where one is no region the chain begins behind it."""
    output = _end(graph)
    while output not in pieces and output in above:
        output = above[output]
    return _down_to(output, pieces)


def _down_to(output: str, pieces: Mapping[str, Slot]) -> tuple[Slot, ...]:
    """The pieces, one behind the other, that end with a value."""
    found: list[Slot] = []
    while output in pieces:
        found.append(pieces[output])
        output = pieces[output].source
    return tuple(reversed(found))


def _end(graph: Graph) -> str:
    """The output that most steps lead to."""
    return max((i for _, i in graph.outputs), key=lambda i: len(upstream(graph, i)), default=_BEGIN)


def _sided(
    graph: Graph, above: Mapping[str, str], pieces: Mapping[str, Slot], readers: Readers, sizes: Mapping[str, int]
) -> tuple[Slot, ...]:
    """Of the chains of pieces with side inputs the one whose largest piece, or what it leaves out, is smallest.

    What leads to its beginning without side inputs is part of it.
    """
    place = {i: n for n, i in enumerate(graph.nodes)}
    out, several, live = _end(graph), _several(graph), fed(graph)
    while out in several or (out in graph.nodes and graph.nodes[out].op == ITEM):
        out = above.get(out, _BEGIN)
    needed, items = upstream(graph, out), [bond for bond in bonds(graph) if graph.nodes[bond[0]].op == ITEM]
    below = _post_dominators(graph, needed, out) if out in graph.nodes else {}
    held: dict[str, frozenset[str]] = {}
    largest, covered = {out: 0}, {out: 0}
    for v in sorted(below, key=lambda i: -place.get(i, -1)):
        w, ids = below[v], _after(v, below[v], readers, needed, graph)
        while w in below and (w in several or torn(items, ids)):
            w = below[w]
            ids = _after(v, w, readers, needed, graph)
        below[v] = w
        if v in several or v not in live or w not in covered:
            continue
        first = (i for i in readers[v] & ids if sum(f"{o}.".startswith(f"{i}.") for o in ids) == sizes[i])
        if _ways_out(ids, readers) == {w} and any(first):
            held[v] = ids
            largest[v], covered[v] = max(largest[w], len(ids)), covered[w] + len(ids)
    if not held:
        return ()
    steps, lead = len(needed & set(graph.nodes)), {v: _down_to(v, pieces) for v in held}
    wide = {v: max([largest[v], *(len(s.ids) for s in lead[v])]) for v in held}
    left = {v: steps - covered[v] - sum(len(s.ids) for s in lead[v]) for v in held}
    begin = min(held, key=lambda v: (max(wide[v], left[v]), place.get(v, -1)))
    found, front = [], lead[begin]
    while begin != out:
        found.append(_slot(graph, begin, below[begin], held[begin], sizes))
        begin = below[begin]
    found = [*_apart(graph, front, found), *found]
    runs = [list(some) for good, some in itertools.groupby(found, lambda s: _is_named(graph, s)) if good]
    return tuple(max(runs, key=lambda some: sum(len(s.ids) for s in some), default=()))


def _apart(graph: Graph, front: Sequence[Slot], chain: Sequence[Slot]) -> Sequence[Slot]:
    """The pieces before a chain, from where nothing that it reads besides comes of the same value as they do.

    A run that begins there would hold that as well. What comes of a value between two pieces ends runs by itself.
    """
    while front:
        borders, waiting = {p.output for p in front}, {s for piece in chain for s in piece.sides}
        seen = set[str]()
        while waiting:
            i = waiting.pop()
            if i not in seen and i not in borders:
                seen.add(i)
                waiting |= {*graph.nodes[i].sources} if i in graph.nodes else set()
        if front[0].source not in seen:
            break
        front = front[1:]
    return front


def _is_named(graph: Graph, slot: Slot) -> bool:
    """Whether its path means the very slot."""
    try:
        ids, run = graph.region(slot.path), ends(slot.path)
        begin = entry(graph, run[0]) if run else stream(graph, ids, entering(graph, ids))
    except GraphError:
        return False
    return ids == slot.ids and begin == slot.source


def _post_dominators(graph: Graph, needed: Collection[str], out: str) -> dict[str, str]:
    """For every value that leads to `out` the nearest one that all ways there pass through."""
    import networkx as nx

    view: nx.DiGraph[str] = nx.DiGraph()
    view.add_node(out)
    view.add_edges_from((i, s) for i in needed if i in graph.nodes for s in graph.nodes[i].sources)
    return {i: under for i, under in nx.immediate_dominators(view, out).items() if under is not None and i != out}


def _after(v: str, w: str, readers: Readers, needed: Collection[str], graph: Graph) -> frozenset[str]:
    """The steps of the region between a value and one that post-dominates it."""
    found, waiting = {w}, list(readers[v])
    while waiting:
        i = waiting.pop()
        if i not in found and i in needed:
            found.add(i)
            waiting += readers[i]
    return frozenset(region_of(graph, v, found, readers))


def _better(plain: tuple[Slot, ...], sided: tuple[Slot, ...], graph: Graph) -> tuple[Slot, ...]:
    """The chain without side inputs unless the other one is more than twice as fine."""
    steps = len(upstream(graph, _end(graph)) & set(graph.nodes))

    def coarse(chain: tuple[Slot, ...]) -> int:
        inside = [len(s.ids) for s in chain]
        return max((*inside, steps - sum(inside)), default=steps)

    return sided if 2 * coarse(sided) < coarse(plain) else plain


def _tapped(readers: Readers, chain: Sequence[Slot]) -> tuple[bool, ...]:
    between = itertools.pairwise(chain)
    return (*(not readers[piece.output] <= set(behind.ids) for piece, behind in between), *(False for _ in chain[-1:]))
