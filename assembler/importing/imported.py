"""A module as a graph with its weights: `from_module`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.compile.model import Compiled
from assembler.compile.weights import fill
from assembler.errors import AssemblerError, GraphError, near
from assembler.graph.core import Graph
from assembler.graph.verify import verify
from assembler.importing.compare import agrees, compared
from assembler.importing.example import Axes, Inputs, evaluating, inputs_of, outputs_of, single, training
from assembler.importing.folding import folded
from assembler.importing.modes import in_both
from assembler.importing.nodes import Converter, DirectUseError, Draft
from assembler.importing.provenance import untouched
from assembler.importing.reasons import UntraceableError, checked
from assembler.importing.references import connected
from assembler.importing.sizes import Sizes, batches, resizings
from assembler.importing.tracing import Trace, Tracer

Mode = Callable[[nn.Module], AbstractContextManager[None]]
Opaque = Sequence[str] | Literal["auto"]


@dataclass(frozen=True)
class Imported:
    """A module that was brought in: its graph, its weights by the graph's names, and how well they agree.

    `difference` is the greatest between an output of the graph and one of the module on the example inputs, in
    evaluation; `opaque` are the paths of the modules that are kept as they are, and `reasons` why those of them are
    that `opaque="auto"` chose. `untrained` says why what the module
    does in training alone could not be kept, and is empty where it is: dropout, stochastic depth, batch statistics.
    `checked` are the axes that may have any size, "batch" among them, with the sizes beside the example's at which the
    graph was compared with the module.
    """

    graph: Graph
    weights: Mapping[str, Tensor] = field(repr=False)
    difference: float = 0.0
    opaque: tuple[str, ...] = ()
    untrained: str = ""
    checked: Mapping[str, Sequence[int]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The graph's."""
        return self.graph.fingerprint

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the floating weights, or the one that holds the values of all of them."""
        kinds = {t.dtype for t in self.weights.values() if t.is_floating_point()}
        return functools.reduce(torch.promote_types, sorted(kinds, key=str)) if kinds else torch.float32

    def build(self, device: str | torch.device = "cpu") -> Compiled:
        """A module of the graph with the weights of the one that was brought in, and in their dtype.

        Where floating weights have several dtypes it is the one that holds all their values.
        """
        made = lower(self.graph, seed=0).to(self.dtype)
        fill(made, self.weights, "the model's weights")
        return made.to(device)


def from_module(
    module: nn.Module,
    example_inputs: Any = None,
    *,
    opaque: Opaque = (),
    free: Sequence[str] = (),
    name: str = "",
    tolerance: float = 1e-5,
) -> Imported:
    """A module as a graph that can be cut, searched and trained like a recipe's.

    Modules of torch.nn and of the registry become the steps that they are, everything else the ATen operators that it
    calls, ids and weights under the module's own paths. `example_inputs` are one tensor, several in order, or a mapping
    by name, batch first; the graph takes any batch. Mappings and lists of tensors are nested inputs, arguments that are
    no tensors are fixed. Outputs of one mode alone are there in that mode. The model is traced as it trains, so that
    dropout is there, and compared in evaluation; where that cannot be, it is traced in evaluation, and `untrained` says
    why. The graph is one of float32, and weights keep their dtypes. `opaque` lists the paths of parts to keep as they
    are, "auto" among them or in their place keeps those that cannot be traced.

    The graph takes other sizes than the example's where it is found to be the same graph for them; any other size is
    refused when it is run. `free` lists axes (`input_ids.1`) to trace with their size left open, which is run and
    compared at other sizes. A module that `build` made is its own graph, as long as nobody changed it.

    Raises GraphError where a part cannot be traced, with its path, where an axis cannot be free, or where the graph's
    outputs differ from the module's by more than `tolerance` (relative to their greatest value), with the first step
    that differs.
    """
    if (graph := untouched(module)) is not None:
        return Imported(graph, dict(module.state_dict()))
    if example_inputs is None:
        raise GraphError("from_module needs example inputs to trace a module with", hint="one batch is enough")
    inputs = inputs_of(module, example_inputs).single()
    auto = opaque == "auto" or "auto" in opaque
    whole = {path: "" for path in ([] if isinstance(opaque, str) else opaque) if path != "auto"}
    for path in whole:
        _check_path(module, path)
    checked(single(module), inputs)
    given = Given(single(module), inputs, auto, name or type(module).__name__, tolerance, inputs.free_axes(free))
    plain = given.brought(whole, evaluating) if given.auto else None  # what has to be opaque is told by evaluation
    found, why = replace(given, auto=False).brought(whole, training), ""
    if isinstance(found, AssemblerError):
        why = found.problems[0].message
        found = plain or given.brought(whole, evaluating)
    if isinstance(found, AssemblerError):
        raise found
    theirs = module.state_dict()
    weights = {k: t.to(theirs[k].dtype) if k in theirs else t for k, t in found.weights.items()}
    reasons = {path: told for path, told in whole.items() if told}
    return replace(found, weights=weights, opaque=tuple(whole), untrained=why, reasons=reasons)


@dataclass(frozen=True)
class Given:
    """What is brought in: a module of float32 with its example, and what its graph is called and has to keep to."""

    module: nn.Module
    inputs: Inputs
    auto: bool
    name: str
    tolerance: float
    free: Axes = field(default_factory=dict)

    def brought(self, whole: dict[str, str], mode: Mode) -> Imported | AssemblerError:
        """The graph as it is traced in a mode, compared with the module in evaluation; or why there is none."""
        parts = dict(whole)
        try:
            trace, draft = self.drafted(self.inputs, parts, mode, self.auto)
            free = trace.free(self.free)
            graph = self.graph(draft)
            compiled = lower(graph)
            weights = _weights(self.module, compiled, draft)
            fill(compiled, weights, "the model's weights")
            others = [*batches(self.module, self.inputs), *resizings(self.module, self.inputs, free)]
            difference = compared(self.module, compiled, trace, draft, self.tolerance, others)
            sizes = Sizes(
                self.module,
                self.inputs,
                lambda other: self.again(other, parts, mode),
                lambda other: agrees(self.module, compiled, draft, self.tolerance, other),
            )
            graph, found = sizes.guarded((graph, draft.literals), free)
        except AssemblerError as error:
            return error
        whole.clear()
        whole |= parts
        tried = {"batch": sorted({n.batch for n in others} - {self.inputs.batch})}
        for name, axis in free:
            tried[f"{name}.{axis}"] = sorted(
                {n.named[name].shape[axis] for n in others if n.batch == self.inputs.batch}
            )
        tried |= {f"{name}.{axis}": sizes for (name, axis), sizes in found.items()}
        return Imported(graph, weights, difference, checked=tried)

    def again(self, inputs: Inputs, whole: dict[str, str], mode: Mode) -> tuple[Graph, Mapping[str, Tensor]]:
        """The graph of other inputs, with the tensors that it is too short to write."""
        draft = self.drafted(inputs, whole, mode, False)[1]
        return self.graph(draft), draft.literals

    def graph(self, draft: Draft) -> Graph:
        """The graph of a converted trace, verified."""
        graph = connected(folded(draft), self.name)
        verify(graph)
        return graph

    def drafted(self, inputs: Inputs, whole: dict[str, str], mode: Mode, auto: bool) -> tuple[Trace, Draft]:
        """What `traced` gives, with the outputs of evaluation where they are others."""
        trace, draft = self.traced(inputs, whole, mode, auto)
        with evaluating(self.module):
            returned = outputs_of(self.module(**inputs.kwargs))
        if mode is evaluating or returned.keys() == {name for name, _ in draft.outputs}:
            return trace, draft
        return trace, in_both(draft, self.traced(inputs, whole, evaluating, auto)[1])

    def traced(self, inputs: Inputs, whole: dict[str, str], mode: Mode, auto: bool) -> tuple[Trace, Draft]:
        """The trace and its conversion; with `auto`, `whole` grows by the parts that cannot be traced."""
        opened: set[str] = set()
        while True:
            try:
                trace = Tracer(self.module, inputs, frozenset(whole), frozenset(opened), mode, free=self.free).trace()
                made = Converter(self.module, trace)
                return trace, made.run()
            except DirectUseError as error:
                if error.path in opened or error.path in whole:
                    what = f"a weight of '{error.path}' is used outside of it, so it cannot be an opaque leaf"
                    raise GraphError(what, path=error.path) from None
                opened.add(error.path)
            except GraphError as error:
                culprit = error.culprit if isinstance(error, UntraceableError) else error.problems[0].path
                if not auto or not culprit or culprit in whole:
                    raise
                for inner in [path for path in whole if path.startswith(f"{culprit}.")]:
                    del whole[inner]
                whole[culprit] = error.problems[0].message.partition(": ")[2]


def _weights(module: nn.Module, compiled: nn.Module, draft: Draft) -> dict[str, Tensor]:
    """The module's tensors under the names that the compiled graph has for them."""
    theirs = {**module.state_dict(), **draft.literals}
    return {key: theirs[key if key in theirs else key.rpartition(".")[0]] for key in compiled.state_dict()}


def _check_path(module: nn.Module, path: str) -> None:
    known = [p for p, _ in module.named_modules() if p]
    if path not in known:
        what = f"there is no part '{path}' in {type(module).__name__}"
        raise GraphError(what, hint=near(path, known) or f"parts: {', '.join(known[:8])}")
