"""Runs whose variants are trained at once: one joint training a slot and seed, counted once, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import Done, prints, run_tiny

import assembler as asm
from assembler.assemble.product import Product
from assembler.assemble.store import Store
from assembler.errors import AssemblerError
from assembler.recipe.document import parse

RUN = """
kind: run
name: widths
model:
  vars: {dim: 6, ratio: 2}
  inputs: {image: [B, 1, 6, 6]}
  graph:
    stem: {op: conv2d, out: =dim, kernel_size: 3, stride: 2, padding: 1}
    stage:
      repeat: 2
      body:
        mix: {op: residual, body: {norm: batch_norm2d, token: dwconv}}
        mlp: {op: residual, body: {ffn: {op: conv_mlp, ratio: =ratio}}}
    pool: global_avg_pool
    head: {op: linear, out: 3}
  outputs: {logits: head}
data: {name: blobs, train: 96, validation: 48, test: 48, size: 6}
split: [stage.*]
space: {stage.*.mlp.ffn.ratio: {$oneof: RATIOS}}
train: {batch: 32, lr: 2e-2, epochs: 4}
phases:
  teacher: {set: {vars.ratio: 4}}
  incubate:
    host: teacher
    start: host
    objective: [{loss: normalized_mse, value: slot, target: host.slot}]
    nested: {steps: 9}
    train: {epochs: 0}
  search: {sampler: exact, budget: {params: =0.8 * teacher}}
  assemble: {train: {epochs: 1}}
"""


def run(home: Path, *overrides: str, ratios: str = "[1, 4, 2]", text: str = RUN) -> Done:
    return run_tiny(*overrides, home=home, text=text.replace("RATIOS", ratios))


def joint(done: Done) -> list[Product]:
    return [p for p in Store(done.home).products() if p.card["run"].endswith(":nested")]


def parts(done: Done) -> list[Product]:
    return [p for p in Store(done.home).products() if p.card["run"].endswith(":part")]


def test_one_training_a_slot_makes_parts_of_all_variants_and_counts_once(places: Path) -> None:
    done = run(places / "home")
    assert done.summary["failures"] == [] and done.made["incubate"] == 2 + 6
    for made in joint(done):
        own = sorted((p for p in parts(done) if p.card["inputs"]["slot"] == made.card["inputs"]["slot"]), key=_hidden)
        weights = [load_file(p.file("weights.safetensors")) for p in own]
        for small, hidden in zip(weights, (6, 12, 24), strict=True):
            assert torch.equal(small["mlp.ffn.fc1.weight"], weights[-1]["mlp.ffn.fc1.weight"][:hidden])
        assert [p.card["needs"]["initial:nested"] for p in own] == [made.key] * 3
        assert all((p.result["train_flops"], p.result["steps"]) == (0, 0) and p.result["score"] >= 0 for p in own)
        assert made.result["steps"] == sum(made.result["drawn"]) == 9
        assert "copied" in made.result["account"] and "account" not in own[0].result
    kept = {key: n for p in [*joint(done), *parts(done)] for key, n in p.result["shared_flops"].items()}
    spent = sum(p.result["train_flops"] for p in joint(done)) + sum(p.result["flops"] for p in parts(done))
    assert done.summary["cost"]["train_flops"]["incubate"] == spent + sum(kept.values())
    again = run(places / "home")
    assert again.made == {} and again.numbers == done.numbers


def _hidden(part: Product) -> int:
    return len(load_file(part.file("weights.safetensors"))["mlp.ffn.fc1.bias"])


@pytest.mark.slow
def test_the_order_of_the_candidates_is_no_other_training_and_one_more_candidate_is(places: Path) -> None:
    run(places / "home")
    before = prints(places / "home")
    other = run(places / "home", ratios="[2, 1, 4]")
    assert other.made["incubate"] == 0
    more = run(places / "home", ratios="[1, 4, 2, 3]")
    assert more.made["incubate"] == 2 + 8 and before.items() <= prints(places / "home").items()


@pytest.mark.slow
def test_each_goes_on_alone_from_what_the_joint_training_made(places: Path) -> None:
    done = run(places / "home", "phases.incubate.train={steps: 3}", "phases.incubate.trained=[stage.*.mlp]")
    assert {p.result["steps"] for p in parts(done)} == {3} and all(p.result["train_flops"] for p in parts(done))
    first, *_ = joint(done)
    own = min((p for p in parts(done) if p.card["needs"]["initial:nested"] == first.key), key=_hidden)
    begun = load_file(first.file(f"{own.card['inputs']['nested']}.safetensors"))
    ended = load_file(own.file("weights.safetensors"))
    assert torch.equal(begun["mix.token.conv.weight"], ended["mix.token.conv.weight"])
    assert not torch.equal(begun["mlp.ffn.fc1.weight"], ended["mlp.ffn.fc1.weight"])
    near = (begun["mlp.ffn.fc1.weight"] - ended["mlp.ffn.fc1.weight"]).norm() / begun["mlp.ffn.fc1.weight"].norm()
    assert near < 0.5, "it began anew"


@pytest.mark.slow
def test_stitches_go_on_as_they_were_trained(places: Path) -> None:
    text = RUN.replace("set: {vars.ratio: 4}", "set: {vars.dim: 4}")
    done = run(places / "home", "phases.incubate.start=random", "phases.search.budget={params: 1e6}", text=text)
    for made in joint(done):
        for own in (p for p in parts(done) if p.card["needs"]["initial:nested"] == made.key):
            begun = load_file(made.file(f"{own.card['inputs']['nested']}.safetensors"))
            ended = load_file(own.file("weights.safetensors"))
            assert "stitch_out.weight" in begun and begun.keys() == ended.keys()
            assert all(torch.equal(ended[name], tensor) for name, tensor in begun.items())


@pytest.mark.slow
def test_variants_without_weights_are_parts_as_ever(places: Path) -> None:
    text = RUN.replace("stage.*.mlp.ffn.ratio: {$oneof: RATIOS}", "stage.*.mix.token: {$oneof: [dwconv, zero]}")
    text = text.replace("split: [stage.*]", "split: [stage.*.mix.token]").replace("=0.8 * teacher", "=2 * teacher")
    done = run(places / "home", text=text)
    assert [len(p.card["inputs"]["parts"]) for p in joint(done)] == [1, 1]
    light = [p for p in parts(done) if "initial:nested" not in p.card["needs"]]
    assert len(light) == 2 and all(p.result["score"] >= 0 for p in light)


@pytest.mark.slow
def test_a_joint_training_that_fails_is_the_reason(places: Path) -> None:
    with pytest.raises(AssemblerError) as caught:
        run(places / "home", "phases.incubate.nested={steps: 9, lr: 1e30, clip: null}")
    said = str(caught.value)
    assert "every variant with weights of 'stage.0', 'stage.1' failed (seed 0)" in said and "the loss is" in said


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        ("{step: 100}", "'train' has no setting 'step'"),
        ("{steps: 0}", "'steps' must be at least 1, not 0"),
        ("3", "'nested' of phase 'incubate' must be a mapping or null, not 3"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(nested: str, message: str) -> None:
    with pytest.raises(AssemblerError) as caught:
        asm.plan(parse(RUN.replace("RATIOS", "[1, 2]").replace("{steps: 9}", nested)))
    assert message in str(caught.value)
