"""Data sets: what `load` gives, what it keeps back, and what it says when something is wrong."""

from __future__ import annotations

import gzip
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from assembler.errors import InputError
from assembler.graph.core import TensorType
from assembler.train.data import fingerprint, load, load_test
from assembler.train.data.core import source_of
from assembler.train.data.idx import read_idx
from assembler.train.data.split import stratified

RANDOM = np.random.RandomState(0)


def write_idx(path: Path, array: np.ndarray) -> None:
    kind = {"uint8": 0x08, "float32": 0x0D}[array.dtype.name]
    body = (
        struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)


@pytest.fixture(autouse=True)
def some_data_home(tmp_path_factory, monkeypatch, request):
    if "real" not in request.node.name:
        monkeypatch.setenv("ASSEMBLER_DATA", str(tmp_path_factory.mktemp("home")))


def message(error: pytest.ExceptionInfo[InputError]) -> str:
    return str(error.value)


def test_digits_has_the_promised_splits():
    data, test = load({"name": "digits"}), load_test({"name": "digits"})
    assert (len(data.train), len(data.validation), len(test)) == (1100, 300, 397)
    assert data.inputs == {"image": TensorType((2, 1, 8, 8))} and data.classes == 10
    assert data.train.fields["label"].dtype == torch.int64
    image = data.train.fields["image"]
    assert image.dtype == torch.float32 and abs(image.mean()) < 1e-4 and abs(image.std() - 1) < 1e-3
    for split in (data.train, data.validation, test):
        counts = torch.bincount(split.fields["label"])
        assert counts.max() - counts.min() <= 0.05 * len(split)


def test_the_split_seed_moves_validation_samples_and_never_the_test():
    spec = {"name": "digits", "split_seed": 3}
    base, other = load({"name": "digits"}), load(spec)
    assert not torch.equal(base.validation.fields["label"], other.validation.fields["label"])
    assert torch.equal(load_test({"name": "digits"}).fields["label"], load_test(spec).fields["label"])


def test_digits_splits_do_not_overlap():
    raw = np.load(Path(sys.modules["assembler.train.data.digits"].__file__).with_name("digits.npz"))
    data, test = load({"name": "digits"}), load_test({"name": "digits"})
    everything = torch.cat([split.fields["image"] for split in (data.train, data.validation, test)]).flatten(1)
    assert len(everything) == len(raw["images"]) == 1797
    assert len(everything.unique(dim=0)) == len(np.unique(raw["images"].reshape(1797, -1), axis=0))


def test_loading_twice_reads_once():
    assert load({"name": "digits"}) is load({"name": "digits"})


def test_fingerprint_follows_content_and_arguments_not_defaults_spelt_out(tmp_path):
    assert fingerprint({"name": "digits"}) == fingerprint({"name": "digits", "split_seed": 0})
    assert fingerprint({"name": "digits"}) != fingerprint({"name": "digits", "split_seed": 1})
    prints = []
    for value in (0, 1):
        arrays = {f"{a}_{p}": np.full(20, value, np.uint8) for a in "xy" for p in ("train", "test")}
        np.savez(tmp_path / "a.npz", **arrays)
        os.utime(tmp_path / "a.npz", (value, value))
        prints.append(fingerprint({"name": "npz", "path": str(tmp_path / "a.npz")}))
    assert prints[0] != prints[1]


def test_a_changed_file_is_read_again(tmp_path):
    file = tmp_path / "a.npz"
    for value in (1, 2):
        y = np.arange(20) % 2 + value
        np.savez(file, x_train=RANDOM.rand(20, 3), y_train=y, x_test=RANDOM.rand(4, 3), y_test=y[:4])
        os.utime(file, (value, value))
        assert load({"name": "npz", "path": str(file)}).classes == value + 2


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"name": "digts"}, "data: error: unknown dataset 'digts'\n    hint: did you mean 'digits'?"),
        (
            {"name": "digits", "split_sed": 1},
            "data: error: dataset 'digits' has no argument 'split_sed'\n    hint: did you mean 'split_seed'?",
        ),
        (
            {"name": "digits", "split_seed": "one"},
            "data: error: 'split_seed' of dataset 'digits' must be an integer, not 'one'",
        ),
        ({}, "data: error: data needs a 'name', a string\n    hint: {name: digits}"),
        ({"name": "npz"}, "data: error: dataset 'npz' needs 'path'\n    hint: for instance {name: npz, path: ...}"),
    ],
)
def test_wrong_specs_are_named(spec, expected):
    with pytest.raises(InputError) as error:
        load(spec)
    assert message(error) == expected


