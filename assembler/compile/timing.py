"""What each step of a model takes on this machine, measured: alone, on the values that reach it in the model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn

from assembler.compile.located import Located, step_at, step_in
from assembler.compile.lower import lower
from assembler.compile.model import Switched
from assembler.errors import Span
from assembler.graph.core import Graph, TensorType
from assembler.graph.structure import pack
from assembler.infer.shape import dtype_of, shapes

REPEATS = 7


@dataclass(frozen=True, slots=True)
class StepTime:
    """Milliseconds of one step, medians of several calls: forward in evaluation, forward and backward in training."""

    path: str
    op: str
    span: Span | None
    forward: float
    both: float


def timings(graph: Graph, *, device: str | torch.device = "cpu", repeats: int = REPEATS) -> tuple[StepTime, ...]:
    """The time of every step, in order, with the batch that the graph's inputs are written with.

    A step is run alone on values of random inputs, so that the sum leaves out what a whole call has beside it.
    """
    types = shapes(graph)
    module = lower(graph, types, device=device)
    given = {name: _random(types[name], device) for name in graph.input_names}
    with torch.random.fork_rng(devices=[]):
        forward = dict(_measured(module.eval(), given, repeats, _forward))
        both = dict(_measured(module.train(), given, repeats, _both))
    found = []
    for path in dict.fromkeys([*forward, *both]):
        node = step_in(graph, path)
        op, span = (node.op, node.span) if node else ("", None)
        found.append(StepTime(path, op, span, forward.get(path, 0.0), both.get(path, 0.0)))
    return tuple(found)


Call = Callable[[], list[Tensor]]


def _measured(
    module: nn.Module, given: dict[str, Tensor], repeats: int, how: Callable[[Call, list[Tensor]], None]
) -> Iterator[tuple[str, float]]:
    """(path, milliseconds) of each step."""
    code = module.__dict__["modes"][module.training] if isinstance(module, Switched) else module
    assert isinstance(code, Located)
    packed = pack(given.items())
    env: dict[fx.Node, Any] = {n: packed.get(str(n.target)) for n in code.graph.nodes if n.op == "placeholder"}
    steps: dict[str, list[fx.Node]] = {}
    for node in code.graph.nodes:
        if node.op not in ("placeholder", "output"):
            steps.setdefault(step_at(node, code.meta.get("graph")), []).append(node)
    for path, nodes in steps.items():
        read = dict.fromkeys(s for n in nodes for s in n.all_input_nodes if s not in nodes)
        leaves = {s: _leaf(env[s]) for s in read}
        wanted = [t for t in (*_weights(code, nodes), *_floats(list(leaves.values()))) if t.requires_grad]
        taken = []
        for _ in range(1 + repeats):
            env |= {s: _copy(value) for s, value in leaves.items()}  # a step may work in place
            taken.append(_timed(how, _call(code, nodes, env), wanted))
        yield path, statistics.median(taken[1:]) * 1000


def _weights(code: Located, nodes: list[fx.Node]) -> Iterator[Tensor]:
    """Those of the modules that a step's nodes call, and those that they read themselves."""
    for node in nodes:
        if node.op == "call_module":
            yield from code.get_submodule(str(node.target)).parameters()
        elif node.op == "get_attr":
            yield from _floats(_target(code, node)())


def _call(code: Located, nodes: list[fx.Node], env: dict[fx.Node, Any]) -> Call:
    """Runs a step's nodes, enters their values, and gives the floating ones of the last."""

    def run() -> list[Tensor]:
        for node in nodes:
            args, kwargs = fx.map_arg((node.args, node.kwargs), env.__getitem__)
            env[node] = _target(code, node)(*args, **kwargs)
        return list(_floats(env[nodes[-1]]))

    return run


def _target(code: Located, node: fx.Node) -> Callable[..., Any]:
    if node.op == "call_module":
        return code.get_submodule(str(node.target))
    if node.op == "call_method":
        return lambda value, *args, **kwargs: getattr(value, str(node.target))(*args, **kwargs)
    if node.op == "get_attr":
        return lambda: attrgetter(str(node.target))(code)
    assert callable(node.target)
    return node.target


@torch.no_grad()
def _forward(call: Call, wanted: list[Tensor]) -> None:
    call()


def _both(call: Call, wanted: list[Tensor]) -> None:
    made = [t for t in call() if t.requires_grad]
    if made and wanted:
        torch.autograd.grad(made, wanted, [torch.ones_like(t) for t in made], allow_unused=True)


def _timed(how: Callable[[Call, list[Tensor]], None], call: Call, wanted: list[Tensor]) -> float:
    cuda = any(t.is_cuda for t in wanted)
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    how(call, wanted)
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _random(kind: TensorType, device: str | torch.device) -> Tensor:
    dtype = dtype_of(kind.dtype)
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(kind.shape, dtype=dtype, device=device).requires_grad_()
    return torch.zeros(kind.shape, dtype=dtype, device=device)


def _floats(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _floats(inner)


def _leaf(value: Any) -> Any:
    """A value without its history, so that a step's backward pass ends with the step."""
    return _each(value, lambda t: t.detach().clone().requires_grad_(t.is_floating_point()))


def _copy(value: Any) -> Any:
    return _each(value, torch.clone)


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {k: _each(v, change) for k, v in value.items()}
    return type(value)(_each(v, change) for v in value) if isinstance(value, list | tuple) else value
