"""Axes of a model's inputs that an exported program leaves free beside the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.export import Dim, ExportedProgram

from assembler.errors import InputError, near
from assembler.graph.core import Graph, TensorType
from assembler.infer.lengths import fixed_by
from assembler.infer.shape import batched

Axes = Mapping[str, tuple[int, ...]]
"""Axes by the input's dotted name."""


def axes_of(graph: Graph, free: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The axes that are written `INPUT.AXIS`. Raises InputError for what is no such axis, or is the batch."""
    kinds, found = dict(graph.inputs), dict[str, tuple[int, ...]]()
    for said in free:
        name, _, axis = said.rpartition(".")
        if name not in kinds:
            hint = near(name, kinds) or f"it is INPUT.AXIS, and the inputs are {', '.join(kinds)}"
            raise InputError(f"--free {said}: the model has no input '{name}'", hint=hint)
        axes = len(kinds[name].shape)
        if not axis.isdecimal() or not 0 < int(axis) < axes:
            raise InputError(f"--free {said}: the axes of {name} that may be free are 1 to {axes - 1}")
        found[name] = tuple(dict.fromkeys((*found.get(name, ()), int(axis))))
    return found


def sizes_at(graph: Graph, free: Axes, times: float) -> dict[str, TensorType]:
    """The inputs' types with every free axis so many times as long."""
    made = {}
    for name, given in graph.inputs:
        kind = batched(name, given)
        shape = [int(n * times) if axis in free.get(name, ()) else n for axis, n in enumerate(kind.shape)]
        made[name] = TensorType(tuple(shape), kind.dtype)
    return made


def bound(graph: Graph, free: Axes) -> str:
    """Why the axes cannot be free: the step with weights for the sizes of the recipe, "" where there is none."""
    found = fixed_by(graph, sizes_at(graph, free, 2)) if free else None
    if found is None:
        return ""
    node = graph.nodes[found[0]]
    return f"{listed(free)} cannot be free: {found[0]} ({node.op}) is made for the recipe's size, {found[1]}"


def spec(value: Any, free: Axes, path: str = "") -> Any:
    """What torch.export is told of the axes of a nested input: the batch is free, and those of `free` if they can."""
    if isinstance(value, Tensor):
        return {0: Dim.DYNAMIC} | {axis: Dim.AUTO for axis in free.get(path, ())} if value.dim() else {}
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    made = {key: spec(v, free, f"{path}.{key}" if path else str(key)) for key, v in inner}
    return made if isinstance(value, dict) else list(made.values())


def held(program: ExportedProgram, names: Sequence[str], free: Axes) -> dict[str, tuple[int, ...]]:
    """Of the axes that were to be free, those that torch.export found to be numbers; `names` are those of inputs."""
    given = program.graph_signature.user_inputs
    values = {n.name: n.meta["val"] for n in program.graph.nodes if n.op == "placeholder"}
    fixed = {}
    for name, placeholder in zip(names, given, strict=True):
        shape = values[placeholder].shape if isinstance(values.get(str(placeholder)), Tensor) else ()
        numbers = tuple(a for a in free.get(name, ()) if str(shape[a]).isdecimal())  # a SymInt may be one too
        if numbers:
            fixed[name] = numbers
    return fixed


def said_of(fixed: Axes) -> str:
    """What there is to say of axes that were to be free and are not."""
    return f"{listed(fixed)} cannot be free: a step is written out for each of its elements"


def listed(axes: Axes) -> str:
    """Axes as they are asked for: `image.2 and image.3`."""
    return " and ".join(f"{name}.{axis}" for name, found in axes.items() for axis in found)
