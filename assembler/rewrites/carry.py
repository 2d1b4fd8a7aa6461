"""Weights on their way from a graph to the rewritten one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from assembler.compile.lower import lower
from assembler.errors import GraphError
from assembler.graph.core import ITEM, SWITCH, Graph, Node, TensorType
from assembler.infer.shape import shapes
from assembler.rewrites.traits import alone


def carried(before: Graph, after: Graph, state: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The `state_dict` of `after`: what is `given`, else what `state` holds under that key, else newly drawn.

    A tensor of another shape is not copied. New ones have dtype and device of the old ones and depend on their path
    alone. Raises GraphError for a given tensor that the model has no place for.
    """
    old, new = shapes(before), shapes(after)
    owned = _by_step(before, state)
    like = next((t for t in state.values() if t.is_floating_point()), torch.empty(0))
    made: dict[str, Tensor] = {}
    for i, node in after:
        own = {key: t for key, t in given.items() if _owner(key, after) == i}
        if not own and _is_same(before.nodes.get(i), node) and _sources(node, new) == _sources(before.nodes[i], old):
            made |= owned.get(i, {})
        elif not node.owner:
            made |= {key: _chosen(key, t, own, state, like) for key, t in _drawn(i, node, new).items()}
    if homeless := sorted(set(given) - set(made)):
        raise GraphError(f"there is no place for the weights '{homeless[0]}' in {after.name}", path=homeless[0])
    return made


def _is_same(old: Node | None, new: Node) -> bool:
    return old is not None and (old.op, old.args, old.body, old.share) == (new.op, new.args, new.body, new.share)


def _sources(node: Node, types: Mapping[str, TensorType]) -> list[tuple[str, TensorType]]:
    return [(port, types[s]) for port, s in node.inputs]


def _owner(key: str, graph: Graph) -> str:
    """The step that a `state_dict` key belongs to, or ""."""
    path = key
    while path and path not in graph.nodes:
        path = path.rpartition(".")[0]
    return path


def _by_step(graph: Graph, state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        found.setdefault(_owner(key, graph), {})[key] = tensor
    return found


def _drawn(i: str, node: Node, types: Mapping[str, TensorType]) -> dict[str, Tensor]:
    """The weights that a step begins with, by its keys in the whole model."""
    if node.op in (ITEM, SWITCH):
        return {}
    return dict(lower(alone(node, tuple(types[s] for s in node.sources), i)).state_dict())


def _chosen(key: str, drawn: Tensor, own: Mapping[str, Tensor], state: Mapping[str, Tensor], like: Tensor) -> Tensor:
    if key in own:
        if own[key].shape != drawn.shape:
            raise GraphError(f"'{key}' is computed as {list(own[key].shape)}, the step needs {list(drawn.shape)}")
        return own[key]
    if key in state and state[key].shape == drawn.shape:
        return state[key]
    return drawn.to(like.device, like.dtype) if drawn.is_floating_point() else drawn.to(like.device)
