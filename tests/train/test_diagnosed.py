"""A loss or gradient that is no number in training names the step of the recipe that it began at."""

from __future__ import annotations

from pathlib import Path

import pytest

import assembler as asm
from assembler.assemble.models import named
from assembler.errors import TrainingError
from assembler.train.data import Batches, load
from assembler.train.loop import fit
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec

MODEL = """\
kind: model
name: logarithm
inputs: {image: [B, 1, 4, 4]}
graph:
  flat: flatten
  a: {op: linear, out: 8, bias: false}
  b: OP
  head: {op: linear, out: 3}
outputs: {logits: head}
"""


def failed(folder: Path, op: str) -> str:
    file = folder / "net.yaml"
    file.write_text(MODEL.replace("OP", op))
    module = asm.build(file)
    module.a.weight.data.zero_()
    batches = Batches(load({"name": "blobs", "train": 40, "validation": 20, "test": 20, "size": 4}).train, 16)
    task = Objective.from_spec([{"loss": "cross_entropy", "value": "logits", "target": "label"}])
    with pytest.raises(TrainingError) as error:
        fit(named(module, module.meta["graph"]), batches, task, dict(module.named_parameters()), FitSpec(steps=2))
    return str(error.value).replace(f"{folder}/", "")


def test_the_step_that_makes_a_value_that_is_none(tmp_path: Path) -> None:
    assert failed(tmp_path, "log") == (
        "net.yaml:8:9: error: the loss is nan at step 1 of 2: term 'cross_entropy'; head (linear) is the first step "
        "whose value is not finite (NaN): it is given minus infinity, which b (log), net.yaml:7 makes first\n"
        "      head: {op: linear, out: 3}\n"
        "            ^^^^^^^^^^^^^^^^^^^^\n"
        "    hint: lower `lr` (it was 0.001 in this step), warm up longer, or clip the gradient harder"
    )


def test_the_step_that_makes_a_gradient_that_is_none(tmp_path: Path) -> None:
    assert failed(tmp_path, "sqrt") == (
        "net.yaml:7:6: error: the gradient of 'a.weight' is not finite at step 1 of 2, though the loss is; the "
        "gradient of its inputs is not finite at b (sqrt), where that of its value is\n"
        "      b: sqrt\n"
        "         ^^^^\n"
        "    hint: lower `lr` (it was 0.001 in this step), warm up longer, or clip the gradient harder"
    )
