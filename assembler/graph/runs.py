"""Runs: `first..last` names all steps from what `first` reads to the value of `last`, whatever containers lie there.

A run is a place like a step or a container is, so that a model can be cut between any two steps. The steps of a run
keep their own paths in a part; there is no common path to leave out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.graph.reach import upstream
from assembler.graph.sides import entering, fed, levels, readers_of, region_of, stream

if TYPE_CHECKING:
    from assembler.graph.edit import Slot

DOTS = ".."


def ends(path: str) -> tuple[str, str] | None:
    """(first, last) of a run, or None for the path of a step or container."""
    first, dots, last = path.partition(DOTS)
    return (first.strip(), last.strip()) if dots else None


def steps_of(graph: Graph, path: str) -> tuple[str, ...]:
    """The ids of a run, in order: all that varies with what `first` reads, and what serves that alone.

    Raises GraphError where `last` does not depend on `first`, or an end is no step.
    """
    first, last = ends(path) or (path, path)
    out, begin = _value(graph, last), entry(graph, first)
    reached = upstream(graph, out)
    varying = {begin}
    for i, node in graph:
        if i in reached and not varying.isdisjoint(node.sources):
            varying.add(i)
    found = region_of(graph, begin, varying - {begin}, readers_of(graph))
    if begin not in reached or not set(graph.region(first)) <= found:
        what = f"there is no run '{path}': '{last}' does not come of '{first}'"
        raise GraphError(what, path=path, hint=f"write {last}{DOTS}{first}" if last != first else "")
    return tuple(i for i in graph.nodes if i in found)


def _value(graph: Graph, path: str) -> str:
    """The id of the value at a path, which may be that of a container that only the ids of its steps tell of."""
    inside = set(graph.region(path))
    if path in graph.nodes or path in graph.names:
        return graph.resolve(path)
    kept = {i for _, i in graph.outputs} | {s for i, node in graph if i not in inside for s in node.sources}
    leaving = [i for i in inside if i in kept]
    return leaving[0] if len(leaving) == 1 else graph.resolve(path)


def entry(graph: Graph, first: str) -> str:
    """The value that the step or container `first` carries on, where a run begins: an id, or an input's name.

    Raises GraphError where it reads nothing that an input has a part in (a table of positions).
    """
    inside = graph.region(first)
    if not inside:
        return graph.resolve(first)
    values = entering(graph, inside)
    begin = stream(graph, inside, values) if values else ""
    if begin not in fed(graph):
        what = f"no run can begin with '{first}': it reads no input of the model"
        raise GraphError(what, path=first, hint="a run has one value entering")
    return begin


def members(graph: Graph, ids: Iterable[str], sizes: Mapping[str, int] | None = None) -> tuple[str, ...]:
    """The fewest paths that hold these steps and no others, in order. `sizes` are those that `sizes_of` gives."""
    return tuple(dict.fromkeys(_tops(graph, ids, sizes).values()))


def sizes_of(graph: Graph) -> Mapping[str, int]:
    """How many steps there are at and under each path."""
    return Counter(p for i in graph.nodes for p in levels(i))


def holder(graph: Graph, slot: str) -> Callable[[str], bool]:
    """A test whether a path, of a step, a sub-module or a `state_dict` key, belongs to the slot."""
    if ends(slot) is None:
        return lambda path: path == slot or path.startswith(f"{slot}.")
    inside = set(graph.region(slot))

    def holds(path: str) -> bool:
        owner = next((p for p in reversed(levels(path)) if p in graph.nodes), "")
        return owner in inside

    return holds


def inner_names(graph: Graph, slot: Slot) -> dict[str, str]:
    """The containers that lie in a slot, with the paths that they have in the slot's own graph."""
    if ends(slot.path) is None:
        prefix = f"{slot.path}."
        return {p: p.removeprefix(prefix) for p in graph.names if p.startswith(prefix)}
    held, whole = (Counter(p for i in ids for p in levels(i)) for ids in (slot.ids, graph.nodes))
    return {p: p for p in graph.names if held[p] and held[p] == whole[p]}


def end_names(slot: Slot, inside: Collection[str], output: str) -> dict[str, str]:
    """What the ends of a run name once other steps are `inside` it, where those have no steps at the ends.

    Raises GraphError where `last` is one of the steps, and its value is not the one that leaves.
    """
    first, last = ends(slot.path) or ("", "")
    if last in inside and last != output:
        what = f"the value of a part for '{slot.path}' is that of '{last}', not of '{output}'"
        raise GraphError(what, path=slot.path, hint="give the part that output")
    found = {} if last in inside else {last: output}
    if not any(i == first or i.startswith(f"{first}.") for i in inside):
        found |= {first: slot.source} if first != last else {}
    return found


def named(graph: Graph, slot: Slot, sizes: Mapping[str, int] | None = None) -> str:
    """The shortest name of a region: the path that holds exactly its steps, or a run."""
    tops = _tops(graph, slot.ids, sizes)
    last = next((p for p in reversed(tops.values()) if graph.names.get(p) == slot.output), slot.output)
    alone = len(set(tops.values())) == 1
    if alone and (not slot.sides or _begins(graph, tops[slot.output], slot.source)):
        return last if last in tops.values() else tops[slot.output]
    readers = [i for i in slot.ids if slot.source in graph.nodes[i].sources]
    tried = dict.fromkeys((*(tops[i] for i in readers), *readers))
    first = next((p for p in tried if _begins(graph, p, slot.source)), "")
    return f"{first or slot.ids[0]}{DOTS}{last}"


def _tops(graph: Graph, ids: Iterable[str], sizes: Mapping[str, int] | None) -> dict[str, str]:
    """For each of some steps the shortest path at and under which there are only such steps."""
    inside, whole = tuple(ids), sizes or sizes_of(graph)
    held = Counter(p for i in inside for p in levels(i))
    return {i: next((p for p in levels(i) if held[p] == whole[p]), i) for i in inside}


def _begins(graph: Graph, path: str, source: str) -> bool:
    try:
        return entry(graph, path) == source
    except GraphError:
        return False


def steps_under(graph: Graph, path: str) -> tuple[str, ...]:
    """The steps that a recipe path may change: those of the deepest step or container on the way.

    Copy numbers may be left out of it (`stage.block.mixer` is in every copy of both), and what follows the step is an
    argument of it.
    """
    parts = path.split(".")
    deepest = {i: _depth(parts, i.split(".")) for i in graph.nodes}
    most = max(deepest.values(), default=0)
    return tuple(i for i, depth in deepest.items() if depth == most) if most else ()


def _depth(parts: list[str], path: list[str]) -> int:
    """How many of `parts` lead to `path`, which has copy numbers that they may leave out."""
    found = 0
    for word in path:
        if found < len(parts) and parts[found] == word:
            found += 1
        elif not word.isdigit():
            break
    return found
