"""Weights on their way between a part, its slot and the whole model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from assembler.errors import InputError, Problem
from assembler.graph.core import Graph
from assembler.graph.edit import ROOT
from assembler.graph.runs import ends, holder

Weights = dict[str, Tensor]


def within(path: str, slot: str) -> bool:
    """Whether a path is the slot or lies under it."""
    return path == slot or path.startswith(f"{slot}.")


def whole_keys(weights: Mapping[str, Tensor], slot: str, part: Graph) -> Weights:
    """A part's weights under the keys that the whole model has for them."""
    if ends(slot):
        return dict(weights)
    return {_outer(key, slot, part): tensor for key, tensor in weights.items()}


def part_keys(weights: Mapping[str, Tensor], slot: str, part: Graph) -> Weights:
    """The weights of a slot under the part graph's own keys. What else of the model is among them is left out.

    Of a run's slot the caller gives those of the slot alone; there they have the same keys.
    """
    if ends(slot):
        return dict(weights)
    found = {}
    for key, tensor in weights.items():
        if within(key, slot):
            if key == slot:  # the slot's own step is one bare tensor
                found[ROOT] = tensor
                continue
            rest = key.removeprefix(f"{slot}.")
            found[f"{ROOT}.{rest}" if ROOT in part.nodes and _is_root(rest, part) else rest] = tensor
    return found


def put(weights: Mapping[str, Tensor], graph: Graph, slot: str, part: Graph, own: Mapping[str, Tensor]) -> Weights:
    """The weights of a model, whose graph is given, with those of a part, by its own keys, in place of a slot's."""
    inside = holder(graph, slot)
    return {**{name: t for name, t in weights.items() if not inside(name)}, **whole_keys(own, slot, part)}


def _outer(key: str, slot: str, part: Graph) -> str:
    head, _, rest = key.partition(".")
    if key == ROOT and ROOT in part.nodes:
        return slot
    return f"{slot}.{rest}" if head == ROOT and ROOT in part.nodes else f"{slot}.{key}"


def _is_root(rest: str, part: Graph) -> bool:
    """Whether a key's rest belongs to the slot's own step and not to one of the steps under it."""
    return not any(within(rest, i) for i in part.nodes if i != ROOT)


def load_there(module: nn.Module, weights: Mapping[str, Tensor], what: str = "the weights") -> None:
    """Copy `weights` into a module that is a piece of the model they belong to.

    Raises InputError, naming all of them, for weights of the module that are missing or of another shape.
    """
    problems = []
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name not in weights:
                problems.append(Problem(f"{what} hold nothing for '{name}'", path=name))
            elif weights[name].shape != tensor.shape:
                has, wants = list(weights[name].shape), list(tensor.shape)
                problems.append(Problem(f"{what} have shape {has} for '{name}', the model wants {wants}", path=name))
            else:
                tensor.copy_(weights[name])
    if problems:
        raise InputError(problems)
