"""Data of another size than an imported model's example: it is taken where the model's axes are free."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import assembler as asm
from assembler.errors import AssemblerError
from assembler.importing.folder import save
from assembler.importing.imported import from_module

RUN = """
kind: run
model: NET
data: {name: blobs, channels: 1, size: 12, train: 32}
SET
task: {loss: cross_entropy, value: output, target: label}
phases: {teacher: {train: {epochs: 1}}}
"""


class Net(nn.Module):
    """A convolutional net, for any size; with `flat` its head is made for one, with `placed` it has places."""

    def __init__(self, flat: bool = False, placed: bool = False) -> None:
        super().__init__()
        self.stem, self.flat = nn.Conv2d(1, 4, 3, padding=1), flat
        self.places = nn.Parameter(torch.zeros(4, 8, 8)) if placed else None
        self.head = nn.Linear(256 if flat else 4, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.stem(pixels)
        x = x if self.places is None else x + self.places
        return self.head(x.flatten(1) if self.flat else x.mean((2, 3)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.manual_seed(0)
    for name, net in {"free": Net(), "flat": Net(flat=True), "placed": Net(placed=True)}.items():
        save(from_module(net, torch.randn(2, 1, 8, 8)), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(net: str, said: str) -> str:
    Path("run.yaml").write_text(RUN.replace("NET", net).replace("SET", f"set: {said}"))
    return "run.yaml"


@pytest.mark.parametrize(
    ("net", "hint"),
    [
        ("free", "the model takes that size: write inputs.image: [B, 1, 12, 12] under set:"),
        ("flat", "the model was imported at that size, which 'head' is made for: take data of it"),
        (
            "placed",
            "the model was imported at that size: take data of it, or import again with --free pixels.2 "
            "--free pixels.3, or at the data's size",
        ),
    ],
)
def test_the_hint_is_what_works(net: str, hint: str, folder: Path) -> None:
    with pytest.raises(AssemblerError) as caught:
        asm.plan(_run(net, "{inputs.pixels: image}"))
    assert caught.value.problems[0].message == "the model wants 'image' [1, 8, 8], the data has [1, 12, 12]"
    assert caught.value.problems[0].hint == hint


def test_a_run_takes_data_of_another_size_with_the_models_own_weights(folder: Path) -> None:
    asm.plan(_run("free", "{inputs.pixels: image, inputs.image: [B, 1, 12, 12]}"))
    made = asm.build("free", "inputs.pixels=[B, 1, 12, 12]")
    assert made.meta["graph"].inputs[0][1].shape[1:] == (1, 12, 12)
    x = torch.randn(3, 1, 12, 12)
    assert torch.equal(made.eval()(x), asm.build("free").eval()(x))


def test_a_size_that_the_model_cannot_have_is_refused(folder: Path) -> None:
    with pytest.raises(AssemblerError) as caught:
        asm.build("placed", "inputs.pixels=[B, 1, 8, 12]")
    said = "the input 'pixels' has the sizes that the model was imported at, [1, 8, 8]"
    assert caught.value.problems[0].message == said
    hint = "import the model again at another size (--input) or with an axis left open (--free pixels.3)"
    assert caught.value.problems[0].hint == hint
    with pytest.raises(AssemblerError) as caught:
        asm.build("free", "inputs.pixels=[B, 1, 8]")
    assert caught.value.problems[0].hint == "import the model again at another size (--input)"
