"""Models of one graph merged, as a call: of modules, of folders with a model, of recipes with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from assembler.assemble.merging import merged
from assembler.assemble.merging.depth import Along
from assembler.assemble.models import Model
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.compile.model import Compiled, graph_of
from assembler.errors import InputError
from assembler.pipeline.api import build
from assembler.pipeline.sources import Source, document


def merge(
    models: Sequence[nn.Module | Source],
    method: str | Mapping[str, Any] = "linear",
    *,
    base: nn.Module | Source | None = None,
    weights: Sequence[Along] | None = None,
    seed: int = 0,
) -> Compiled:
    """One module of several with the same graph: built ones, folders with a model, recipes with weights.

    `method` is a registered merge (`"linear"`, `{"name": "ties", "density": 0.3}`), `base` the model that all were
    tuned from, which methods over task vectors need. `weights`, one for each model and 1 by default, and a method's
    numbers may be lists, which are interpolated along the depth (`[0, 0.5, 1]`), or mappings by pattern of path
    (`{"*.attn": 0.3, "*": 1}`). `seed` is for methods that draw. Raises InputError where the models differ in more than
    their weights, or the method needs what is not given.
    """
    modules = [_module(one) for one in models]
    held = [_model(one) for one in modules]
    there = None if base is None else _model(_module(base))
    found = lower(held[0].graph) if held else None
    made = merged(held, method, base=there, weights=weights, seed=seed)
    assert found is not None
    load_there(found, made)
    if recipe := getattr(modules[0], "meta", {}).get("recipe"):
        found.meta["recipe"] = recipe
    return found


def _module(source: nn.Module | Source) -> nn.Module:
    if not isinstance(source, nn.Module):
        held = document(source).model.get("weights") if isinstance(source, str | Path) else {"file": ""}
        if not held or "file" not in held:
            raise InputError(f"'{source}' has no weights to merge", hint="name a folder with a trained model, or a run")
        return build(source)
    return source


def _model(module: nn.Module) -> Model:
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    return Model(graph_of(module, "merge"), state)
