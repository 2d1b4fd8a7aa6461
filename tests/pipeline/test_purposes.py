"""Phases with data, a task and a metric of their own: learn from one thing, be tuned and judged for another."""

from __future__ import annotations

from pathlib import Path

import pytest

import assembler as asm
from assembler.errors import AssemblerError
from assembler.recipe.document import parse
from assembler.train.data.core import load_test

RUN = """\
kind: run
name: two
model:
  vars: {classes: 10}
  inputs: {image: [B, 1, 8, 8]}
  graph: {flat: flatten, fc: {op: linear, out: 24}, act: relu, head: {op: linear, out: =classes}}
  outputs: {logits: head}
data: {name: digits}
train: {steps: 3}
phases:
  before:
    phase: train
    data: {name: blobs, size: 8, channels: 1, train: 200, validation: 150, test: 100}
    set:
      vars.classes: 64
      graph.up: {op: rearrange, pattern: "b (c h w) -> b c h w", sizes: {h: 8, w: 8}}
      outputs.logits: up
    task: {loss: mse, value: logits, target: image}
  after: {phase: tune, of: before, set: {}}
claims:
  copied:
    doc: A claim about a phase's model is measured on its data.
    model: before
    check: measure
    of: image
    take: std
    inputs: test
    batch: 100
    expect: "< 5"
  lost:
    doc: So is a comparison.
    model: before
    arms: {one: {}, more: {train.lr: 0.01}}
    expect: more > 0
"""


def plain(text: str = RUN) -> str:
    return text.partition("claims:")[0]


def test_a_phase_trains_and_is_judged_on_data_of_its_own(places: Path) -> None:
    folder, told = asm.run(parse(plain()), workers=1)
    before, after = told["models"]["before"], told["models"]["after"]
    assert (before["metric"], before["own"], after["metric"], after["own"]) == (
        "loss",
        ["data", "task"],
        "accuracy",
        [],
    )
    assert before["test"] == pytest.approx(before["validation"], rel=0.2) and before["test"] > 0.5  # a loss, unlike
    assert 0 <= after["test"] <= 1 and told["result"]["metric"] == "accuracy"
    assert "phases" in parse((folder / "recipe.lock.yaml").read_text()).tree.get("lock").keys()


def test_a_phase_goes_on_with_a_model_on_other_data(places: Path) -> None:
    same = plain().partition("    set:")[0] + "    metric: loss\n  after: {phase: tune, of: before}\n"
    small = same.replace("of: before}", "of: before, data: {name: subset, of: digits, train: 40}, train: {epochs: 1}}")
    ran = [
        asm.run(parse(text, overrides=["train.batch=20"]), workers=1)[1]["cost"]["train_flops"]
        for text in (same, small)
    ]
    assert ran[1]["after"] < ran[0]["after"] == ran[0]["before"]  # 40 samples once, not 3 batches


def test_claims_are_measured_on_the_data_of_their_model(places: Path) -> None:
    exact, compared = asm.verify(parse(RUN))
    images = load_test({"name": "blobs", "size": 8, "channels": 1, "train": 200, "validation": 150, "test": 100}).fields
    assert exact.values == (pytest.approx(float(images["image"].double().std()), rel=1e-3),)
    assert compared.measures == "test.loss" and compared.holds
    assert compared.arms[0].values != compared.arms[1].values


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{name: blobs, size: 8", "{name: blops, size: 8", "unknown dataset 'blops'"),
        ("size: 8, channels", "size: 9, channels", "the model wants 'image' [1, 8, 8], the data has [1, 9, 9]"),
        ("target: image}", "target: picture}", "the objective reads 'picture', which two does not have"),
        ("  after: {", "  after: {metric: accurate, ", "unknown metric 'accurate'"),
        ("    task: {loss: mse, value: logits, target: image}\n", "", "cross_entropy does not accept"),
    ],
)
def test_what_is_wrong_with_them_is_told_at_its_place(old: str, new: str, said: str) -> None:
    with pytest.raises(AssemblerError) as caught:
        asm.plan(parse(plain().replace(old, new), "two.yaml"))
    problem = caught.value.problems[0]
    assert said in problem.message and problem.span is not None and problem.span.line >= 12


def test_a_claim_names_what_the_phase_of_its_model_sets() -> None:
    text = RUN.partition("  copied:")[0]
    text += '  up: {doc: As a picture., model: before, check: shape, of: up, expect: "== [B, 1, 8, 8]"}\n'
    (found,) = asm.verify(parse(text))
    assert found.holds


def test_a_step_of_a_task_may_be_called_as_a_field_of_the_data() -> None:
    own = "{graph: {one: {op: argmax, dim: 1, from: logits}, label: {op: detach, from: one}}, "
    own += "terms: [{loss: cross_entropy, value: logits, target: label}]}"
    text = plain().partition("  before:")[0] + f"  few: {{phase: train, set: {{vars.classes: 4}}, task: {own}}}\n"
    asm.plan(parse(text))
