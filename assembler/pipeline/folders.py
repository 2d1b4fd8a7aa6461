"""Run folders: a new one, or that of the same run which was killed and goes on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from assembler import resources
from assembler.errors import TaskError
from assembler.recipe.document import Document
from assembler.recipe.write import to_yaml
from assembler.search.storage import JOURNAL

SUMMARY = "summary.json"
"""What stands in the folder of a run that was finished."""


def new_folder(document: Document) -> Path:
    """A new folder `<runs>/<name>/<time>-<hash of the recipe>`."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    base = _base(document)
    base.mkdir(parents=True, exist_ok=True)
    for n in range(1000):
        folder = base / (f"{stamp}-{recipe_hash(document)}" + (f"-{n}" if n else ""))
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise TaskError(f"cannot make a run folder in {base}")


def recipe_hash(document: Document) -> str:
    """Six hex digits that stand for the resolved recipe."""
    text = to_yaml(document.tree) + to_yaml(document.model)
    return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()


@dataclass
class Place:
    """The folder of a run, there once it is asked for; a context manager, since nobody else works in it meanwhile.

    It is the newest that the same recipe has left with searches in it and without an end, if nobody is at work there.
    """

    document: Document
    _held: list[int] = field(default_factory=list, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._held:
            os.close(handle)

    @cached_property
    def folder(self) -> Path:
        """The folder, held until the run ends: the kernel lets go of it however that is."""
        left = sorted(_base(self.document).glob(f"*-{recipe_hash(self.document)}*/{JOURNAL}"), reverse=True)
        for folder in (journal.parent for journal in left):
            if _unfinished(folder) and self._hold(folder) and _unfinished(folder):
                return folder
        folder = new_folder(self.document)
        self._hold(folder)
        return folder

    def _hold(self, folder: Path) -> bool:
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._held.append(handle)
        return True


def _base(document: Document) -> Path:
    return resources.runs_home() / document.name


def _unfinished(folder: Path) -> bool:
    return folder.name != "latest" and not (folder / SUMMARY).exists()
