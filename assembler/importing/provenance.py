"""Compiled recipes that come back: a module that `build` made has its graph with it, as long as nobody changed it."""

from __future__ import annotations

from torch import nn

from assembler.compile.lower import lower
from assembler.compile.model import Model, Switched
from assembler.errors import AssemblerError
from assembler.graph.core import Graph
from assembler.importing.leaves import same


def untouched(module: nn.Module) -> Graph | None:
    """The graph that a module was compiled from, if the module still is what that graph compiles to; else None.

    Other weights are no change; other code, parts, settings of parts or hooks are.
    """
    graph = module.meta.get("graph") if isinstance(module, Model | Switched) else None
    if not isinstance(graph, Graph):
        return None
    try:
        again = lower(graph, device="meta")
    except AssemblerError:
        return None
    hooked = any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in module.modules())
    return graph if not hooked and same(again, module) and _modes_alike(again, module) else None


def _modes_alike(a: nn.Module, b: nn.Module) -> bool:
    mine, theirs = a.__dict__.get("modes", {}), b.__dict__.get("modes", {})
    return mine.keys() == theirs.keys() and all(same(mine[mode], theirs[mode]) for mode in mine)
