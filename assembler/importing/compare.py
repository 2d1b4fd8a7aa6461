"""Whether a graph computes what the module did that it was made of, and if not, from which step on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from assembler.compile.lower import lower
from assembler.compile.weights import fill
from assembler.errors import GraphError, Problem
from assembler.graph.core import Graph
from assembler.graph.edit import with_outputs
from assembler.graph.structure import flatten, pack
from assembler.importing.example import Inputs, evaluating, outputs_of
from assembler.importing.nodes import Draft
from assembler.importing.tracing import _CALLS, Trace


def compared(
    module: nn.Module, made: nn.Module, trace: Trace, draft: Draft, tolerance: float, others: Sequence[Inputs] = ()
) -> float:
    """The greatest difference between the outputs of a module and of its graph, at the example and at `others`.

    Raises GraphError with the first step that differs by more than `tolerance` times the value's greatest element.
    """
    worst = 0.0
    for inputs in (trace.inputs, *others):
        with evaluating(module), evaluating(made):
            theirs, ours = _theirs(module, inputs), _named(made(*_given(draft, inputs)))
        for name in _compared(draft):
            found, scale = _distance(ours[name], theirs[name])
            worst = max(worst, found)
            if found > tolerance * scale:
                at = "" if inputs is trace.inputs else f" for {_shown(inputs)}"
                raise _first(made, replace(trace, inputs=inputs), draft, tolerance, name, f"{found:.2g}{at}")
    return worst


def agrees(module: nn.Module, made: nn.Module, draft: Draft, tolerance: float, inputs: Inputs) -> bool:
    """Whether a module and its graph make the same of inputs that the module takes."""
    with evaluating(module), evaluating(made):
        theirs = _theirs(module, inputs)
        try:
            ours = _named(made(*_given(draft, inputs)))
        except Exception:  # whatever a step raises for a size that it is not made for
            return False
    distances = (_distance(ours[name], theirs[name]) for name in _compared(draft))
    return all(found <= tolerance * scale for found, scale in distances)


def _shown(inputs: Inputs) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.named.items())


def _given(draft: Draft, inputs: Inputs) -> list[Any]:
    """What the graph is called with, nested as it takes it."""
    pairs = zip((name for name, _ in draft.inputs), inputs.named.values(), strict=False)
    return list(pack(pairs).values())


def _compared(draft: Draft) -> list[str]:
    """The outputs that there are in evaluation."""
    return [name for name, _ in draft.outputs if (name, "train") not in draft.only]


def _theirs(module: nn.Module, inputs: Inputs) -> Mapping[str, Any]:
    """What a module makes, by output; a lone value has any name, as that of training may be another."""
    returned = module(**inputs.kwargs)
    return _One(returned) if isinstance(returned, Tensor) else outputs_of(returned)


def _named(returned: Any) -> Mapping[str, Any]:
    if isinstance(returned, Tensor):
        return _One(returned)
    return dict(flatten(returned))


class _One(dict[str, Any]):
    """A lone output, whatever it is called."""

    def __init__(self, value: Tensor) -> None:
        self.value = value

    def __missing__(self, name: str) -> Tensor:
        return self.value


def _distance(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """The greatest difference, and the greatest value (at least 1); infinity where shapes differ."""
    if ours.shape != theirs.shape:
        return float("inf"), 1.0
    if not theirs.numel():
        return 0.0, 1.0
    a, b = ours.double(), theirs.double()
    equal = (a == b) | (a.isnan() & b.isnan())
    gap = torch.where(equal, 0.0, (a - b).abs().nan_to_num(float("inf"), float("inf")))
    finite = b[b.isfinite()]
    return float(gap.max()), max(1.0, float(finite.abs().max()) if finite.numel() else 1.0)


def _first(made: nn.Module, trace: Trace, draft: Draft, tolerance: float, output: str, gap: str) -> GraphError:
    """What to say of two models that differ by `gap` at an output: the first step at which they do."""
    theirs = _Watch(trace, draft).values()
    graph: Graph = made.meta["graph"]  # type: ignore[index,assignment]
    watched = {f"v{n}": i for n, i in enumerate(graph.nodes) if i in theirs}
    every = lower(with_outputs(graph, watched), seed=0)
    fill(every, made.state_dict())
    with evaluating(every):
        ours = dict(flatten(every(*_given(draft, trace.inputs)))) if len(watched) > 1 else {}
    for name, i in watched.items():
        if name in ours:
            found, scale = _distance(ours[name], theirs[i])
            if found > tolerance * scale:
                by = " ".join((f"{found:.2g}", *gap.split(" ")[1:]))
                what = f"the graph differs from the module by {by}, first at '{i}' ({graph.nodes[i].op})"
                hint = "keep the part around it as it is: --opaque PATH (in Python opaque=[...])"
                return GraphError(Problem(what, path=i, hint=hint))
    return GraphError(f"the graph's output '{output}' differs from the module's by {gap}", path=output)


class _Watch(fx.Interpreter):
    """Runs a trace and keeps what each step of the graph is in it."""

    def __init__(self, trace: Trace, draft: Draft) -> None:
        super().__init__(trace.program.graph_module)
        self.trace, self.draft = trace, draft
        self.found: dict[str, Tensor] = {}

    def values(self) -> dict[str, Tensor]:
        """By id, the values at the example inputs."""
        program = self.trace.program
        flat = iter(pytree.tree_leaves(self.trace.inputs.kwargs))
        given = []
        for spec in program.graph_signature.input_specs:
            name = spec.target
            held = program.state_dict.get(name) if name else None
            held = program.constants.get(name) if held is None and name else held
            given.append(held if name else next(flat))
        _CALLS.update(self.trace.calls)
        try:
            with torch.no_grad():
                self.run(*given)
        finally:
            for key in self.trace.calls:
                _CALLS.pop(key, None)
        return self.found

    def run_node(self, n: fx.Node) -> Any:
        made = super().run_node(n)
        if n in self.draft.steps:
            first = made[0] if isinstance(made, list | tuple) else made
            self.found[self.draft.steps[n]] = first.clone()
        return made
