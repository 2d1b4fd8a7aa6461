"""What a graph costs: parameters, FLOPs and bytes, step by step, counted on the `meta` device without any data.

FLOPs are those of `torch.utils.flop_counter`: matrix products, convolutions and attention, a multiply-add being two.
It has no formula for anything else; `uncounted` names what a graph does that may be heavy and is not in the sum.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, flop_registry

from assembler.graph.core import ITEM, Graph, Node, TensorType
from assembler.graph.modes import has_modes, in_mode
from assembler.graph.reach import computed
from assembler.infer.backward import stepwise
from assembler.infer.interpret import Interpreter
from assembler.infer.shape import (
    Args,
    Outputs,
    Ports,
    Refusal,
    Types,
    meta_values,
    run_step,
    shapes,
    signature,
    step_type,
    types_of,
)
from assembler.registry import lookup

# Of torch's own ops, those that do the work of a matrix product and have no formula in `flop_registry`.
_HEAVY = (
    *("mv", "dot", "vdot", "addmv", "addr", "linalg_", "_linalg_", "_fft_", "_cdist", "_trilinear", "cholesky"),
    *("triangular_solve", "lu_solve", "grid_sampler", "mkldnn_", "_thnn_fused", "lstm", "gru", "_int_mm"),
)
_OURS = ("aten", "prim", "prims", "profiler", "_c10d_functional")


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters, FLOPs of one forward pass for one sample, and bytes of the parameters and buffers."""

    params: int = 0
    flops: int = 0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.flops + other.flops, self.bytes + other.bytes)


def costs(graph: Graph, types: Mapping[str, TensorType] | None = None) -> dict[str, Cost]:
    """The cost of every step, by id. `types` are those that `shapes` gives, which is asked where they are not given.

    A step is counted once per (op, its code, arguments, input types) and process.
    """
    types = types or measured(graph)
    batch = _batch(graph, types)
    found = {}
    for i, node in graph.nodes.items():
        given = tuple([types[s] for _, s in node.inputs])
        cost = Cost() if node.op == ITEM else per_sample(_counted(*signature(node, given)), batch)
        found[i] = _own(cost, node, graph, types) if node.share else cost
    return found


def measured(graph: Graph) -> dict[str, TensorType]:
    """Like `shapes`, for those who ask for `costs` next: both come of one run of a step."""
    return shapes(graph, lambda *step: step_cost(*step)[0])


def _counted(*step: Any) -> Cost:
    cost = step_cost(*step)[1]
    if cost is None:  # it runs, or there would be no types to ask with, and not while it is counted
        _, op, args, ports, types, _, body = step
        run_step(op, args, ports, types, body, FlopCounterMode(display=False))
        raise AssertionError(f"{op} runs one time and not the next")
    return cost


