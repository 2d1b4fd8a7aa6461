"""What a part begins with: drawn weights, or as much of what its host has in the slot as the two have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from assembler.assemble.inherit import Account, inherited, stacked
from assembler.assemble.models import Model, Start
from assembler.assemble.weights import Weights, part_keys
from assembler.graph.core import Graph
from assembler.graph.edit import extract
from assembler.graph.runs import holder
from assembler.infer.shape import shapes

_Give = Callable[..., tuple[Weights, Account]]
GIVEN: Mapping[str, _Give] = {"host": inherited, "copies": stacked}
"""The ways in which a graph begins with the weights of another, by their names in recipes."""


def started(start: Start, host: Model, slot: str, part: Graph, seed: int) -> tuple[Weights, Account | None]:
    """The weights, by the part's own keys, that a part in a slot of a host begins with, and the account of them.

    With "host" the steps that the two have in common begin with the host's weights, copied, sliced or grown; with
    "copies" those of repeated blocks are copies of the host's, each with its share of what they add. "random" gives
    none, so that all have what their seed draws.
    """
    if start == "random":
        return {}, None
    own, weights = slot_of(host, slot)
    return GIVEN[start](own, weights, part, seed=seed)


def slot_of(model: Model, slot: str) -> tuple[Graph, Weights]:
    """What a model has in a slot, as a part: its graph, and its weights by that graph's keys."""
    inside = holder(model.graph, slot)
    part = extract(model.graph, slot, shapes(model.graph))
    held: Mapping[str, Tensor] = {name: t for name, t in model.weights.items() if inside(name)}
    return part, part_keys(held, slot, part)