def test_missing_fashion_mnist_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSEMBLER_DATA", str(tmp_path))
    (tmp_path / "fashion_mnist").mkdir()
    write_idx(tmp_path / "fashion_mnist" / "train-labels-idx1-ubyte.gz", np.zeros(3, np.uint8))
    with pytest.raises(InputError) as error:
        load({"name": "fashion_mnist"})
    assert message(error) == (
        "error: data set 'fashion_mnist' needs 3 of its 4 files (train-images-idx3-ubyte.gz, "
        f"t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz) in {tmp_path}/fashion_mnist "
        f"(ASSEMBLER_DATA is {tmp_path})\n"
        "    hint: put them there, or give `path`, or set ASSEMBLER_DATA to the folder above; they are in data/"
        "fashion of github.com/zalandoresearch/fashion-mnist (31 MB, MIT)"
    )


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_fashion_mnist_reads_its_idx_files(tmp_path, suffix):
    train, label = RANDOM.randint(0, 256, (50, 28, 28)).astype(np.uint8), (np.arange(50) % 10).astype(np.uint8)
    for part, count in (("train", 50), ("t10k", 10)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{suffix}", train[:count])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{suffix}", label[:count])
    spec = {"name": "fashion_mnist", "path": str(tmp_path), "validation": 10, "train": 20}
    data = load(spec)
    assert (len(data.train), len(data.validation), data.classes) == (20, 10, 10)
    assert torch.bincount(data.train.fields["label"]).tolist() == [2] * 10
    test = load_test(spec).fields["image"]
    slope = (test.double() * 1000).flatten()
    assert abs(np.corrcoef(slope.numpy(), train[:10].flatten())[0, 1] - 1) < 1e-6


@pytest.mark.skipif(not os.environ.get("ASSEMBLER_DATA"), reason="ASSEMBLER_DATA does not say where the files lie")
def test_the_real_fashion_mnist():
    if not (Path(os.environ["ASSEMBLER_DATA"]) / "fashion_mnist").is_dir():
        pytest.skip("ASSEMBLER_DATA has no folder fashion_mnist")
    data = load({"name": "fashion_mnist"})
    assert (len(data.train), len(data.validation), data.classes) == (55000, 5000, 10)
    assert data.inputs == {"image": TensorType((2, 1, 28, 28))}
    assert len(load_test({"name": "fashion_mnist"})) == 10000


def test_idx_round_trip_of_floats(tmp_path):
    array = RANDOM.rand(4, 3, 2).astype(np.float32)
    write_idx(tmp_path / "a", array)
    assert np.array_equal(read_idx(tmp_path / "a"), array)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"hello", "is not an IDX file: it begins with 68 65 6c 6c"),
        (b"", "is not an IDX file: it begins with nothing"),
        (b"\0\0\x08\1\0\0\0\5abc", "is damaged: its header promises 5 bytes and there are only 3"),
        (b"\0\0\x08\2\xff\xff\xff\xff\xff\xff\xff\xffabc", "promises 18446744065119617025 bytes and there are only 3"),
        (b"\0\0\x08\1\0\0\0\2abc", "is damaged: its header promises 2 bytes and there are more"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, content, expected):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_idx(tmp_path / "a")
    assert expected in message(error)


def test_a_cut_gzip_is_refused(tmp_path):
    write_idx(tmp_path / "a.gz", RANDOM.randint(0, 255, 500).astype(np.uint8))
    (tmp_path / "a.gz").write_bytes((tmp_path / "a.gz").read_bytes()[:-60])
    with pytest.raises(InputError, match=r"cannot read .*a\.gz: Compressed file ended"):
        read_idx(tmp_path / "a.gz")