def per_sample(cost: Cost, batch: int) -> Cost:
    return Cost(cost.params, cost.flops // batch, cost.bytes) if cost.flops else cost


def _own(cost: Cost, node: Node, graph: Graph, types: Mapping[str, TensorType]) -> Cost:
    """The cost of a step without the weights that are another step's."""
    if node.owner:
        return Cost(flops=cost.flops)
    given, ports = tuple(types[s] for s in node.sources), tuple(port for port, _ in node.inputs)
    step = run_step(node.op, node.args, ports, given, node.body)[0]
    shared = [p for n, p in step.named_parameters() if n in dict(node.share)] if isinstance(step, nn.Module) else []
    size = sum(p.numel() * p.element_size() for p in shared)
    return Cost(cost.params - sum(p.numel() for p in shared), cost.flops, cost.bytes - size)


def total(graph: Graph, types: Mapping[str, TensorType] | None = None) -> Cost:
    """The cost of a whole graph: the sum over its steps in evaluation."""
    there = in_mode(graph, "eval")
    run = computed(there) if has_modes(graph) else there.nodes
    found = ((i, cost) for i, cost in costs(graph, types).items() if i in there.nodes)
    return sum((cost if i in run else replace(cost, flops=0) for i, cost in found), Cost())


def train_flops(graph: Graph, trainable: Collection[str] | None = None) -> int:
    """FLOPs of one forward and backward pass for one sample, measured on the `meta` device, step by step.

    `trainable` are paths of the steps or containers whose parameters are trained; None trains all of them. Gradients
    of activations are counted through every frozen step after the first trained one, and none before it.
    """
    graph = in_mode(graph, "train")
    codes = tuple(lookup("op", node.op).code for node in graph.nodes.values())
    return _train_flops(graph, codes, None if trainable is None else frozenset(trainable))


def uncounted(graph: Graph) -> tuple[str, ...]:
    """Names of the operators that a forward pass runs and whose FLOPs nobody counts, sorted.

    These are custom operators (any namespace but torch's own) and torch's own that do the work of a matrix product
    without a formula: recurrent kernels, linear algebra, FFTs, sampling grids. It is a best effort: an operator that
    torch takes apart before it is dispatched is counted by its parts and not named.
    """
    types = shapes(graph)
    found: set[str] = set()
    for node in graph.nodes.values():
        if node.op != ITEM:
            found |= _step_uncounted(*signature(node, tuple(types[s] for s in node.sources)))
    return tuple(sorted(found))


def counting() -> FlopCounterMode:
    """Torch's counter, with a formula of our own for the backward pass of convolutions.

    Torch's takes the gradient of the weights for a dense convolution: that of a depthwise one is counted once for
    every group too often. It does not tell modules apart: what does that breaks where a module takes gradients itself.
    """
    mapping = {torch.ops.aten.convolution_backward: _convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    counter.mod_tracker = _Whole()  # type: ignore[assignment]
    return counter


class _Whole(contextlib.nullcontext[None]):
    """Stands for what tracks the modules that are running: there is the whole alone."""

    parents = frozenset({"Global"})


def _convolution_backward(grad_out: Any, x: Any, weight: Any, *rest: Any, out_shape: Any = None) -> int:
    """Each gradient asked for, of the input and of the weight, takes as many products as the forward pass."""
    transposed, mask = rest[4], rest[7]
    forward = conv_flop_count(list(x), list(weight), list(grad_out), transposed=transposed)
    return int(forward) * sum(map(bool, mask[:2]))


def _batch(graph: Graph, types: Mapping[str, TensorType]) -> int:
    for name in graph.input_names:
        if types[name].shape:
            return types[name].shape[0]
    return 1


@functools.lru_cache(maxsize=65536)
def step_cost(
    code: str,
    op: str,
    args: Args,
    ports: Ports,
    types: Types,
    kinds: tuple[type, ...],
    body: Graph | None,
) -> tuple[Outputs | Refusal, Cost | None]:
    """The types of what a step makes, and its cost for the whole batch, of one run; the arguments are `signature`'s.

    Where the run fails, there is no cost, and the types are those of a run without counting.
    """
    steps: list[Any] = []

    def run() -> dict[str, Any]:
        step, made = run_step(op, args, ports, types, body, counter)
        steps.append(step)
        return made

    counter = counting()
    found = types_of(run)
    if isinstance(found, Refusal):
        return step_type(code, op, args, ports, types, kinds, body), None
    flops, step = counter.get_total_flops(), steps[0]
    if not isinstance(step, nn.Module):
        return found, Cost(flops=flops)
    size = sum(t.numel() * t.element_size() for t in (*step.parameters(), *step.buffers()))
    return found, Cost(sum(p.numel() for p in step.parameters()), flops, size)


@functools.lru_cache(maxsize=4096)
def _train_flops(graph: Graph, codes: tuple[str, ...], trainable: frozenset[str] | None) -> int:
    types = shapes(graph)
    flops = stepwise(graph, types, lambda i: _is_trained(i, trainable), counting)
    return (_whole(graph, types, trainable) if flops is None else flops) // _batch(graph, types)


def _whole(graph: Graph, types: Mapping[str, TensorType], trainable: frozenset[str] | None) -> int:
    """FLOPs of both passes of a graph for the whole batch, run as one."""
    with torch.device("meta"):
        model = Interpreter(graph, types, shapes).train()
        for i, step in model.steps.items():
            if isinstance(step, nn.Module) and not graph.nodes[i].owner and not _is_trained(i, trainable):
                for name, parameter in step.named_parameters():
                    parameter.requires_grad_(parameter.requires_grad and name in dict(graph.nodes[i].share))
        values = meta_values(graph.input_names, tuple(types[n] for n in graph.input_names))
        with counting() as counter:
            made = model(**values).values()
            ends = [value for value in made if value.requires_grad]
            if ends:
                torch.autograd.backward(ends, [torch.empty_like(e) for e in ends])
    return int(counter.get_total_flops())


def _is_trained(i: str, trainable: frozenset[str] | None) -> bool:
    return trainable is None or any(i == path or i.startswith(f"{path}.") for path in trainable)


@functools.lru_cache(maxsize=65536)
def _step_uncounted(
    code: str, op: str, args: Args, ports: Ports, types: Types, kinds: tuple[type, ...], body: Graph | None
) -> frozenset[str]:
    with _Names() as seen:
        run_step(op, args, ports, types, body)
    return frozenset(seen.names)


class _Names(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every dispatched operator that may be heavy and has no FLOP formula."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        space, _, name = str(func.overloadpacket).partition(".")
        if func.overloadpacket not in flop_registry and (space not in _OURS or name.startswith(_HEAVY)):
            self.names.add(f"{space}.{name}")
        return func(*args, **(kwargs or {}))
