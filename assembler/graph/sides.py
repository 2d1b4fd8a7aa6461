"""What enters a region: the stream that it carries on, and side inputs, which it reads and leaves as they are.

A mask, rotary cosines, the embedding of a time, an encoder's states are side inputs of every block that reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from assembler.errors import GraphError, near
from assembler.graph.core import Graph
from assembler.graph.reach import upstream

END = "\0end"
"""The reader of a graph's outputs; no id."""


def readers_of(graph: Graph) -> dict[str, set[str]]:
    """Who reads each value; an output of the graph is read by `END`."""
    found: dict[str, set[str]] = {i: set() for i in (*graph.input_names, *graph.nodes)}
    for i, node in graph:
        for source in node.sources:
            found[source].add(i)
    for _, i in graph.outputs:
        found[i].add(END)
    return found


def fed(graph: Graph) -> set[str]:
    """The inputs, and the steps that one of them has a part in: all but tables and other constants."""
    found = set(graph.input_names)
    for i, node in graph:
        if not found.isdisjoint(node.sources):
            found.add(i)
    return found


def entering(graph: Graph, ids: Collection[str]) -> tuple[str, ...]:
    """The values that a region, its steps in order, reads of what is around it, in the order in which it does."""
    region = set(ids)
    read = (s for i in ids for s in graph.nodes[i].sources)
    return tuple(dict.fromkeys(s for s in read if s not in region))


def stream(graph: Graph, ids: Collection[str], values: Sequence[str]) -> str:
    """Which of the `values` that enter a region is its stream: the one that is read least elsewhere.

    A step on the way into the region counts less than any other, an output not at all. Of several it is the first that
    the region reads; a constant is it only where nothing else enters.
    """
    if len(values) < 2:
        return values[0]
    varying = fed(graph)
    some = [s for s in values if s in varying] or list(values)
    own = {END, *ids}
    near_by = own.union(*(upstream(graph, s) for s in some))
    readers = readers_of(graph)
    return min(some, key=lambda s: (len(readers[s] - near_by), len(readers[s] - own)))


def region_of(graph: Graph, begin: str, varying: Collection[str], readers: Mapping[str, set[str]]) -> set[str]:
    """The steps that vary between `begin` and the end of a region, and those that serve them alone.

    The latter are constants and what is computed of side inputs inside a container that the region enters: the keys
    of a cross attention, a block's own shift and scale.
    """
    found, inside = set(varying), {p for i in varying for p in levels(i)}
    inside -= set(levels(begin))
    live = fed(graph)
    waiting = [s for i in varying for s in graph.nodes[i].sources]
    while waiting:
        i = waiting.pop()
        if i in found or i == begin or i not in graph.nodes or not readers[i] <= found:
            continue
        if i not in live or not inside.isdisjoint(levels(i)[:-1]):
            found.add(i)
            waiting += graph.nodes[i].sources
    return found


def side_paths(graph: Graph, sides: Iterable[str], ids: Collection[str]) -> dict[str, str]:
    """The shortest path of each side input of a region: its own, or that of a container whose value it is."""
    aliases: dict[str, list[str]] = {}
    for path, i in graph.names.items():
        aliases.setdefault(i, []).append(path)
    around = {p for i in ids for p in levels(i)}
    paths = {s: [s, *(p for p in aliases.get(s, ()) if p not in around)] for s in sides}
    return {s: min(some, key=lambda p: (p.count("."), len(p), p)) for s, some in paths.items()}


def side_names(graph: Graph, sides: Iterable[str], ids: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """What a region's own graph calls the side inputs: the shortest path of each, with `__` for dots.

    None of these is in `taken`. `sides_named` is the inverse.
    """
    found, known = dict[str, str](), _known(graph)
    for side, path in side_paths(graph, sides, ids).items():
        name = _plain(path)
        if known[name] != path:
            raise GraphError(f"'{path}' cannot be told from '{known[name]}'", path=path, hint="rename the step")
        while name in taken or name in found.values():
            name += "_"
            if name in known:
                name += "_"
        found[side] = name
    return found


def sides_named(graph: Graph, names: Iterable[str], path: str) -> dict[str, str]:
    """The ids of the values that a part for the slot at `path` calls by these names."""
    known, found = _known(graph), {}
    for name in names:
        said = name
        while said not in known and said.endswith("_"):
            said = said[:-1]
        if said not in known:
            what = f"a part for '{path}' reads '{name}', which {graph.name} does not have"
            raise GraphError(what, path=path, hint=near(name, known))
        found[name] = graph.resolve(known[said])
    return found


def _known(graph: Graph) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in (*graph.input_names, *graph.nodes, *graph.names):
        found.setdefault(_plain(path), path)
    return found


def _plain(path: str) -> str:
    """A path as the name of an input."""
    name = path.replace(".", "__")
    return f"_{name}" if name[0].isdigit() else name


def levels(path: str) -> list[str]:
    """The paths that lead to one: `a.b.c` -> a, a.b, a.b.c."""
    parts = path.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]