def test_idx_files_of_any_name(tmp_path):
    names = {"train_images": "a", "train_labels": "b", "test_images": "c.gz", "test_labels": "d"}
    for key, name in names.items():
        shape = (30, 5, 4) if key.endswith("images") else (30,)
        write_idx(tmp_path / name, RANDOM.randint(0, 3, shape).astype(np.uint8))
    spec = {"name": "idx", **names, "path": str(tmp_path), "validation": 0.2}
    data = load(spec)
    assert (len(data.train), len(data.validation), len(load_test(spec))) == (24, 6, 30)
    assert data.inputs["image"].shape == (2, 1, 5, 4)


def test_npz_uses_its_own_validation_arrays_and_names(tmp_path):
    arrays = {}
    for part, count in (("train", 12), ("val", 5), ("test", 7)):
        arrays |= {f"x_{part}": RANDOM.rand(count, 3), f"y_{part}": RANDOM.rand(count, 2)}
    np.savez_compressed(tmp_path / "r.npz", **arrays)
    spec = {"name": "npz", "path": str(tmp_path / "r.npz"), "input": "x", "target": "y"}
    data = load(spec)
    assert (len(data.train), len(data.validation), len(load_test(spec)), data.classes) == (12, 5, 7, None)
    assert data.train.inputs == ("x",)
    assert np.allclose(data.validation.fields["y"], arrays["y_val"])
    expected = (arrays["x_val"] - arrays["x_train"].mean(0)) / arrays["x_train"].std(0)
    assert np.allclose(data.validation.fields["x"], expected, atol=1e-5)


def test_npz_keeps_tokens_as_integers(tmp_path):
    x, y = RANDOM.randint(0, 99, (20, 6)), np.arange(20) % 2
    np.savez(tmp_path / "t.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    data = load({"name": "npz", "path": str(tmp_path / "t.npz"), "input": "tokens"})
    assert data.inputs == {"tokens": TensorType((2, 6), "int64")}


def test_npz_refuses_pickles_and_names_missing_arrays(tmp_path):
    file, y = tmp_path / "p.npz", np.zeros(4, int)
    np.savez(file, x_train=np.array([object()] * 4), y_train=y)
    with pytest.raises(InputError, match=r"cannot read 'x_train' of .*\n    hint: pickled objects are refused"):
        load({"name": "npz", "path": str(file)})
    np.savez(file, x_trian=np.zeros((4, 2)), y_train=y)
    with pytest.raises(InputError, match="has no array 'x_train'\n    hint: it has x_trian, y_train"):
        load({"name": "npz", "path": str(file)})
    file.write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"p\.npz is not an npz file"):
        load({"name": "npz", "path": str(file)})
    with pytest.raises(InputError, match=r"data set 'npz' needs the file q\.npz in .* \(ASSEMBLER_DATA is"):
        load({"name": "npz", "path": str(tmp_path / "q.npz")})


def test_values_that_are_not_finite_are_refused(tmp_path):
    x = np.ones((10, 2))
    x[3, 1] = np.nan
    np.savez(tmp_path / "n.npz", x_train=x, y_train=np.arange(10) % 2)
    with pytest.raises(InputError) as error:
        load({"name": "npz", "path": str(tmp_path / "n.npz"), "validation": 2})
    assert "split has values that are not finite" in message(error)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"validation": 20}, "data: error: cannot take 20 samples of 20 for validation"),
        ({"validation": 0}, "data: error: cannot take 0 samples of 20 for validation"),
        ({"validation": 5, "train": 16}, "data: error: cannot take 16 samples for training: there are 15"),
    ],
)
def test_too_few_samples_are_named(tmp_path, args, expected):
    np.savez(tmp_path / "f.npz", x_train=RANDOM.rand(20, 2), y_train=np.arange(20) % 2)
    with pytest.raises(InputError) as error:
        load({"name": "npz", "path": str(tmp_path / "f.npz"), **args})
    assert message(error) == expected


