"""Characters of one text file, for language models."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import Array, Arrays, Source, locate, missing


@dataset
def text(file: str, length: int = 64, validation: float = 0.1, test: float = 0.1) -> Source:
    """Stretches of `length` characters of a UTF-8 file, `tokens` [length], and the characters that follow, `next`.

    A character's number is its place among all that the file has, sorted. The last `test` (a share) of the file is the
    test split, the `validation` before it the validation split; stretches do not overlap.
    """
    place = locate(file, ".")
    if not place.is_file():
        raise missing("text", f"the file {place.name}", place.parent, "any text in UTF-8 will do")
    if length < 1 or not 0 < validation < 1 or not 0 < test < 1 or validation + test >= 1:
        hint = "for instance {length: 64, validation: 0.1, test: 0.1}"
        raise InputError("a text needs a length from 1 and shares above 0 that leave something to train on", hint=hint)

    def parts() -> list[Array]:
        codes = _codes(place)
        ends = [round(len(codes) * (1 - validation - test)), round(len(codes) * (1 - test))]
        return np.split(codes, ends)

    def development() -> tuple[Arrays, Arrays]:
        train, held, _ = parts()
        return _stretches(train, length, place), _stretches(held, length, place)

    return Source(development, lambda: _stretches(parts()[2], length, place), files=(place,), targets=("next",))


def _codes(file: Path) -> Array:
    try:
        characters = np.array(list(file.read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not text in UTF-8: {error}") from error
    return np.unique(characters, return_inverse=True)[1].astype(np.int64)


def _stretches(codes: Array, length: int, file: Path) -> Arrays:
    count = (len(codes) - 1) // length
    if count < 1:
        raise InputError(f"{file} is too short for stretches of {length} characters", path="data")
    rows = np.arange(count)[:, None] * length + np.arange(length)
    return {"tokens": codes[rows], "next": codes[rows + 1]}
