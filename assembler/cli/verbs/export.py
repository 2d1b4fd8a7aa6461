"""`assembler export`: model files from a run, a folder that holds a model, or a recipe with weights."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import say
from assembler.cli.options import Out, Overrides, Weights
from assembler.errors import InputError
from assembler.resources import CONFIG, GRAPH, runs_home

if TYPE_CHECKING:
    from assembler.compile.model import Compiled

Source = Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe, a run's name, or a model's folder.")]


class Format(StrEnum):
    """A kind of model file."""

    SAFETENSORS = "safetensors"
    SOURCE = "source"
    PT2 = "pt2"
    ONNX = "onnx"


Formats = Annotated[
    list[Format] | None, typer.Option("--format", help="Repeatable; safetensors, source and pt2 if not given.")
]
Free = Annotated[
    list[str] | None, typer.Option(metavar="INPUT.AXIS", help="Repeatable; an axis of any size in pt2 and onnx.")
]


def export(
    source: Source,
    override: Overrides = None,
    weights: Weights = None,
    out: Out = None,
    format: Formats = None,
    free: Free = None,
) -> dict[str, Any]:
    """Write a trained model to files for use elsewhere.

    These are weights (model.safetensors, with the graph in config.json), stand-alone source (model.py), an exported
    program (model.pt2) and, where it is asked for, model.onnx, compared with the model. A run and any folder with a
    model bring their own weights, a recipe names some or needs --weights. Without --out the files go to that folder,
    or for a recipe to the folder of the weights. An exported program takes any batch, and other sizes than the recipe's
    only along the axes that --free names (image.2 is the height of [B, C, H, W]).

    \b
        assembler export runs/quickstart/latest --out exported/
        assembler export my/model.yaml --weights model.safetensors --format pt2 --format onnx
        assembler export gpt2 --weights hf:gpt2 --out exported/ --free ids.1
    """
    folder = _folder(source)
    from assembler.pipeline.exporting import export as write

    if folder is not None and override:
        raise InputError("-o changes a recipe, and the model in a folder is trained already")
    module = _loaded(str(folder or source), override or [], weights)
    place = out or folder or _beside(weights, module)
    files = write(module, place, [one.value for one in format] if format else None, say.line, free or ())
    for file in files:
        say.line(f"wrote {file}")
    return {"files": [str(file) for file in files], "fingerprint": module.meta["graph"].fingerprint}


def _folder(source: str) -> Path | None:
    """The folder with the model that `source` means, a run's or another; None where it is a recipe."""
    place = Path(source)
    if (place / GRAPH).is_file() or (place / CONFIG).is_file():
        return place
    if place.is_dir() or (runs_home() / source / "latest").is_dir():
        from assembler.cli.verbs.report import run_folder

        return run_folder(source)
    return None


def _loaded(source: str, override: list[str], weights: str | None) -> Compiled:
    """The model of a recipe with the weights that are given, or those that it names itself."""
    from assembler.recipe.document import load

    document = load(source, override)
    section = document.model.get("weights")
    if weights is None and not (section and "file" in section):
        raise InputError(f"'{source}' is a recipe, which has no weights", hint="give --weights FILE, or a run folder")
    from assembler.pipeline.api import build

    return build(document, weights=weights)


def _beside(weights: str | None, module: Compiled) -> Path:
    """The folder of the weights, unless they are somebody else's."""
    if weights is None or not Path(weights).is_file() or "unread" in module.meta:
        raise InputError(
            "these weights are another model's files, nothing is written beside them", hint="give --out DIR"
        )
    return Path(weights).parent
