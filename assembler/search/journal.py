"""A journal file that killed writers and full disks leave whole: locked by the kernel, cut back to its last line."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from assembler.assemble.store import is_full
from assembler.errors import StoreError


class Journal(JournalFileBackend):
    """Optuna's journal in one file. The lock is on the file itself, so that it dies with its holder.

    Raises StoreError where a write fails, with the space that is left where the disk is full; the file is then as
    before.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines behind the last whole one, all of them or none."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        try:
            with self._path.open("rb+", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                _append(file.fileno(), text)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> StoreError:
        said = f"cannot write {self._path}: {error.strerror}"
        if not is_full(error):
            return StoreError(said)
        free = shutil.disk_usage(self._path.parent).free / 1e6
        hint = "free some space; what is written is kept, and the same command goes on from there"
        return StoreError(f"{said} ({free:.1f} MB free on that disk)", hint=hint)


def _append(file: int, text: bytes) -> None:
    size = _whole(file)
    try:
        at = size
        while text:
            written = os.pwrite(file, text, at)
            text, at = text[written:], at + written
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _whole(file: int) -> int:
    """The size of the file up to its last whole line; what a killed writer left behind it is cut off."""
    size = end = os.fstat(file).st_size
    while end and os.pread(file, 1, end - 1) != b"\n":
        block = os.pread(file, min(end, 4096), max(0, end - 4096))
        end = max(0, end - 4096) + block.rfind(b"\n") + 1
    if end < size:
        os.ftruncate(file, end)
    return end
