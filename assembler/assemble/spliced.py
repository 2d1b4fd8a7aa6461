"""Several models as one: slots of a model filled with what others have there, between stitches where widths differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from assembler.assemble.inherit.matching import owner_of
from assembler.assemble.models import Model
from assembler.assemble.starting import slot_of
from assembler.assemble.stitches import Stitches, fitted_in, fitted_out, renamed, stitched
from assembler.assemble.weights import put
from assembler.compile.lower import lower
from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.graph.edit import cut, extract, graft, outer_id
from assembler.graph.runs import ends
from assembler.graph.shares import renamed as sharing
from assembler.infer.shape import shapes
from assembler.train.data.core import Split


def splice(graph: Graph, take: Mapping[str, tuple[Graph, str]]) -> Graph:
    """The graph of a model with its slots that `take` names as slots of other models, given with their paths.

    Raises GraphError where one of them has no such slot, or where more than the features differs at its ends.
    """
    for slot, (other, path) in take.items():
        graph, _, _ = _between(graph, slot, other, path)
    return graph


def spliced(host: Model, take: Mapping[str, tuple[Model, str]], split: Split, seed: int = 0) -> Model:
    """A model with its slots that `take` names as slots of other models, weights and all; nothing is trained.

    Stitches are fitted by least squares on the first samples of `split`, one slot after the other: the way in to what
    enters the slot in the model that the part is of, the way out to what the host has there (SN-Net, Pan et al. 2023,
    arXiv:2302.06586; DeRy, Yang et al. 2022, arXiv:2210.17409).
    """
    made = host
    for slot, (other, path) in take.items():
        made = _with(made, slot, other, path, host, split, seed)
    return replace(made, graph=replace(made.graph, name=host.graph.name))


def _with(model: Model, slot: str, other: Model, path: str, host: Model, split: Split, seed: int) -> Model:
    graph, stitches, moved = _between(model.graph, slot, other.graph, path)
    part, weights = slot_of(other, path)
    held = {_key(key, owner_of(key, part), moved): t for key, t in weights.items()}
    kept = put(model.weights, model.graph, slot, part, held)
    made = Model(graph, {**lower(graph, seed=seed).state_dict(), **kept})  # stitches alone are drawn
    enter, leave = (outer_id(slot, i) if i else "" for i in stitches)
    if enter:
        made.weights.update(fitted_in(enter, made, [(other, path)], split, seed))
    if leave:
        made.weights.update(fitted_out(leave, made, slot, host, split))
    return made


def _between(graph: Graph, slot: str, other: Graph, path: str) -> tuple[Graph, Stitches, dict[str, str]]:
    """The graph with another's slot in its own, the stitches around that, what its steps are called as a part."""
    place, types, theirs = cut(graph, slot), shapes(graph), shapes(other)
    part, made = extract(other, path, theirs), theirs[cut(other, path).output]
    ids = {i: i for i in part.nodes}
    if (run := ends(slot)) and path != slot:  # steps of a run keep their paths, which may be others' in this model
        ids = {i: outer_id(run[1], i) for i in part.nodes}
        part = _called(part, ids, run[1])
    try:
        part, stitches = stitched(part, made, types[place.source], types[place.output], slot)
    except GraphError as error:
        first = error.problems[0]
        raise GraphError(
            replace(first, message=f"'{path}' does not fit '{slot}': {first.message}", path=slot)
        ) from None
    moved = renamed(stitches, slot)
    return graft(graph, slot, part), stitches, {old: moved.get(new, new) for old, new in ids.items()}


def _called(part: Graph, ids: Mapping[str, str], path: str) -> Graph:
    """A part whose steps have other ids, its containers other paths, all of them under one path."""
    nodes = {ids[i]: sharing(node.reading(ids), ids) for i, node in part}
    outputs = tuple((name, ids.get(i, i)) for name, i in part.outputs)
    names = {f"{path}.{p}": ids.get(i, i) for p, i in part.names.items()}
    return Graph(part.inputs, nodes, outputs, names, part.name)


def _key(key: str, owner: str, moved: Mapping[str, str]) -> str:
    return moved[owner] + key[len(owner) :]
