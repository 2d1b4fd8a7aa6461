"""A compiled recipe in the formats that leave the package: weights, stand-alone source, an exported program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import fx

from assembler.compile.exported import save_pt2
from assembler.compile.files import whole
from assembler.compile.source import to_source
from assembler.compile.weights import save_weights
from assembler.graph.core import Graph
from assembler.infer.shape import dtype_of

Format = Literal["safetensors", "source", "pt2"]
FORMATS: tuple[Format, ...] = ("safetensors", "source", "pt2")


def export(module: fx.GraphModule, folder: str | Path, formats: Sequence[Format] = FORMATS) -> list[Path]:
    """Write a module that `build` made into `folder`: `model.safetensors`, `model.py` and `model.pt2`.

    `model.py` needs torch alone and gives the same bits with the same weights; `model.pt2` takes any batch size.
    """
    graph: Graph = module.meta["graph"]
    # What cannot be written as source is refused before there is any file.
    text = to_source(graph) if "source" in formats else ""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if "safetensors" in formats:
        written.append(folder / "model.safetensors")
        save_weights(module, written[-1], {"fingerprint": graph.fingerprint})
    if "source" in formats:
        written.append(folder / "model.py")
        write_text(written[-1], text)
    if "pt2" in formats:
        written.append(folder / "model.pt2")
        examples = [torch.zeros(kind.shape, dtype=dtype_of(kind.dtype)) for _, kind in graph.inputs]
        save_pt2(module, examples, written[-1])
    return written


def write_text(file: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
