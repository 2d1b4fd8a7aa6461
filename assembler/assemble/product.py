"""A finished product: a folder with a card that says what it is, how it was made and which files belong to it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assembler.errors import StoreError, near

CARD = "card.json"


@dataclass(frozen=True)
class Product:
    """What a task made. `card` holds run, inputs, code, needs, result, seconds, created, versions and files.

    Its `about` is for people: what enters and leaves, the recipe, the host, the cost (`assembler.pipeline.cards`).
    """

    key: str
    path: Path
    card: Mapping[str, Any] = field(compare=False, repr=False)

    @property
    def result(self) -> dict[str, Any]:
        """The plain data that the task's function returned."""
        result: dict[str, Any] = self.card["result"]
        return result

    @property
    def seconds(self) -> float:
        """How long making it took."""
        return float(self.card.get("seconds", 0.0))

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files, sorted, without the card."""
        return tuple(self.card["files"])

    @property
    def size(self) -> int:
        """Bytes of its files together."""
        return sum(entry["size"] for entry in self.card["files"].values())

    def file(self, name: str) -> Path:
        """The path of one of its files. Raises StoreError, with the nearest name, where it has none of that name."""
        if name not in self.card["files"]:
            raise StoreError(f"product {self.key[:8]} in {self.path} has no file '{name}'", hint=near(name, self.files))
        return self.path / name

    def check(self) -> None:
        """Read every file and raise StoreError where one differs from what was written."""
        for name, entry in self.card["files"].items():
            if sha256(self.path / name) != entry["sha256"]:
                raise StoreError(
                    f"{self.path / name} was changed or damaged since it was written",
                    hint=f"remove {self.path}: the next run makes it again",
                )


def read(path: Path, key: str) -> Product | None:
    """The product in a folder, or None where the folder is not whole: no card, a bad one, a file gone or cut short."""
    place = str(path)  # a store of ten thousand products is listed within a second, which joining paths alone takes
    try:
        with open(f"{place}/{CARD}", "rb") as stream:
            card = json.loads(stream.read())
        whole = card["key"] == key and isinstance(card["result"], dict)
        if whole and all(os.stat(f"{place}/{n}").st_size == entry["size"] for n, entry in card["files"].items()):
            return Product(key, path, card)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    return None


def describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of every file below a folder but its card, by relative path."""
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f != folder / CARD)
    return {f.relative_to(folder).as_posix(): {"size": f.stat().st_size, "sha256": sha256(f)} for f in files}


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
