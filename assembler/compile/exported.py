"""A module as a `.pt2` file: `torch.export`, with the batch left open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from assembler.compile.files import whole
from assembler.errors import GraphError


def save_pt2(module: nn.Module, example: Tensor | Sequence[Tensor], file: str | Path) -> None:
    """Export `module` in eval mode and write it whole or not at all; `torch.export.load(file).module()` runs it.

    `example` is one input or all of them in order, batch first; the program takes any batch. The module's mode is
    restored. Raises GraphError where torch cannot export it for any batch, InputError where the file cannot be written.
    """
    inputs = (example,) if isinstance(example, Tensor) else tuple(example)
    # torch.export takes a batch of one for a constant
    inputs = tuple(torch.cat([x, x]) if x.dim() and len(x) == 1 else x for x in inputs)
    batch = torch.export.Dim("batch")
    modes = {name: inner.training for name, inner in module.named_modules()}
    module.eval()
    try:
        program = torch.export.export(module, inputs, dynamic_shapes=[{0: batch} if x.dim() else {} for x in inputs])
    except Exception as error:  # torch.export's errors have no common root
        first = str(error).strip().splitlines()[0]
        hint = "an op may have fixed the batch: write -1 in reshapes and use shapes, not sizes of tensors"
        raise GraphError(f"the model cannot be exported for any batch: {first}", hint=hint) from error
    finally:
        for name, inner in module.named_modules():
            inner.training = modes[name]
    with whole(file) as temporary, temporary.open("wb") as stream:
        torch.export.save(program, stream)
