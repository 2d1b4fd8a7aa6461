"""The weights that a run began with, pinned by content: a lock file says which they were, and is held to it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from assembler.compile.checkpoints import HUB, read_checkpoint
from assembler.errors import InputError, Problem
from assembler.pipeline.spec import RunSpec
from assembler.pipeline.weights.initial import digest
from assembler.pipeline.weights.loading import Place
from assembler.recipe.overrides import FILE
from assembler.recipe.values import Leaf, Map, Seq, Value, plain


def digests(spec: RunSpec, places: Iterable[Place]) -> dict[str, str]:
    """The SHA-256 of the tensors at each place, by the name that a lock in the run's own folder has for it."""
    return {_name(place, spec.document.folder): digest(read_checkpoint(place.file)) for place in places}


def check(spec: RunSpec, places: Iterable[Place]) -> None:
    """Raise InputError, at their place in the recipe, for weights that are not those of the recipe's `lock:`."""
    lock = spec.document.tree.get("lock", Map())
    said = plain(lock.get("weights", Map())) if isinstance(lock, Map) else {}
    pinned: dict[str, Any] = said if isinstance(said, dict) else {}
    problems: list[Problem] = []
    for place in places:
        wanted = pinned.get(_name(place, spec.document.folder))
        if wanted is None:
            continue
        what = f"this run was made with the weights '{place.weights.file}' of sha256 {wanted[:12]}..."
        if not str(place.file).startswith(HUB) and not Path(place.file).exists():
            hint = f"put that file there, it is to be {place.file}"
            problems.append(Problem(f"{what}, which are not there", place.weights.span, hint=hint))
        elif (found := digest(read_checkpoint(place.file))) != wanted:
            hint = "put that file there, or take `lock:` out to run it with this one"
            problems.append(Problem(f"{what}, {place.file} has {found[:12]}...", place.weights.span, hint=hint))
    if problems:
        raise InputError(problems)


def relative(value: Map, folder: Path) -> Map:
    """A model's recipe with every `weights: {file}` relative to `folder` where the file lies at or below that."""
    for key, inner in value:
        said = inner if key.rpartition(".")[2] == "weights" and isinstance(inner, Map) else Map()  # behind a path, too
        file = said.get("file") if "file" in said else None
        moved = said.set("file", _moved(file, folder)) if isinstance(file, Leaf) else _inside(inner, folder)
        value = value.set(key, moved)
    return value


def _inside(value: Value, folder: Path) -> Value:
    if isinstance(value, Seq):
        return replace(value, items=tuple(_inside(v, folder) for v in value.items))
    return relative(value, folder) if isinstance(value, Map) else value


def _moved(file: Leaf, folder: Path) -> Leaf:
    said, span = str(file.value), file.span
    if said.startswith(HUB) or Path(said).is_absolute() or span is None or not Path(span.file).is_file():
        return file
    return replace(file, value=_from(Path(span.file).parent / said, folder) or said)


def _name(place: Place, folder: Path) -> str:
    span, said = place.weights.span, place.weights.file
    if said.startswith(HUB) or (span is not None and span.file == FILE):
        return said
    return _from(Path(place.file), folder) or said


def _from(file: Path, folder: Path) -> str:
    """The path from a folder to a file at or below it, else ""."""
    path = os.path.relpath(file.resolve(), folder.resolve())
    return "" if path.startswith("..") else Path(path).as_posix()
