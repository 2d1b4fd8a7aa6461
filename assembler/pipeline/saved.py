"""What an exported model says of itself beside its weights: `config.json`."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import torch

import assembler
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.graph.text import to_text
from assembler.recipe.values import Map
from assembler.recipe.write import to_yaml
from assembler.resources import MODEL_FORMAT


def config_text(graph: Graph, weights: str, recipe: Map | None = None) -> str:
    """The text of a `config.json`; `weights` is the file beside it.

    It holds the graph, which `build` makes the model of, the resolved recipe where there is one, and versions.
    """
    said: dict[str, Any] = {
        "format": MODEL_FORMAT,
        "name": graph.name,
        "fingerprint": graph.fingerprint,
        "versions": {"assembler": assembler.__version__, "torch": torch.__version__.split("+")[0]},
        "inputs": {name: str(kind) for name, kind in graph.inputs},
        "outputs": [name for name, _ in graph.outputs],
        "weights": weights,
        "graph": to_text(graph),
    }
    if recipe is not None:
        with contextlib.suppress(RecipeError):  # a value that no file can hold came from Python; the graph has it
            said["recipe"] = to_yaml(recipe.drop("weights"))
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"
