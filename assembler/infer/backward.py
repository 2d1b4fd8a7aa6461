"""FLOPs of a forward and backward pass as a sum over steps, each run once on the `meta` device for what reaches it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from assembler.graph.core import ITEM, Graph, Node, TensorType
from assembler.graph.reach import computed
from assembler.infer.interpret import Interpreter
from assembler.infer.shape import Types, meta_values, shapes, signature
from assembler.infer.step import call_step, step_of
from assembler.registry import lookup


class Counter(Protocol):
    """What counts FLOPs while it is entered."""

    def get_total_flops(self) -> int:
        """Those counted so far."""
        ...


Counting = Callable[[], AbstractContextManager[Counter]]


def stepwise(
    graph: Graph, types: Mapping[str, TensorType], trained: Callable[[str], bool], counting: Counting
) -> int | None:
    """FLOPs of both passes for the whole batch of a graph without modes; `trained` says whether a step learns.

    None where a step cannot be told from its inputs alone: it shares weights, has several outputs, is frozen, or fails.
    """
    run = computed(graph)
    steps = {i: node for i, node in graph.nodes.items() if i in run}
    if any(node.op == ITEM or not _is_alone(node) for node in graph.nodes.values()):
        return None
    asked: dict[str, tuple[Any, ...]] = {}
    follows = dict.fromkeys(graph.input_names, False)
    flops = 0
    for i, node in steps.items():
        flags = tuple([follows[s] for _, s in node.inputs])
        key = signature(node, tuple([types[s] for _, s in node.inputs]))
        asked[i] = (*key, trained(i), flags, counting)
        if (found := _passed(*asked[i])) is None:
            return None
        flops, follows[i] = flops + found[0], found[2]
    wanted = {i for _, i in graph.outputs if follows[i]}
    for i in reversed(steps):
        if i in wanted:
            _, back, _, reached = _passed(*asked[i])  # type: ignore[misc]  # it was there above
            flops += back
            wanted |= {s for s, there in zip(steps[i].sources, reached, strict=True) if there}
    return flops


def _is_alone(node: Node) -> bool:
    return not (node.share or node.frozen) and (node.body is None or all(_is_alone(n) for _, n in node.body))


@functools.lru_cache(maxsize=65536)
def _passed(
    code: str,
    op: str,
    args: Any,
    ports: tuple[str, ...],
    types: Types,
    kinds: tuple[type, ...],
    body: Graph | None,
    trained: bool,
    flags: tuple[bool, ...],
    counting: Counting,
) -> tuple[int, int, bool, tuple[bool, ...]] | None:
    """(FLOPs forward, FLOPs backward, whether the output follows gradients, which inputs get one) of a step.

    `flags` say which of its inputs follow gradients. None where it makes no single tensor, or fails by itself.
    """
    node = Node(op, args, tuple(zip(ports, ports, strict=True)), body=body)
    try:
        with torch.device("meta"):
            step = step_of(node, types, lambda graph, name: Interpreter(graph, shapes(graph), shapes), shapes)
            if isinstance(step, nn.Module):
                step.train()
                for parameter in step.parameters() if not trained else ():
                    parameter.requires_grad_(False)
            return _counted(step, node, _leaves(ports, types, flags), counting)
    except Exception:  # whatever it is, the run of the whole graph says it
        return None


def _leaves(ports: tuple[str, ...], types: Types, flags: tuple[bool, ...]) -> dict[str, Tensor]:
    values = meta_values(ports, types)
    return {name: value.requires_grad_(flag) for (name, value), flag in zip(values.items(), flags, strict=True)}


def _counted(
    step: Callable[..., Any], node: Node, leaves: Mapping[str, Tensor], counting: Counting
) -> tuple[int, int, bool, tuple[bool, ...]] | None:
    with counting() as counter:
        made = call_step(step, lookup("op", node.op), node, {n: v.view_as(v) for n, v in leaves.items()})
        if len(made) != 1:
            return None
        (value,) = made.values()
        forward = counter.get_total_flops()
        if value.requires_grad:
            torch.autograd.backward([value], [torch.empty_like(value)])
        both = counter.get_total_flops()
    return forward, both - forward, value.requires_grad, tuple(v.grad is not None for v in leaves.values())
