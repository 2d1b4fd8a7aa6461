"""The parts store: one folder per product, named by its key, that appears whole or not at all.

    <root>/parts/<first two digits>/<key>/   card.json and the files that the task wrote
    <root>/tmp/<key>/                        a product in the making, owned by whoever holds the key's lock
    <root>/locks/<key>                       the lock files
    <root>/values/<key>.safetensors          values of frozen models, see `values`

Any number of processes may use one store at the same time.
"""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assembler.assemble.locks import locked
from assembler.assemble.product import CARD, Product, describe, read
from assembler.errors import InputError, StoreError, near

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Store:
    """Finished products under `root`, which is created on first use."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().resolve()
        self.parts, self.tmp, self.locks = (self.root / name for name in ("parts", "tmp", "locks"))
        self.values = self.root / "values"

    def get(self, key: str) -> Product | None:
        """The product of that key, or None where there is none that is whole."""
        return read(self._place(key), key)

    def products(self) -> Iterator[Product]:
        """Every whole product, by key."""
        for key in self.keys():
            if product := self.get(key):
                yield product

    def keys(self) -> list[str]:
        """The keys of all folders of products, whole or not, sorted."""
        with suppress(FileNotFoundError):
            shelves = sorted(name for name in os.listdir(self.parts) if len(name) == 2)
            return [key for shelf in shelves for key in sorted(_listed(self.parts / shelf))]
        return []

    def find(self, beginning: str) -> Product:
        """The product whose key begins so. Raises InputError where none does, or several do."""
        keys = self.keys()
        found = [p for key in keys if key.startswith(beginning) and (p := self.get(key))]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"{len(found)} products begin with '{beginning}'", hint="give more digits")
        hint = near(beginning, [key[: len(beginning)] for key in keys]) or "`assembler parts ls` lists them"
        raise InputError(f"the parts store has no product '{beginning}'", hint=hint)

    def ancestry(self, product: Product) -> Iterator[tuple[int, str, str]]:
        """(depth, what it is to the one that needs it, key) of a product and of all that it was made of, in order.

        What several need comes once. A need may be gone from the store.
        """
        seen: set[str] = set()
        stack = [(0, "", product.key)]
        while stack:
            depth, name, key = stack.pop()
            if key in seen:
                continue
            seen.add(key)
            yield depth, name, key
            made = self.get(key)
            needs = made.card.get("needs", {}) if made else {}
            stack += [(depth + 1, need, needs[need]) for need in reversed(needs)]

    @contextmanager
    def lock(self, key: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the right to make `key`, against other processes and threads too.

        Waits for it, or with `wait=False` yields False at once where another holds it. Whoever gets it looks with
        `get` first: the holder before may have finished the product. The lock of a killed process is free.
        """
        with ExitStack() as stack:
            with self._writing(self.locks / key):
                self.locks.mkdir(parents=True, exist_ok=True)
                held = stack.enter_context(locked(self.locks / key, wait=wait))
            yield held

    @contextmanager
    def scratch(self, key: str) -> Iterator[Path]:
        """An empty folder to make `key` in, gone after the block unless it was committed. The caller holds the lock."""
        folder = self.tmp / key
        with self._writing(folder):
            self._discard(folder)
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            self._discard(folder)

    def commit(self, folder: Path, key: str, card: Mapping[str, Any]) -> Product:
        """Make a folder of the store's own disk the product of `key`; where that is there already, discard ours.

        `card` holds plain data, `result` among it; the files, their hashes, the date and the versions are added.
        Raises StoreError where the disk is full; then there is no product.
        """
        place = self._place(key)
        with self._writing(place):
            made = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions()}
            text = json.dumps({"key": key, **card, **made, "files": describe(folder)}, indent=1, allow_nan=False)
            (folder / CARD).write_text(text + "\n", encoding="utf-8")
            _sync_below(folder)
            self._move(folder, place)
        product = self.get(key)
        if product is None:
            raise StoreError(f"{place} was changed while it was written")
        return product

    def adopt(self, folder: Path, key: str) -> None:
        """Make a folder of the store's own disk, which is a whole product already, the product of `key`."""
        place = self._place(key)
        with self._writing(place):
            _sync_below(folder)
            self._move(folder, place)

    def remove(self, key: str) -> None:
        """Delete a product, once nobody is making it; does nothing where there is none."""
        with self.lock(key):
            self._retire(key)

    def clean(self) -> None:
        """Delete what killed processes left: half-made products and lock files that nobody alive owns."""
        left = {f.name.partition("~")[0] for folder in (self.tmp, self.locks) for f in folder.glob("*")}
        for key in sorted(left):
            with self.lock(key, wait=False) as held:
                for folder in self.tmp.glob(f"{key}*") if held else ():
                    self._discard(folder)

    def _place(self, key: str) -> Path:
        return Path(f"{self.parts}/{key[:2]}/{key}")  # three times as quick as joining, of which there may be 10,000

    def _move(self, folder: Path, place: Path) -> None:
        if self.get(place.name):
            self._discard(folder)
            return
        self._retire(place.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not self.get(place.name):
                raise
            self._discard(folder)  # another process was first
        for parent in (place.parent, self.parts):
            _sync(parent)

    def _retire(self, key: str) -> None:
        """Take a folder out of sight in one step, then delete it."""
        trash = self.tmp / f"{key}~{os.getpid()}"
        self._discard(trash)
        self.tmp.mkdir(parents=True, exist_ok=True)
        try:
            self._place(key).rename(trash)
        except FileNotFoundError:
            return
        self._discard(trash)

    @staticmethod
    def _discard(folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.failure(error, path) from error

    def failure(self, error: Exception, path: Path) -> StoreError:
        """The StoreError of a write that went wrong; of a full disk it tells the space that is left."""
        said = getattr(error, "strerror", None)
        if not is_full(error):
            return StoreError(f"cannot write {path}: {said or error}")
        reason = f"cannot write {path}: {said or 'No space left on device'}"
        there = next(p for p in (self.root, *self.root.parents) if p.exists())
        free = shutil.disk_usage(there).free / 1e6
        hint = "free some space, or point ASSEMBLER_HOME at another disk"
        return StoreError(f"{reason} ({free:.1f} MB free on that disk)", hint=hint)


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full; safetensors tells it in words only."""
    return (isinstance(error, OSError) and error.errno in _FULL) or "No space left on device" in str(error)


def versions() -> dict[str, str]:
    """Versions of Python, of this package, and of the numeric libraries that this process has imported."""
    found = {"python": platform.python_version()}
    try:
        found["assembler"] = importlib.metadata.version("assembler")
    except importlib.metadata.PackageNotFoundError:
        found["assembler"] = "checkout"
    for name in ("numpy", "torch"):
        if name in sys.modules:
            found[name] = str(sys.modules[name].__version__)
    return found


def _sync_below(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
