"""`assembler export`: model files from a run folder or from a recipe with weights."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Out, Overrides, Weights
from assembler.errors import InputError
from assembler.resources import runs_home

if TYPE_CHECKING:
    from torch import fx

Source = Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe, a run folder, or a run's name.")]


class Format(StrEnum):
    """A kind of model file."""

    SAFETENSORS = "safetensors"
    SOURCE = "source"
    PT2 = "pt2"


Formats = Annotated[list[Format] | None, typer.Option("--format", help="Repeatable; all three if not given.")]


def export(
    source: Source, override: Overrides = None, weights: Weights = None, out: Out = None, format: Formats = None
) -> dict[str, Any]:
    """Write a trained model to files for use elsewhere.

    These are weights (model.safetensors), stand-alone source (model.py) and an exported program (model.pt2). A run
    folder brings its own weights, a recipe names some or needs --weights. Without --out the files go to the run folder,
    or for a recipe to the folder of the weights.

    \b
        assembler export runs/quickstart/latest --out exported/
        assembler export my/model.yaml --weights model.safetensors --format pt2
    """
    folder = _run(source)
    from assembler.pipeline.exporting import export as write

    if folder is not None:
        if override:
            raise InputError("-o changes a recipe, and a run folder's model is trained already")
        module = _trained(folder, Path(weights) if weights else folder / "model.safetensors")
    else:
        module = _loaded(source, override or [], weights)
    place = out or folder or _beside(weights, module)
    files = write(module.eval(), place, [one.value for one in format or Format])
    for file in files:
        say.line(f"wrote {file}")
    return {"files": [str(file) for file in files], "fingerprint": module.meta["graph"].fingerprint}


def _run(source: str) -> Path | None:
    """The run folder that `source` means, if it means one; a recipe's name is a recipe."""
    if Path(source).is_dir() or (runs_home() / source / "latest").is_dir():
        from assembler.cli.verbs.report import run_folder

        return run_folder(source)
    return None


def _loaded(source: str, override: list[str], weights: str | None) -> fx.GraphModule:
    """The model of a recipe with the weights that are given, or those that it names itself."""
    from assembler.recipe.document import load

    document = load(source, override)
    section = document.model.get("weights")
    if weights is None and not (section and "file" in section):
        raise InputError(f"'{source}' is a recipe, which has no weights", hint="give --weights FILE, or a run folder")
    from assembler.pipeline.api import build

    return build(document, weights=weights)


def _beside(weights: str | None, module: fx.GraphModule) -> Path:
    """The folder of the weights, unless they are somebody else's."""
    if weights is None or not Path(weights).is_file() or "unread" in module.meta:
        raise InputError(
            "these weights are another model's files, nothing is written beside them", hint="give --out DIR"
        )
    return Path(weights).parent


def _trained(folder: Path, weights: Path) -> fx.GraphModule:
    from assembler.compile.lower import lower
    from assembler.compile.weights import load_weights
    from assembler.graph.text import from_text
    from assembler.recipe.read import load_text

    file = folder / "graph.txt"
    module = lower(from_text(load_text(file), str(file)))
    load_weights(module, weights)
    return module
