"""Several data sets side by side, for objectives that read samples of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data import core
from assembler.train.data.source import Arrays, Declared, Source
from assembler.train.spec import named_data


@dataset("zip")
def zipped(first: str | dict[str, Any], more: dict[str, Any]) -> Source:
    """The samples of `first`, each beside one of every other data set, which are gone through again where they end.

    A field of another bears its name before its own: `more: {subject: {name: digits, classes: [9]}}` gives
    `subject_image`. Both are data as under `data:`. A field that `first` has too is standardised by the mean and
    deviation of that. For adaptation, replay and prior preservation, unpaired domains, labelled beside unlabelled.
    Raises InputError where two fields would have one name.
    """
    main = named_data(first)
    parts = {"": main, **{f"{name}_": named_data(spec) for name, spec in more.items()}}

    def read(*wanted: str) -> list[Arrays]:
        found = [core.standardised(spec, main, wanted) for spec in parts.values()]
        return [_beside(dict(zip(parts, arrays, strict=True))) for arrays in zip(*found, strict=True)]

    def development() -> tuple[Arrays, Arrays]:
        train, validation = read("train", "validation")
        return train, validation

    def types() -> Declared:
        held = {head: core.declared(spec, read=True) for head, spec in parts.items()}
        fields = {f"{head}{name}": kind for head, one in held.items() if one for name, kind in one.fields.items()}
        main = held[""]
        return Declared(fields, main.classes if main else None)

    return Source(
        development,
        lambda: read("test")[0],
        targets=tuple(f"{head}{name}" for head, spec in parts.items() for name in core.source_of(spec).targets),
        declared=types,
        standardised=(),
        content=lambda: "".join(core.fingerprint(spec) for spec in parts.values()).encode(),
        licence="; ".join(dict.fromkeys(said for spec in parts.values() if (said := core.licence(spec)))),
    )


def _beside(found: Mapping[str, Arrays]) -> Arrays:
    """The fields of several data sets as those of one; all have as many samples as the first."""
    count = len(next(iter(found[""].values())))
    made: Arrays = {}
    for head, arrays in found.items():
        for name, array in arrays.items():
            if f"{head}{name}" in made:
                raise InputError(
                    f"two fields of zip are called '{head}{name}'", path="data", hint="give it another name"
                )
            made[f"{head}{name}"] = array[np.arange(count) % len(array)]
    return made