def test_image_folder_round_trip(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow, the extra `images`, is not installed")
    pictures = {}
    for part in ("train", "val", "test"):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                pixels = RANDOM.randint(0, 256, (6, 5, 3)).astype(np.uint8)
                image.fromarray(pixels).save(tmp_path / part / name / f"{i}.png")
                pictures[part, label, i] = pixels
    spec = {"name": "image_folder", "path": str(tmp_path)}
    data = load(spec)
    assert data.inputs == {"image": TensorType((2, 3, 6, 5))} and data.classes == 2
    assert data.validation.fields["label"].tolist() == [0] * 4 + [1] * 4
    stack = np.stack([pictures["train", label, i] for label in (0, 1) for i in range(4)]).transpose(0, 3, 1, 2)
    expected = (stack - stack.mean((0, 2, 3), keepdims=True)) / stack.std((0, 2, 3), keepdims=True)
    assert np.allclose(data.train.fields["image"], expected, atol=1e-5)
    assert load({**spec, "mode": "grey", "size": 4}).inputs["image"].shape == (2, 1, 4, 4)
    image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "test" / "cat" / "0.png")
    with pytest.raises(InputError, match=r"is 6 x 5 and .* is 2 x 2\n    hint: `size: 64` makes all 64 x 64"):
        load_test(spec)


def test_image_folder_without_pillow_says_what_to_install(tmp_path, monkeypatch):
    for part in ("train", "test"):
        (tmp_path / part / "cat").mkdir(parents=True)
        (tmp_path / part / "cat" / "0.png").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(InputError) as error:
        load({"name": "image_folder", "path": str(tmp_path)})
    assert message(error) == "error: reading pictures needs Pillow\n    hint: pip install 'assembler[images]'"


def test_image_folder_that_is_not_there(tmp_path):
    with pytest.raises(
        InputError, match=r"data set 'image_folder' needs a folder train in .*\n    hint: make it PATH/train/CLASS"
    ):
        load({"name": "image_folder", "path": str(tmp_path)})


def test_stratified_choice_is_exact_fair_and_frozen():
    labels = np.array([0] * 50 + [1] * 30 + [2] * 21)
    rest, chosen = stratified(labels, 20, seed=5)
    assert sorted([*rest, *chosen]) == list(range(101))
    assert np.bincount(labels[chosen]).tolist() == [10, 6, 4]
    assert stratified(np.zeros(9, int), 3, seed=0)[1].tolist() == [1, 2, 7]


def test_blobs_have_a_run_of_stronger_channels_if_wanted():
    spec = {"name": "blobs", "train": 40, "channels": 6, "size": 3, "gain": 9.0, "run": 2}
    plain, strong = (source_of({**spec, "gain": gain}).test()["image"] for gain in (1.0, 9.0))
    factor = np.round(strong / plain)[:, :, 0, 0]
    assert {*factor.flatten()} == {1.0, 9.0} and (factor == 9.0).sum(1).tolist() == [2] * len(plain)
    starts = (factor == 9.0).argmax(1)
    assert {*starts} == {0, 1, 2, 3, 4} and (factor[np.arange(len(plain)), starts + 1] == 9.0).all()
    with pytest.raises(InputError, match="a run of 7 channels of 6"):
        source_of({**spec, "run": 7})


def test_blobs_are_generated_from_their_arguments_alone():
    spec = {"name": "blobs", "train": 12, "classes": 4, "channels": 2, "size": 3}
    assert load(spec).inputs["image"].shape == (2, 2, 3, 3) and load(spec).classes == 4
    assert fingerprint(spec) != fingerprint({**spec, "seed": 1})


def test_points_of_a_mixture_lie_where_its_density_says():
    spec = {"name": "gaussian_mixture", "components": 2, "radius": 3.0, "noise": 0.1, "shares": [3, 1], "train": 400}
    placed, scaled = (load({**spec, "standardise": kept}).train.fields for kept in (False, True))
    assert torch.bincount(placed["label"]).tolist() == [300, 100]
    assert torch.allclose(placed["point"][placed["label"] == 0].mean(0), torch.tensor([3.0, 0.0]), atol=0.02)
    assert scaled["point"].mean(0).abs().max() < 1e-5 and scaled["point"].std(0).sub(1).abs().max() < 0.01
    with pytest.raises(InputError, match="3 components need as many shares above 0, not \\[3, 1\\]"):
        load({**spec, "components": 3})
