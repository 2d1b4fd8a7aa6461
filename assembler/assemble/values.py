"""Values that frozen models give of a whole split, kept on disk: what many parts need is computed once.

    <store>/values/<key>.safetensors     the values by name, axis 0 the sample

The key is made of everything that the values depend on, graph, weights and samples, so that no value is ever stale. The
oldest go where the folder has grown above its limit.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from assembler.assemble.locks import locked
from assembler.compile.files import whole
from assembler.errors import InputError
from assembler.graph.text import to_text

if TYPE_CHECKING:
    from assembler.assemble.frozen import Frozen
    from assembler.train.data.core import Split

Values = dict[str, Tensor]


class ValueCache:
    """A folder of values of at most `most` bytes, for any number of processes."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most

    def get(self, key: str, make: Callable[[], Values | None]) -> Values | None:
        """The values of that key, made and kept unless they are there; None where `make` gives none.

        Whoever asks for values in the making waits for them. Where they cannot be written they are made all the same.
        """
        file = self.folder / f"{key}.safetensors"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / f"{key}.lock"):
                with suppress(FileNotFoundError):
                    os.utime(file)
                    return load_file(file)
                values = make()
                if values is not None and self._make_room(sum(t.nbytes for t in values.values())):
                    with whole(file) as path:
                        save_file({name: t.contiguous() for name, t in values.items()}, path)
                return values
        except (OSError, InputError):  # a full or read-only disk is no reason not to train
            return make()

    def _make_room(self, size: int) -> bool:
        """Remove the values that were used longest ago until so many bytes fit; whether they do."""
        if size > self.most:
            return False
        there = []
        for file in self.folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):
                about = file.stat()
                there.append((about.st_mtime, about.st_size, file))
        taken = sum(held for _, held, _ in there)
        for _, held, file in sorted(there):
            if taken + size <= self.most:
                break
            file.unlink(missing_ok=True)
            taken -= held
        return True


def key_of(one: Frozen, split: Split) -> str:
    """What the values of a frozen model on a split depend on, hashed: its graph, its weights and what it reads."""
    digest = hashlib.blake2b(digest_size=20)
    digest.update(f"{torch.__version__} {to_text(one.graph)}".encode())
    fields = {name: split.fields[name] for name in one.graph.input_names if name in split.fields}
    for kind, tensors in (("weights", one.module.state_dict()), ("fields", fields)):
        _add(digest, kind, tensors)
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, kind: str, tensors: Mapping[str, Tensor]) -> None:
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{kind} {name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
