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
from assembler.graph.core import Graph
from assembler.graph.edit import cut, extract, graft, outer_id
from assembler.infer.shape import shapes
from assembler.train.data.core import Split


def splice(graph: Graph, take: Mapping[str, Graph]) -> Graph:
    """The graph of a model with the slots that `take` names as other models have them, as in `spliced`.

    Raises GraphError where one of them has no such slot, or where more than the features differs at its ends.
    """
    for slot, other in take.items():
        graph, _ = _between(graph, slot, other)
    return graph


def spliced(host: Model, take: Mapping[str, Model], split: Split, seed: int = 0) -> Model:
    """A model with the slots that `take` names as other models have them, weights and all; nothing is trained.

    Stitches are fitted by least squares on the first samples of `split`, one slot after the other: the way in to what
    enters the slot in the model that the part is of, the way out to what the host has there (SN-Net, Pan et al. 2023,
    arXiv:2302.06586; DeRy, Yang et al. 2022, arXiv:2210.17409).
    """
    made = host
    for slot, other in take.items():
        made = _with(made, slot, other, host, split, seed)
    return replace(made, graph=replace(made.graph, name=host.graph.name))


def _with(model: Model, slot: str, other: Model, host: Model, split: Split, seed: int) -> Model:
    graph, stitches = _between(model.graph, slot, other.graph)
    part, weights = slot_of(other, slot)
    moved = renamed(stitches, slot)
    held = {_key(key, owner_of(key, part), moved): t for key, t in weights.items()}
    kept = put(model.weights, model.graph, slot, part, held)
    made = Model(graph, {**lower(graph, seed=seed).state_dict(), **kept})  # stitches alone are drawn
    enter, leave = (outer_id(slot, i) if i else "" for i in stitches)
    if enter:
        made.weights.update(fitted_in(enter, made, slot, [other], split, seed))
    if leave:
        made.weights.update(fitted_out(leave, made, slot, host, split))
    return made


def _between(graph: Graph, slot: str, other: Graph) -> tuple[Graph, Stitches]:
    """The graph with what another has in a slot of the same name, and the stitches that stand around that."""
    place, types, theirs = cut(graph, slot), shapes(graph), shapes(other)
    part, made = extract(other, slot, theirs), theirs[cut(other, slot).output]
    part, stitches = stitched(part, made, types[place.source], types[place.output], slot)
    return graft(graph, slot, part), stitches


def _key(key: str, owner: str, moved: Mapping[str, str]) -> str:
    return moved[owner] + key[len(owner) :] if owner in moved else key
