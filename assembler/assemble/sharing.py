"""A second module over some of a module's own steps: what one turn of training runs of the whole model."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from assembler.assemble.hybrid import values_of
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.graph.modes import Mode, in_mode


def sharing(
    module: nn.Module, graph: Graph, wanted: Mapping[str, str], mode: Mode = "train"
) -> tuple[nn.Module, Graph]:
    """A module that computes `wanted` (output name -> id) alone, as in training or in evaluation, and its graph.

    Its steps are the very modules of `module`, which `graph` was lowered to: weights, buffers and modes are shared.
    """
    inner = in_mode(values_of(graph, wanted), mode)
    made = lower(inner)
    for path in inner.nodes:
        step, owner = _step(module, path), path.rpartition(".")[0]
        if isinstance(step, nn.Module):
            made.set_submodule(path, step)
        elif step is not None:
            setattr(made.get_submodule(owner), path.rpartition(".")[2], step)
    return made, inner


def _step(module: nn.Module, path: str) -> nn.Module | Tensor | None:
    """The module of a step, the one tensor that a bare step is, or None for a function."""
    owner, _, name = path.rpartition(".")
    try:
        return module.get_submodule(path)
    except AttributeError:
        pass
    try:
        found = getattr(module.get_submodule(owner), name, None)
    except AttributeError:
        return None
    return found if isinstance(found, Tensor) else None
