"""Objectives, tasks and claims read the vars of the model and call its blocks, as the phase or arm has them."""

from __future__ import annotations

from pathlib import Path

import pytest

import assembler as asm
from assembler.errors import AssemblerError
from assembler.pipeline.spec import read
from assembler.recipe.document import parse

RUN = """\
kind: run
name: borrowing
model:
  vars: {dim: 8, factor: 3, beta: =factor / 2}
  inputs: {image: [B, 1, 8, 8]}
  blocks:
    inner: {params: {by: 1}, body: {times: {op: scale, factor: =by * factor}}}
    twice: {body: {a: {op: inner, by: 2}, b: inner}}
    unused: {body: {fc: {op: linear, out: =dim}}}
  graph: {flat: flatten, fc: {op: linear, out: =dim}, head: {op: linear, out: 10}}
  outputs: {logits: head}
data: digits
train: {steps: 30}
phases:
  train:
    set: {vars.factor: 5}
    objective:
      graph: {more: {op: twice, from: fc}, less: {op: scale, factor: =1 / dim, from: more}}
      terms: [{loss: cross_entropy, value: logits, target: label}, {value: less, weight: =beta}]
claims:
  eighteen:
    doc: A claim's steps call blocks, and read vars as the claim has them.
    check: equal
    of: more
    to: by_hand
    graph: {more: {op: twice, from: fc}, by_hand: {op: scale, factor: =2 * factor * factor, from: fc}}
    expect: <= 1e-5
  one:
    doc: The same, where the claim changes one.
    at: {vars.factor: 4}
    check: equal
    of: same
    to: fc
    graph: {same: {op: scale, factor: =factor - 3, from: fc}}
    expect: <= 1e-9
"""


def test_an_objective_has_what_it_names_as_the_phase_has_it() -> None:
    (phase,) = read(parse(RUN.partition("claims:")[0])).phases
    said = phase.options["objective"]
    assert said["vars"] == {"dim": 8, "factor": 5} and set(said["blocks"]) == {"inner", "twice"}
    assert said["terms"][1]["weight"] == 2.5


def test_it_is_trained_with_them(places: Path) -> None:
    text = RUN.partition("claims:")[0]
    one = asm.run(parse(text), workers=1)[1]["result"]["validation"]
    assert one == asm.run(parse(text, overrides=["train.seed=0"]), workers=1)[1]["result"]["validation"]
    heavy = parse(text, overrides=["phases.train.set.vars.factor=5000"])
    assert asm.run(heavy, workers=1)[1]["result"]["validation"] != one


def test_claims_call_blocks_and_read_vars() -> None:
    found = asm.verify(parse(RUN))
    assert [v.holds for v in found] == [True, True]


@pytest.mark.parametrize(
    ("old", "new", "said", "line"),
    [
        ("weight: =beta", "weight: =gamma", "unknown name 'gamma'", 19),
        ("factor: =1 / dim", "factor: =1 / dam", "unknown name 'dam'", 18),
        ("op: twice, from: fc}, less", "op: twize, from: fc}, less", "unknown op 'twize'", 18),
        (
            "to: by_hand\n    graph: {more: {op: twice",
            "to: by_hand\n    graph: {more: {op: twize",
            "unknown op 'twize'",
            26,
        ),
    ],
)
def test_what_is_not_there_is_told_at_its_place(old: str, new: str, said: str, line: int) -> None:
    with pytest.raises(AssemblerError) as caught:
        asm.verify(parse(RUN.replace(old, new), "borrowing.yaml"))
    assert any(said in p.message and p.span is not None and p.span.line == line for p in caught.value.problems), caught
