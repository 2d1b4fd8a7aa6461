"""A compiled model in the formats that leave the package: weights, stand-alone source, exported programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from assembler.compile.exported import check_eager, exported, save_pt2
from assembler.compile.exported_onnx import save_onnx
from assembler.compile.files import whole
from assembler.compile.model import Compiled, graph_of
from assembler.compile.source import to_source
from assembler.compile.weights import save_weights
from assembler.errors import GraphError, InputError, near
from assembler.graph.core import Graph
from assembler.graph.modes import in_mode
from assembler.pipeline.saved import config_text
from assembler.resources import CONFIG

Format = Literal["safetensors", "source", "pt2", "onnx"]
WEIGHTS = "model.safetensors"
FORMATS: tuple[Format, ...] = ("safetensors", "source", "pt2")
"""The formats that need nothing but torch, which are written unless others are asked for."""


def silent(said: str) -> None:
    """Tells nobody."""


def export(
    module: Compiled,
    folder: str | Path,
    formats: Sequence[Format] | None = None,
    tell: Callable[[str], None] = silent,
    free: Sequence[str] = (),
) -> list[Path]:
    """Write a module that `build` made into `folder`; the files, each whole or not there.

    - `safetensors`: `model.safetensors` with `config.json`, from which `build(folder)` makes the very model;
    - `source`: `model.py`, which needs torch alone and gives the same bits with the same weights;
    - `pt2`: `model.pt2`, for `torch.export.load`, in evaluation and for any batch; inputs go in order, not by name;
    - `onnx`: `model.onnx`, in evaluation and for any batch, compared with the model; it needs the extra `onnx`.

    All of `FORMATS` that can hold the model are written where none are named. The last two leave further axes of inputs
    free that `free` names: `["ids.1"]` is any length, `["image.2", "image.3"]` any height and width. `tell` is given
    what there is to say of a file, for instance that its batch is fixed. Raises GraphError for what a format cannot
    hold, InputError where an axis cannot be free, a file cannot be written or the extra is not installed.
    """
    graph = graph_of(module, "export")
    if strange := [kind for kind in formats or () if kind not in get_args(Format)]:
        known = ", ".join(get_args(Format))
        raise InputError(f"there is no format '{strange[0]}'", hint=near(strange[0], get_args(Format)) or known)
    if formats is None:
        formats = _held(graph, tell)
    # What cannot be written as source, or not with these axes free, is refused before there is any file.
    text = to_source(graph) if "source" in formats else ""
    if free and {"pt2", "onnx"} & set(formats):
        exported(module, free)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    written = []
    if "safetensors" in formats:
        save_weights(module, folder / WEIGHTS, {"fingerprint": graph.fingerprint})
        write_text(folder / CONFIG, config_text(graph, WEIGHTS, module.meta.get("recipe")))
        written += [folder / WEIGHTS, folder / CONFIG]
    if "source" in formats:
        written.append(folder / "model.py")
        write_text(written[-1], text)
    for kind, save in (("pt2", save_pt2), ("onnx", save_onnx)):
        if kind in formats:
            written.append(folder / f"model.{kind}")
            if said := save(module, written[-1], free):
                tell(f"model.{kind}: {said}")
    return written


def _held(graph: Graph, tell: Callable[[str], None]) -> tuple[Format, ...]:
    """The formats that are written unasked; it tells which of them cannot hold the model."""
    try:
        check_eager(in_mode(graph, "eval"))
    except GraphError as error:
        tell(f"no model.pt2: {error.problems[0].message}")
        return tuple(kind for kind in FORMATS if kind != "pt2")
    return FORMATS


def write_text(file: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
