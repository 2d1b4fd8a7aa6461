"""Runs whose objective tells a teacher values of the model in training: what fits, and what a claim measures."""

from __future__ import annotations

import pytest

import assembler as asm
from assembler.errors import RecipeError
from assembler.pipeline.checking.fits import check
from assembler.pipeline.spec import read
from assembler.recipe.document import parse

RUN = """\
kind: run
name: told
model:
  inputs: {image: [B, 1, 8, 8]}
  graph:
    patches: {op: rearrange, pattern: b c (y p) (x q) -> b (y x) (p q c), sizes: {p: 2, q: 2}}
    size: mean
    noise: {op: normal_noise, always: true}
    drawn: {op: random_mask, ratio: 0.75, from: {x: patches, noise: noise}}
    seen: {op: take, from: [patches, drawn.indices]}
    embed: {op: linear, out: 4}
    fate: {op: switch, from: {train: embed, eval: seen}}
    late: {op: linear, out: 8}
    pool: token_pool
    head: {op: linear, out: 10}
  outputs: {logits: head}
data: digits
train: {steps: 4, batch: 32}
phases:
  teacher: {}
  student:
    phase: train
    objective:
      given: {teacher.drawn.indices: drawn.indices}
      terms:
        - {loss: cross_entropy, value: logits, target: label}
        - {loss: mse, value: late, target: teacher.late}
claims:
  told:
    doc: Told which patches the student has drawn, the teacher sees those, in evaluation too.
    model: student
    arms: {told: {}}
    budget: steps
    seeds: 2
    metric: &seen
      split: test
      given: {teacher.drawn.indices: drawn.indices}
      terms: [{loss: mse, value: seen, target: teacher.seen}]
    expect: told == 0
  untold:
    doc: Otherwise it sees others.
    model: student
    arms: {untold: {}}
    budget: steps
    seeds: 2
    metric: {split: test, loss: mse, value: seen, target: teacher.seen}
    expect: untold > 0
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "given: {teacher.drawn.indices: drawn.indices}",
            "given: {teacher.drawn.indices: noise}",
            "24:15: error: 'teacher.drawn.indices' is int64 [2, 4], and 'noise', which it is given, float32 [2, 16]",
        ),
        (
            "  teacher: {}",
            "  teacher: {set: {drawn.ratio: 0.5}}",
            "hint: {phase: tune, of: teacher, set: ..., train: {epochs: 0}} is it for other sizes",
        ),
        (
            "given: {teacher.drawn.indices: drawn.indices}",
            "given: {teacher.drawn.indices: drawn.indices, teacher.embed: embed}",
            "told.yaml:24:53: error: 'embed' is a value of training alone",
        ),
        (
            "value: late, target: teacher.late}",
            "value: patches, target: teacher.patches}",
            "told.yaml:24:15: error: nothing that is read of told depends on 'drawn.indices', which is given",
        ),
    ],
    ids=["type", "size", "mode", "unread"],
)
def test_what_the_teacher_is_told_has_to_fit(old: str, new: str, said: str) -> None:
    document = parse(RUN.replace(old, new, 1), "told.yaml")
    with pytest.raises(RecipeError) as caught:
        check(read(document))
    assert said in str(caught.value)


def test_the_teacher_is_told_what_enters_it() -> None:
    graph = "patches: {op: rearrange,"
    text = RUN.replace(graph, f"turned: {{op: flip, dims: [2]}}\n    {graph}")
    text = text.replace("{teacher.drawn.indices: drawn.indices}", "{teacher.image: turned}", 1)
    check(read(parse(text, "told.yaml")))


@pytest.mark.slow
def test_a_claim_tells_too() -> None:
    told, untold = asm.verify(parse(RUN, "told.yaml"))
    assert told.holds, told
    assert untold.holds, untold
