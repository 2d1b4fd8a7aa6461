"""Which files the winner leaves in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from assembler.registry import phase

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


@phase
def export(run: Run, *, formats: list[Literal["safetensors", "source", "pt2", "onnx"]] | None = None) -> None:
    """Write the winner as weights (`model.safetensors`), stand-alone source (`model.py`), `model.pt2`, `model.onnx`."""
    run.exports = tuple(formats) if formats else None
