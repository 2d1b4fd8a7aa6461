"""A module as a graph with its weights: `from_module`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.compile.model import Compiled
from assembler.compile.weights import fill
from assembler.errors import GraphError, near
from assembler.graph.core import Graph
from assembler.graph.verify import verify
from assembler.importing.compare import compared
from assembler.importing.example import Inputs, inputs_of
from assembler.importing.folding import folded
from assembler.importing.nodes import Converter, DirectUseError, Draft
from assembler.importing.opaque import PREFIX
from assembler.importing.provenance import untouched
from assembler.importing.references import connected
from assembler.importing.tracing import Trace, Tracer, UntraceableError

Opaque = Sequence[str] | Literal["auto"]


@dataclass(frozen=True)
class Imported:
    """A module that was brought in: its graph, its weights by the graph's names, and how well they agree.

    `difference` is the greatest between an output of the graph and one of the module on the example inputs; `opaque`
    are the paths of the modules that are kept as they are.
    """

    graph: Graph
    weights: Mapping[str, Tensor] = field(repr=False)
    difference: float = 0.0
    opaque: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The graph's."""
        return self.graph.fingerprint

    def build(self, device: str | torch.device = "cpu") -> Compiled:
        """A module of the graph with the weights of the one that was brought in."""
        made = lower(self.graph, seed=0)
        fill(made, self.weights, "the model's weights")
        return made.to(device)


def from_module(
    module: nn.Module, example_inputs: Any = None, *, opaque: Opaque = (), name: str = "", tolerance: float = 1e-5
) -> Imported:
    """A module as a graph that can be cut, searched and trained like a recipe's.

    Modules of torch.nn and of the registry become the steps that they are, everything else the ATen operators that it
    calls, ids and weights under the module's own paths. `example_inputs` are one tensor, several in order, or a
    mapping by name, batch first; the graph takes any batch. Arguments that are no tensors are fixed. The model is
    traced as it is in evaluation. `opaque` lists the paths of parts to keep as they are, "auto" keeps those that
    cannot be traced. A module that `build` made is its own graph, as long as nobody changed it.

    Raises GraphError where a part cannot be traced, with its path, or where the graph's outputs differ from the
    module's by more than `tolerance` (relative to their greatest value), with the first step that differs.
    """
    if (graph := untouched(module)) is not None:
        return Imported(graph, dict(module.state_dict()))
    if example_inputs is None:
        raise GraphError("from_module needs example inputs to trace a module with", hint="one batch is enough")
    _check_dtypes(module)
    inputs = inputs_of(module, example_inputs)
    whole = [] if opaque == "auto" else list(opaque)
    for path in whole:
        _check_path(module, path)
    trace, made = _traced(module, inputs, whole, opaque == "auto")
    graph = connected(folded(made.draft), name or type(module).__name__)
    verify(graph)
    compiled = lower(graph)
    weights = _weights(module, compiled, made.draft)
    fill(compiled, weights, "the model's weights")
    return Imported(graph, weights, compared(module, compiled, trace, made.draft, tolerance), tuple(whole))


def _traced(module: nn.Module, inputs: Inputs, whole: list[str], auto: bool) -> tuple[Trace, Converter]:
    """The trace and its conversion; with `auto`, `whole` grows by the parts that cannot be traced."""
    opened: set[str] = set()
    while True:
        try:
            trace = Tracer(module, inputs, frozenset(whole), frozenset(opened)).trace()
            made = Converter(module, trace)
            made.run()
            return trace, made
        except DirectUseError as error:
            if error.path in opened or error.path in whole:
                what = f"a weight of '{error.path}' is used outside of it, so it cannot be an opaque leaf"
                raise GraphError(what, path=error.path) from None
            opened.add(error.path)
        except GraphError as error:
            culprit = error.culprit if isinstance(error, UntraceableError) else error.problems[0].path
            if not auto or not culprit or culprit in whole:
                raise
            whole[:] = [*(p for p in whole if not p.startswith(f"{culprit}.")), culprit]


def _weights(module: nn.Module, compiled: nn.Module, draft: Draft) -> dict[str, Tensor]:
    """The module's tensors under the names that the compiled graph has for them."""
    theirs = {**module.state_dict(), **draft.literals}
    return {key: theirs[key if key in theirs else key.rpartition(".")[0]] for key in compiled.state_dict()}


def _check_dtypes(module: nn.Module) -> None:
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise GraphError(f"'{name}' is {kind}; a graph's weights are float32", path=name, hint="module.float()")


def _check_path(module: nn.Module, path: str) -> None:
    known = [p for p, _ in module.named_modules() if p]
    if path not in known:
        what = f"there is no part '{path}' in {type(module).__name__}"
        raise GraphError(what, hint=near(path, known) or f"parts: {', '.join(known[:8])}")


def is_opaque(op: str) -> bool:
    """Whether an op is a module of this process that was kept as it is."""
    return op.startswith(PREFIX)
