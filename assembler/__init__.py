"""Declarative model assembly and neural architecture search for PyTorch.

A model is a graph of named steps in a YAML recipe; `load` makes it symbolic, `build` compiles it to a plain
`torch.nn.Module`, `search` tries its choices, and `run` trains parts apart and searches over the trained parts.

>>> import assembler as asm, pyglove as pg
>>> recipe = asm.load("poolformer@s12")
>>> recipe.rebind({"stage.block.mixer": pg.oneof(["pool", "attention", "dwconv"])})
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assembler.errors import AssemblerError as AssemblerError
    from assembler.graph import Graph as Graph
    from assembler.importing import from_module as from_module
    from assembler.pipeline.api import build as build
    from assembler.pipeline.api import diff as diff
    from assembler.pipeline.api import load as load
    from assembler.pipeline.api import plan as plan
    from assembler.pipeline.api import run as run
    from assembler.pipeline.api import search as search
    from assembler.pipeline.api import train as train
    from assembler.pipeline.claims.verify import verify as verify
    from assembler.pipeline.cutting import cuts as cuts
    from assembler.pipeline.exporting import export as export
    from assembler.pipeline.merging import merge as merge
    from assembler.pipeline.rewriting import rewrite as rewrite
    from assembler.pipeline.similarity import similarity as similarity
    from assembler.pipeline.sources import graph as graph
    from assembler.registry import Channels as Channels
    from assembler.registry import Features as Features
    from assembler.registry import Shape as Shape
    from assembler.registry import Shapes as Shapes
    from assembler.registry import dataset as dataset
    from assembler.registry import loss as loss
    from assembler.registry import op as op
    from assembler.registry import optimizer as optimizer
    from assembler.registry import phase as phase
    from assembler.registry import sampler as sampler
    from assembler.symbolic.recipe import Recipe as Recipe
    from assembler.train.data.source import Source as Source

__version__ = "0.1.0"

# Name -> module: nothing is imported, torch least of all, before it is asked for.
_HOME = {
    "AssemblerError": "errors",
    "Graph": "graph",
    "Recipe": "symbolic.recipe",
    "Source": "train.data.source",
    "cuts": "pipeline.cutting",
    "export": "pipeline.exporting",
    "from_module": "importing",
    "merge": "pipeline.merging",
    "rewrite": "pipeline.rewriting",
    "similarity": "pipeline.similarity",
    "verify": "pipeline.claims.verify",
    **dict.fromkeys(("build", "diff", "load", "plan", "run", "search", "train"), "pipeline.api"),
    "graph": "pipeline.sources",
    **dict.fromkeys(("Channels", "Features", "Shape", "Shapes"), "registry"),
    **dict.fromkeys(("dataset", "loss", "op", "optimizer", "phase", "sampler"), "registry"),
}

__all__ = ["__version__", *sorted(_HOME)]


class _Package(ModuleType):
    """Keeps `assembler.graph`, `.search` and `.train` the public functions when the sub-packages so named are imported.

    `from assembler.graph import Graph` reaches a sub-package as ever.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'assembler' has no attribute '{name}'")
    found = getattr(importlib.import_module(f"assembler.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
