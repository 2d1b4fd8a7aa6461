"""What a step holds and does, found by running it once on the `meta` device."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from assembler.compile.lower import lower
from assembler.graph.core import ITEM, SWITCH, Graph, Node, TensorType


@dataclass(frozen=True)
class Traits:
    """Whether a step has parameters or buffers, whether it has buffers, and whether training it draws at random."""

    weights: bool
    buffers: bool
    chance: bool


def traits(node: Node, types: tuple[TensorType, ...]) -> Traits:
    """The traits of a step that reads values of these types."""
    if node.op in (ITEM, SWITCH):
        return Traits(weights=False, buffers=False, chance=False)
    return _traits(alone(node, types), repr(node.args))


def alone(node: Node, types: tuple[TensorType, ...], i: str = "step") -> Graph:
    """A graph of one step `i`, which reads inputs of these types and shares its weights with nobody."""
    names = [f"in{n}_{i.replace('.', '_')}" for n in range(len(types))]
    inputs = tuple((port, name) for (port, _), name in zip(node.inputs, names, strict=True))
    inner = Node(node.op, node.args, inputs, node.span, node.body)
    return Graph(tuple(zip(names, types, strict=True)), {i: inner}, (("y", i),))


@functools.lru_cache(maxsize=4096)
def _traits(graph: Graph, said: str) -> Traits:
    del said  # 1, 1.0 and True are equal keys and different arguments
    module = lower(graph, device="meta").train()
    inputs = [torch.empty(t.shape, dtype=getattr(torch, t.dtype), device="meta") for _, t in graph.inputs]
    with torch.no_grad(), _Chance() as seen:
        module(*inputs)
    buffers = any(True for _ in module.buffers())
    return Traits(buffers or any(True for _ in module.parameters()), buffers, seen.found)


class _Chance(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes whether an operator that draws random numbers was called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found = self.found or torch.Tag.nondeterministic_seeded in func.tags
        return func(*args, **(kwargs or {}))
