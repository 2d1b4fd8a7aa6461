"""What a `@dataset` function may return in the place of a `Source`: its splits, as mappings of named arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from assembler.errors import InputError, near
from assembler.graph.core import TensorType
from assembler.train.data.source import Array, Arrays, Declared, Source
from assembler.train.data.split import carve

SPLITS = ("train", "validation", "test")
FORM = "return {'train': {'x': array, 'label': array}, 'test': {...}}, or an assembler.Source"
_MORE = ("targets", "standardise", "licence")
_SHARE = 0.1  # of the training samples, where no validation split is given


def as_source(found: object, name: str) -> Source:
    """The source that a function's result stands for. Raises InputError for what is no data set.

    A mapping has the splits `train`, `test` and, where it is not to be a tenth of `train`, `validation`, each a mapping
    of fields (arrays, tensors or lists, axis 0 the sample). `targets` names the fields that are compared with (`label`
    by default) and `standardise` those to bring to mean 0 and deviation 1 (none by default); `licence` is the data's.
    """
    if isinstance(found, Source):
        return found
    if not isinstance(found, Mapping):
        raise _wrong(name, f"returned a {type(found).__name__}, which is no data set")
    if unknown := [key for key in found if key not in (*SPLITS, *_MORE)]:
        hint = near(str(unknown[0]), (*SPLITS, *_MORE)) or FORM
        raise _wrong(name, f"has no split '{unknown[0]}': there are {', '.join(SPLITS)}", hint)
    if missing := [split for split in ("train", "test") if split not in found]:
        raise _wrong(name, f"returned no split '{missing[0]}'")
    splits = {split: _fields(found[split], split, name) for split in SPLITS if split in found}
    _alike(splits, name)
    targets = _names(found, "targets", splits["train"], name)
    if targets is None:
        targets = ("label",) if "label" in splits["train"] else ()
    standardised = _names(found, "standardise", splits["train"], name) or ()
    if "validation" not in splits:
        first = targets[0] if targets else next(iter(splits["train"]))
        splits["train"], splits["validation"] = carve(splits["train"], first, _SHARE, None, 0)
    return replace(_held(splits, targets, standardised), licence=str(found.get("licence", "")))


def _held(splits: Mapping[str, Arrays], targets: tuple[str, ...], standardised: tuple[str, ...]) -> Source:
    types = {field: kind_of(array, field in standardised) for field, array in splits["train"].items()}
    label = targets[0] if targets else ""
    known = [splits[split][label] for split in ("train", "validation") if label in splits[split]]
    whole = known and np.issubdtype(known[0].dtype, np.integer) and all(array.size for array in known)
    classes = int(max(array.max() for array in known)) + 1 if whole else None
    return Source(
        lambda: (splits["train"], splits["validation"]),
        lambda: splits["test"],
        targets=targets,
        declared=lambda: Declared(types, classes),
        standardised=standardised,
        content=lambda: _digest(splits, (targets, standardised)),
    )


def kind_of(array: Array, standardised: bool = False) -> TensorType:
    """The type of a field as a tensor, with a batch of 2: float32, bool, or int64."""
    floating = standardised or np.issubdtype(array.dtype, np.floating)
    kind = "float32" if floating else "bool" if array.dtype == np.bool_ else "int64"
    return TensorType((2, *array.shape[1:]), kind)


def _fields(given: object, split: str, name: str) -> Arrays:
    if not isinstance(given, Mapping) or not given:
        kind = "nothing" if isinstance(given, Mapping) else f"a {type(given).__name__}"
        raise _wrong(name, f"has {kind} as its split '{split}', which is a mapping of fields")
    fields = {
        str(field): _array(value, f"field '{field}' of the {split} split", name) for field, value in given.items()
    }
    first, size = next((field, len(array)) for field, array in fields.items())
    for field, array in fields.items():
        if len(array) != size:
            said = f"has {size} samples of '{first}' and {len(array)} of '{field}' in the {split} split"
            raise _wrong(name, said, "axis 0 of every field is the sample")
    if not size:
        raise _wrong(name, f"has no samples in the {split} split")
    return fields


def _array(value: Any, what: str, name: str) -> Array:
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError) as error:
        raise _wrong(name, f"has a {what} that is no array: {error}") from error
    numbers = (
        array.dtype == np.bool_ or np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    )
    if not array.ndim or not numbers:
        said = f"has a {what} that is not numbers of several samples: {array.dtype} {list(array.shape)}"
        raise _wrong(name, said, "numpy arrays, torch tensors or lists of one length each")
    return array


def _alike(splits: Mapping[str, Arrays], name: str) -> None:
    """Raise InputError unless all splits have the fields of the training split, in its shapes and kinds of number."""
    train = splits["train"]
    for split, fields in splits.items():
        if missing := [field for field in train if field not in fields]:
            raise _wrong(name, f"has the field '{missing[0]}' in the train split and not in the {split} split")
        for field, array in fields.items():
            if field not in train:
                raise _wrong(name, f"has the field '{field}' in the {split} split and not in the train split")
            ours, theirs = kind_of(array), kind_of(train[field])
            if ours != theirs:
                said = f"has '{field}' {_shown(ours)} in the {split} split and {_shown(theirs)} in the train split"
                raise _wrong(name, said, "samples of one field have one shape: pad them, and give a mask or lengths")


def _names(found: Mapping[str, Any], key: str, train: Arrays, name: str) -> tuple[str, ...] | None:
    said = found.get(key)
    if said is None:
        return None
    names = (said,) if isinstance(said, str) else tuple(map(str, said))
    for field in names:
        if field not in train:
            hint = near(field, train) or f"there are {', '.join(train)}"
            raise _wrong(name, f"has '{field}' under '{key}', which is no field", hint)
    return names


def _digest(splits: Mapping[str, Arrays], roles: tuple[tuple[str, ...], ...]) -> bytes:
    digest = hashlib.blake2b(repr(roles).encode(), digest_size=16)
    for split, fields in splits.items():
        for field, array in fields.items():
            digest.update(f"{split}/{field}/{array.dtype.str}/{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _shown(kind: TensorType) -> str:
    return f"{kind.dtype} {list(kind.shape[1:])}"


def _wrong(name: str, what: str, hint: str = FORM) -> InputError:
    return InputError(f"data set '{name}' {what}", path="data", hint=hint)
