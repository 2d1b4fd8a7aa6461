"""A model as a program of its own: `torch.export`, in evaluation, for any batch where its steps allow that."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from assembler.compile.files import whole
from assembler.compile.free import Axes, axes_of, bound, held, listed, said_of, spec
from assembler.compile.located import STEP, step_at
from assembler.compile.model import Compiled, Model, Switched
from assembler.errors import GraphError, InputError, Problem
from assembler.graph.core import ITEM, SWITCH, Graph, TensorType
from assembler.graph.modes import in_mode
from assembler.graph.structure import flatten, pack
from assembler.infer.shape import batched, dtype_of
from assembler.registry import lookup

EXAMPLES = 2
"""The batch of the inputs that a program is made with; torch.export takes one for a constant."""


@dataclass(frozen=True)
class Exported:
    """A program with the graph in evaluation that it computes.

    `fixed` says why its batch is not free, or is empty; `free` are further axes that are.
    """

    program: ExportedProgram
    graph: Graph
    fixed: str = ""
    free: Axes = field(default_factory=dict)


def exported(module: Compiled, free: Sequence[str] = ()) -> Exported:
    """Export a compiled model in evaluation, with its batch free; where a step forbids that, for its recipe's batch.

    `free` names further axes (`ids.1`, `image.2`) that are to be free. Modes of training are restored. Raises
    InputError for an axis that there is not or that cannot be free, GraphError, with the step's recipe path where it is
    known, for what torch cannot export at all.
    """
    model: Model = module.__dict__["modes"][False] if isinstance(module, Switched) else module
    graph = in_mode(module.meta["graph"], "eval")
    check_eager(graph)
    wanted = axes_of(graph, free)
    if why := bound(graph, wanted):
        raise InputError(why)
    with evaluating(module):
        inputs = examples(graph, EXAMPLES)
        try:
            program = _program(model, inputs, spec(inputs, wanted))
            fixed = held(program, [name for name, _ in flatten(inputs)], wanted)
        except Exception as error:  # torch.export's errors have no common root
            if wanted:
                raise InputError(f"{listed(wanted)} cannot be free: {_reason(error)}") from error
            why = _reason(error)
        else:
            if fixed:
                raise InputError(said_of(fixed))
            return Exported(program, graph, "", wanted)
        batch = next((kind.shape[0] for _, kind in graph.inputs if kind.shape and kind.shape[0]), EXAMPLES)
        inputs = examples(graph, batch)
        try:
            return Exported(_program(model, inputs, None), graph, f"the batch is fixed at {batch}: {why}")
        except Exception as error:
            raise _refusal(error) from error


def check_eager(graph: Graph, prefix: str = "") -> None:
    """Raises GraphError for a step of a graph of one mode, in bodies too, that says why no program can hold it."""
    for i, node in graph.nodes.items():
        if why := lookup("op", node.op).option("eager") if node.op not in (ITEM, SWITCH) else "":
            raise GraphError(
                Problem(
                    f"the model cannot be exported because of {prefix}{i} ({node.op})", node.span, f"{prefix}{i}", why
                )
            )
        if node.body is not None:
            check_eager(node.body, f"{prefix}{i}.")


def save_pt2(module: Compiled, file: str | Path, free: Sequence[str] = ()) -> str:
    """Write a compiled model as a `.pt2` file, whole or not at all; `torch.export.load(file).module()` runs it.

    It returns what there is to say: "" for a program that takes any batch (and any size of the axes in `free`), or why
    it does not. Raises what `exported` does, InputError where the file cannot be written.
    """
    found = exported(module, free)
    with whole(file) as temporary, temporary.open("wb") as stream, quiet():
        torch.export.save(found.program, stream)
    return found.fixed


def examples(
    graph: Graph, batch: int, seed: int | None = None, sizes: Mapping[str, TensorType] = MappingProxyType({})
) -> dict[str, Any]:
    """Inputs of a graph by name, nested as a caller gives them: zeros, or values drawn with `seed`.

    `sizes` are the types of those that are to have other sizes than the graph says.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)

    def drawn(name: str) -> Tensor:
        kind = sizes.get(name) or batched(name, kinds[name])
        shape, dtype = (batch, *kind.shape[1:]) if kind.shape else (), dtype_of(kind.dtype)
        if generator is None:
            return torch.zeros(shape, dtype=dtype)
        if dtype.is_floating_point:
            return torch.randn(shape, generator=generator).to(dtype)
        return torch.randint(0, 2, shape, generator=generator).to(dtype)

    kinds = dict(graph.inputs)
    return pack((name, drawn(name)) for name in kinds)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation without torch's own warnings; every module has its mode back afterwards."""
    modes = {name: inner.training for name, inner in module.named_modules()}
    bodies = {name: inner.training for name, inner in _hidden(module)}
    module.eval()
    try:
        with quiet():
            yield
    finally:
        for name, inner in module.named_modules():
            inner.training = modes[name]
        for name, inner in _hidden(module):
            inner.training = bodies[name]


@contextmanager
def quiet() -> Iterator[None]:
    """What torch warns of while it exports concerns its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _hidden(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that compute modes and bodies, which lie beside the registered sub-modules."""
    for name, inner in module.named_modules():
        beside = [inner.__dict__.get("body"), *inner.__dict__.get("modes", {}).values()]
        yield from ((f"{name}:{n}", found) for n, found in enumerate(beside) if isinstance(found, nn.Module))


def _program(model: Model, inputs: dict[str, Any], axes: dict[str, Any] | None) -> ExportedProgram:
    with _told(model):
        return torch.export.export(model, tuple(inputs.values()), dynamic_shapes=tuple(axes.values()) if axes else None)


@contextmanager
def _told(model: Model) -> Iterator[None]:
    """Every node of a program has the path of its step, which torch carries along in `meta["custom"]`."""
    try:
        for node in model.graph.nodes:
            node.meta["custom"] = {STEP: step_at(node, model.meta["graph"])}
        yield
    finally:
        for node in model.graph.nodes:
            node.meta.pop("custom", None)


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip(" .!:")


def step_behind(error: BaseException | None) -> str:
    """The path of the step that torch was at when an error arose, "" where its traceback does not say."""
    path = ""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            node = frame.f_locals.get("n", frame.f_locals.get("node"))
            if isinstance(node, fx.Node):
                path = str(node.meta.get(STEP, node.meta.get("custom", {}).get(STEP, ""))) or path
        error = error.__cause__
    return path


def _refusal(error: Exception) -> GraphError:
    path = step_behind(error)
    where = f" because of {path}" if path else ""
    hint = "an op may look at values: write it without `if` and `.item()` on tensors"
    return GraphError(Problem(f"the model cannot be exported{where}: {_reason(error)}", path=path, hint=hint))
