"""What every data set keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from assembler.registry import lookup
from assembler.train.data.core import Split, declared, fingerprint, load, load_test
from assembler.train.data.returned import as_source, kind_of


class DatasetContract:
    """What every data set keeps to: splits of the same fields, read the same every time, and as they are declared.

    `args` are arguments that make it small.

    >>> class TestGraphs(DatasetContract):
    ...     name = "graphs"
    ...     args: ClassVar = {"train": 16}
    """

    name: ClassVar[str]
    args: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def splits(self) -> dict[str, Split]:
        """Every split as tensors."""
        data = load(self.spec())
        return {"train": data.train, "validation": data.validation, "test": load_test(self.spec())}

    def spec(self) -> dict[str, Any]:
        """The data set as a recipe names it."""
        return {"name": self.name, **self.args}

    def test_every_split_has_samples_of_every_field(self) -> None:
        for name, split in self.splits().items():
            sizes = {field: len(tensor) for field, tensor in split.fields.items()}
            assert len(set(sizes.values())) == 1 and len(split), f"samples of the {name} split: {sizes}"

    def test_the_splits_have_the_same_fields(self) -> None:
        splits = self.splits()
        wanted = {f: (t.dtype, tuple(t.shape[1:])) for f, t in splits["train"].fields.items()}
        for name, split in splits.items():
            found = {f: (t.dtype, tuple(t.shape[1:])) for f, t in split.fields.items()}
            assert found == wanted, f"the {name} split has {found}, the train split {wanted}"

    def test_it_is_the_same_every_time(self) -> None:
        function = lookup("dataset", self.name).load()
        first, again = (as_source(function(**self.args), self.name) for _ in range(2))
        for one, other in zip((*first.development(), first.test()), (*again.development(), again.test()), strict=True):
            for field, array in one.items():
                same = torch.equal(torch.from_numpy(array.copy()), torch.from_numpy(other[field].copy()))
                assert same, f"'{field}' differs between two calls: draw with a seed of its own"
        assert fingerprint(self.spec()) == fingerprint(self.spec()), "its fingerprint differs between two calls"

    def test_what_is_declared_is_what_is_read(self) -> None:
        told, train = declared(self.spec()), load(self.spec()).train
        if told is None:
            return
        found = {f: (kind_of(t.numpy()).dtype, tuple(t.shape[1:])) for f, t in train.fields.items()}
        assert {f: (kind.dtype, kind.shape[1:]) for f, kind in told.fields.items()} == found

    def test_no_sample_of_the_test_split_is_trained_on(self) -> None:
        splits = self.splits()
        seen = {_bytes(splits[name], i) for name in ("train", "validation") for i in range(len(splits[name]))}
        both = sum(_bytes(splits["test"], i) in seen for i in range(len(splits["test"])))
        assert not both, f"{both} samples of the test split are in the train or validation split too"


def _bytes(split: Split, i: int) -> bytes:
    return b"".join(split.fields[name][i].numpy().tobytes() for name in sorted(split.fields))
