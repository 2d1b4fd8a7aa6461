"""Data sets that plug-ins return as plain mappings, and what is said of those that are wrong; npz of every form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import assembler as asm
from assembler.errors import InputError
from assembler.graph.core import TensorType
from assembler.registry.live import LIVE
from assembler.testing import DatasetContract
from assembler.train.data import fingerprint, load, load_test
from assembler.train.data.core import declared

RANDOM = np.random.RandomState(0)


def sums(count: int = 20, seed: int = 0) -> dict[str, Any]:
    """Two inputs of different kinds of number, and a target."""
    random = np.random.default_rng(seed)

    def draw(n: int) -> dict[str, Any]:
        x = random.standard_normal((n, 3, 2)) + 5
        mask = torch.from_numpy(random.random((n, 3)) < 0.5)
        return {"x": x, "mask": mask, "ids": [[1, 2]] * n, "total": x.sum((1, 2))}

    return {"train": draw(count), "test": draw(6), "targets": "total"}


@pytest.fixture
def own() -> Iterator[Callable[..., dict[str, str]]]:
    """Enters a function as a data set for one test."""
    before = dict(LIVE)

    def enter(function: Any, name: str = "own") -> dict[str, str]:
        asm.dataset(name)(function)
        return {"name": name}

    yield enter
    LIVE.clear()
    LIVE.update(before)


class TestSums(DatasetContract):
    name = "sums"
    args: ClassVar = {"count": 24}

    @pytest.fixture(autouse=True)
    def entered(self, own: Callable[..., dict[str, str]]) -> None:
        own(sums, "sums")


class TestDigits(DatasetContract):
    name = "digits"


class TestRetrieval(DatasetContract):
    name = "retrieval"
    args: ClassVar = {"train": 40, "validation": 20, "test": 20}


class TestRetrievalInRepositories(DatasetContract):
    name = "retrieval"
    args: ClassVar = {"train": 40, "validation": 20, "test": 20, "repositories": 4, "vocabulary": 20}


class TestLaggedSeries(DatasetContract):
    name = "lagged_series"
    args: ClassVar = {"train": 40, "validation": 20, "test": 20}


class TestAssociativeRecall(DatasetContract):
    name = "associative_recall"
    args: ClassVar = {"train": 40, "validation": 20, "test": 20}


class TestChains(DatasetContract):
    name = "chains"
    args: ClassVar = {"train": 40, "validation": 20, "test": 20, "masked": 0.25, "labelled": 10}


class TestMarkov(DatasetContract):
    name = "markov"
    args: ClassVar = {"train": 40, "validation": 20, "test": 20}


class TestRepeats(DatasetContract):
    name = "repeats"
    args: ClassVar = {"train": 40, "validation": 20, "test": 20, "length": 12, "words": 16, "period": [3, 6]}


def test_what_is_said_again_is_what_was_said() -> None:
    train = load({"name": "repeats", **TestRepeats.args}).train.fields
    for tokens, after, repeated in zip(train["tokens"], train["next"], train["repeated"], strict=True):
        period = int((repeated == 0).sum())
        assert 3 <= period <= 6 and len(set(tokens[:period].tolist())) == period
        assert torch.equal(tokens[period:], tokens[:-period]) and torch.equal(tokens[1:], after[:-1])


def test_a_period_longer_than_there_are_words_is_told() -> None:
    with pytest.raises(InputError, match="repeats need a period from 1 to 4, the words, not from 6 to 6"):
        load({"name": "repeats", "length": 12, "words": 4})


class TestSubset(DatasetContract):
    name = "subset"
    args: ClassVar = {"of": {"name": "digits"}, "classes": [3, 9], "train": 8}


class TestZip(DatasetContract):
    name = "zip"
    args: ClassVar = {
        "first": {"name": "subset", "of": {"name": "digits"}, "classes": [0, 1]},
        "more": {"subject": {"name": "subset", "of": {"name": "digits"}, "classes": [9], "train": 8}},
    }


def test_data_beside_others_is_on_their_scale_and_gone_through_again() -> None:
    data = load({"name": "zip", **TestZip.args})
    first, subject = (load(spec) for spec in (TestZip.args["first"], TestZip.args["more"]["subject"]))
    image, shown = data.train.fields["image"], data.train.fields["subject_image"]
    assert torch.equal(image, first.train.fields["image"]) and torch.equal(shown[:8], shown[8:16])
    own = subject.train.fields["image"]
    assert torch.allclose((shown[:8] - shown[:8].mean()) / shown[:8].std(), (own - own.mean()) / own.std(), atol=1e-5)
    assert set(data.train.fields["subject_label"].tolist()) == {9}
    assert abs(float(shown[:8].std()) - float(own.std())) > 1e-3


def test_a_class_that_is_not_there_and_one_name_for_two_fields_are_told() -> None:
    with pytest.raises(InputError, match="there is no sample of class 11"):
        load({"name": "subset", "of": {"name": "digits"}, "classes": [1, 11]})
    with pytest.raises(InputError, match="two fields of zip are called 'a_b_image'"):
        part = {"name": "digits"}
        load(
            {
                "name": "zip",
                "first": part,
                "more": {"a": {"name": "zip", "first": part, "more": {"b": part}}, "a_b": part},
            }
        )


def test_the_contract_finds_data_that_is_drawn_anew(own: Callable[..., dict[str, str]]) -> None:
    def fresh() -> dict[str, Any]:
        return {split: {"x": np.random.default_rng().random((8, 2))} for split in ("train", "test")}

    own(fresh, "fresh")
    contract = type("Contract", (DatasetContract,), {"name": "fresh"})()
    with pytest.raises(AssertionError, match="'x' differs between two calls: draw with a seed of its own"):
        contract.test_it_is_the_same_every_time()


def test_a_mapping_of_splits_is_a_data_set_that_is_fed_as_it_is(own: Callable[..., dict[str, str]]) -> None:
    spec = own(sums)
    data, test = load(spec), load_test(spec)
    assert (len(data.train), len(data.validation), len(test)) == (18, 2, 6)
    assert data.inputs == {
        "x": TensorType((2, 3, 2)), "mask": TensorType((2, 3), "bool"), "ids": TensorType((2, 2), "int64"),
    }  # fmt: skip
    assert data.train.targets == ("total",) and data.classes is None
    x = data.train.fields["x"]
    torch.testing.assert_close(x.double().sum((1, 2)), data.train.fields["total"].double(), rtol=1e-5, atol=1e-4)
    told = declared(spec)
    assert told is not None and {n: k for n, k in told.fields.items() if n != "total"} == data.inputs


def test_fields_are_standardised_where_it_says_so(own: Callable[..., dict[str, str]]) -> None:
    x = load(own(lambda: {**sums(), "standardise": ["x"]})).train.fields["x"]
    assert abs(x.mean()) < 1e-4 and abs(x.std(correction=0) - 1) < 0.1


def test_the_fingerprint_follows_the_arrays(own: Callable[..., dict[str, str]]) -> None:
    spec = own(sums)
    assert fingerprint(spec) == fingerprint(spec) != fingerprint({**spec, "seed": 1})


def test_source_is_public(own: Callable[..., dict[str, str]]) -> None:
    arrays = {"x": RANDOM.rand(6, 2), "label": np.arange(6) % 2}
    data = load(own(lambda: asm.Source(lambda: (arrays, arrays), lambda: arrays)))
    assert data.classes == 2 and abs(data.train.fields["x"].mean()) < 1e-5


GOOD = {"x": [[1.0], [2.0]], "label": [0, 1]}
FORM = "return {'train': {'x': array, 'label': array}, 'test': {...}}, or an assembler.Source"
WRONG: list[tuple[Any, str, str]] = [
    ([1], "returned a list, which is no data set", FORM),
    ({"train": GOOD}, "returned no split 'test'", FORM),
    ({"train": GOOD, "tests": GOOD}, "has no split 'tests': there are train, validation, test",
     "did you mean 'test' or 'targets'?"),
    ({"train": [1], "test": GOOD}, "has a list as its split 'train', which is a mapping of fields", FORM),
    ({"train": {**GOOD, "label": [0]}, "test": GOOD},
     "has 2 samples of 'x' and 1 of 'label' in the train split", "axis 0 of every field is the sample"),
    ({"train": GOOD, "test": {"x": [[1.0]]}}, "has the field 'label' in the train split and not in the test split",
     FORM),
    ({"train": GOOD, "test": {**GOOD, "x": [[1.0, 2.0]] * 2}},
     "has 'x' float32 [2] in the test split and float32 [1] in the train split",
     "samples of one field have one shape: pad them, and give a mask or lengths"),
    ({"train": {"x": ["a", "b"]}, "test": GOOD},
     "has a field 'x' of the train split that is not numbers of several samples: <U1 [2]",
     "numpy arrays, torch tensors or lists of one length each"),
    ({"train": GOOD, "test": GOOD, "targets": ["lable"]}, "has 'lable' under 'targets', which is no field",
     "did you mean 'label'?"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "said", "hint"), WRONG)
def test_what_is_no_data_set_is_told(own: Callable[..., dict[str, str]], found: Any, said: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        load(own(lambda: found))
    assert str(error.value) == f"data: error: data set 'own' {said}\n    hint: {hint}"


def test_an_error_in_the_function_names_its_line(own: Callable[..., dict[str, str]]) -> None:
    def broken() -> Any:
        return {}["nothing"]

    with pytest.raises(InputError) as error:
        load(own(broken))
    assert str(error.value).startswith("data: error: data set 'own' failed with KeyError: 'nothing'\n    hint: ")
    assert "test_own_data.py:" in str(error.value) and str(error.value).endswith('return {}["nothing"]')


def test_a_series_keeps_its_axes_and_a_picture_gets_a_channel(tmp_path: Path) -> None:
    x, y = RANDOM.rand(20, 8, 3).astype(np.float32), RANDOM.rand(20, 4, 3)
    np.savez(tmp_path / "s.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    spec = {"name": "npz", "path": str(tmp_path / "s.npz"), "target": "future"}
    assert load({**spec, "input": "past"}).inputs == {"past": TensorType((2, 8, 3))}
    assert load(spec).inputs == {"image": TensorType((2, 1, 8, 3))}
    assert load({**spec, "channel": False}).inputs == {"image": TensorType((2, 8, 3))}
    assert load({**spec, "input": "past", "channel": True}).inputs == {"past": TensorType((2, 1, 8, 3))}


def test_an_npz_file_of_several_inputs_and_targets(tmp_path: Path) -> None:
    arrays = {f"{name}_{part}": RANDOM.rand(n, 3) for part, n in (("train", 20), ("test", 5)) for name in "abc"}
    np.savez(tmp_path / "m.npz", **arrays)
    spec = {"name": "npz", "path": str(tmp_path / "m.npz"), "inputs": ["a", "b"], "targets": ["c"]}
    data = load(spec)
    assert data.train.inputs == ("a", "b") and data.train.targets == ("c",) and len(load_test(spec)) == 5
    assert np.allclose(load_test(spec).fields["c"], arrays["c_test"])
    with pytest.raises(InputError, match=r"has no array 'd_train'\n    hint: it has a_train, b_train"):
        load({**spec, "inputs": ["a", "d"]})
    with pytest.raises(InputError, match="'a' is an input and a target"):
        load({**spec, "targets": ["a"]})
    np.savez(tmp_path / "m.npz", **{**arrays, "c_train": RANDOM.rand(9, 3)})
    with pytest.raises(InputError, match="a_train has 20 samples and c_train has 9"):
        load(spec)


def test_maps_of_classes_are_targets(tmp_path: Path) -> None:
    x, y = RANDOM.rand(20, 4, 4), RANDOM.randint(0, 3, (20, 4, 4))
    y[0, 0, 0] = -100
    np.savez(tmp_path / "m.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    spec = {"name": "npz", "path": str(tmp_path / "m.npz")}
    data = load(spec)
    assert data.classes == 3 and data.train.fields["label"].shape[1:] == (4, 4)
    assert int(load_test(spec).fields["label"].min()) == -100
    np.savez(tmp_path / "m.npz", x_train=x, y_train=y.clip(0) - 1, x_test=x, y_test=y)
    with pytest.raises(InputError, match=r"has the label -1\n    hint: labels count from 0; -100 is a place without"):
        load(spec)
