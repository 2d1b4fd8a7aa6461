"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assembler.errors import InputError


@contextmanager
def whole(file: str | Path) -> Iterator[Path]:
    """A temporary path beside `file` to write to; once the block ends well it is flushed to disk and takes its name.

    The folder is made if it is missing. If the block fails nothing is left behind and an old `file` stays as it was.
    Raises InputError where the file cannot be written: a full disk, no permission.
    """
    target = Path(file)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush(target.parent)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
