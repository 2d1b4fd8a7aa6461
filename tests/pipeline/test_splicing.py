"""Slots of models from other models, hosts of other widths, and other beginnings, as runs say them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import Done, changed, run_tiny

import assembler as asm
from assembler.errors import AssemblerError
from assembler.pipeline.search.trials import searched

MODEL = """kind: run
name: widths
model:
  vars: {dim: 6, depth: 1}
  inputs: {image: [B, 1, 6, 6]}
  graph:
    stem: {op: conv2d, out: =dim, kernel_size: 3, stride: 2, padding: 1}
    stage:
      repeat: 2
      body:
        block:
          repeat: =depth
          body: {mlp: {op: residual, body: {ffn: {op: conv_mlp, ratio: 2}}}}
    pool: global_avg_pool
    head: {op: linear, out: 3}
  outputs: {logits: head}
data: {name: blobs, train: 96, validation: 48, test: 48, size: 6}
seeds: [0]
train: {batch: 32, lr: 2e-2, epochs: 2}
"""


def run(phases: str, home: Path, more: str = "") -> Done:
    return run_tiny(home=home, text=f"{MODEL}{more}phases:\n{phases}  export: {{formats: [safetensors]}}\n")


def test_slots_are_taken_with_their_weights(places: Path) -> None:
    phases = "  one: {phase: train}\n  two: {phase: train, train: {seed: 1}}\n"
    found = run(f"{phases}  splice: {{of: one, take: {{stage.1: two}}}}\n", places / "home")
    made = asm.build(found.folder).state_dict()
    alone = {name: asm.build(run(only, places / "home").folder).state_dict() for name, only in (
        ("one", phases.splitlines()[0] + "\n"), ("two", phases.splitlines()[1] + "\n"))}  # fmt: skip
    for key, value in made.items():
        assert torch.equal(value, alone["two" if key.startswith("stage.1.") else "one"][key]), key
    assert any(not torch.equal(value, alone["two"][key]) for key, value in alone["one"].items())


def test_a_slot_is_taken_from_another_place(places: Path) -> None:
    phases = "  one: {phase: train}\n  two: {phase: train, train: {seed: 1}, set: {vars.dim: 8}}\n"
    found = run(f"{phases}  splice: {{of: one, take: {{stage.0: two.stage.1}}}}\n", places / "home")
    made = asm.build(found.folder).state_dict()
    theirs = asm.build(run(phases.splitlines()[1] + "\n", places / "home").folder).state_dict()
    inner = "block.0.mlp.ffn.fc1.weight"
    assert torch.equal(made[f"stage.0.{inner}"], theirs[f"stage.1.{inner}"])
    assert made[f"stage.1.{inner}"].shape[1] == 6 and made["stage.0.stitch_in.weight"].shape == (8, 6, 1, 1)


@pytest.mark.parametrize("models", ["two", "[other, two]"])
def test_the_steps_that_are_most_like_a_slot_are_taken(models: str, places: Path) -> None:
    """`two` is the very model, with other weights laid over the other stages: its like is known."""
    phases = (
        "  one: {phase: train}\n  other: {phase: train, train: {seed: 3}, set: {vars.dim: 10}}\n"
        "  two: {phase: tune, of: one, trained: [head]}\n"
    )
    taken = f"{{stage.0: {{nearest: {models}}}, stage.1.block: {{nearest: {models}}}}}"
    found = run(f"{phases}  splice: {{of: one, take: {taken}}}\n", places / "home")
    told = found.summary["models"]["splice"]["taken"]
    assert told["stage.0"] in ("two.stage.0", "two.stage.0.block.0.mlp") and told["stage.1.block"].startswith(
        "two.stage.1"
    )
    made, one = (asm.build(run(p, places / "home").folder).state_dict() for p in (
        f"{phases}  splice: {{of: one, take: {taken}}}\n", phases.splitlines()[0] + "\n"))  # fmt: skip
    values = sorted(made), sorted(one)
    assert len(values[0]) == len(values[1]) and all(torch.equal(made[a], one[b]) for a, b in zip(*values, strict=True))
    again = run(f"{phases}  splice: {{of: one, take: {taken}}}\n", places / "home")
    assert again.made["splice"] == 0


def test_one_choice_is_made_for_all_seeds(places: Path) -> None:
    phases = "  one: {phase: train}\n  small: {phase: train, set: {vars.dim: 4}}\n"
    text = f"{MODEL.replace('seeds: [0]', 'seeds: [0, 1]')}phases:\n{phases}"
    found = run_tiny(home=places / "home", text=f"{text}  splice: {{of: one, take: {{stage.1: {{nearest: small}}}}}}\n")
    takes = [e.info["taken"] for e in found.events if e.kind == "done" and "taken" in e.info]
    assert len(takes) == 2 and takes[0] == takes[1] and found.made["splice"] == 4  # a comparison a seed
    assert found.summary["failures"] == []


def test_a_wider_models_slot_stands_between_stitches(places: Path) -> None:
    phases = "  small: {phase: train}\n  big: {phase: train, set: {vars.dim: 10}}\n"
    found = run(f"{phases}  splice: {{of: small, take: {{stage.0: big}}}}\n", places / "home")
    made = asm.build(found.folder).state_dict()
    assert made["stage.0.stitch_in.weight"].shape == (10, 6, 1, 1)
    assert made["stage.0.stitch_out.weight"].shape == (6, 10, 1, 1)
    assert found.summary["models"]["splice"]["validation"] > 1 / 3


def test_parts_of_a_wider_model_are_incubated_in_a_narrow_host(places: Path) -> None:
    phases = "  meta: {set: {vars.dim: 4}}\n  incubate: {}\n  search: {}\n  assemble: {}\n"
    found = run(phases, places / "home", "split: [stage.*]\n")
    assert found.summary["failures"] == []
    made = asm.build(found.folder).state_dict()
    assert {"stage.0.stitch_in.weight", "stage.1.stitch_out.bias"} <= made.keys()
    assert made["stem.weight"].shape[0] == 4 and made["stage.0.block.0.mlp.ffn.fc1.weight"].shape[1] == 6
    assert found.rows("parts.jsonl")[0]["params"] > 6 * 4


def test_the_budget_of_a_search_counts_the_stitches_of_a_narrow_host(places: Path) -> None:
    """Without them an assembly of the wider part has 313 parameters, as the graph that is assembled 495."""
    search = "search: {sampler: random, trials: 4, budget: {params: 494}}"
    phases = f"  meta: {{set: {{vars.dim: 4}}}}\n  incubate: {{}}\n  {search}\n  assemble: {{}}\n"
    choice = "space: {stage.1.block.mlp.ffn.ratio: {$oneof: [2, 1]}}\n"
    found = run(phases, places / "home", f"split: [stage.*]\n{choice}")
    assert found.summary["result"]["params"] <= 494
    costs = {row["choice"]["stage.1"]: (row["params"], row["feasible"]) for row in found.rows("candidates.jsonl")}
    small = found.summary["result"]["params"]
    assert costs == {"ratio=1": (small, True), "ratio=2": (495, False)}
    assert searched(str(found.folder)).seed_costs["params"] == 495


def test_a_host_may_differ_in_features_alone(places: Path) -> None:
    phases = "  meta: {set: {stem.stride: 1}}\n  incubate: {}\n"
    with pytest.raises(AssemblerError) as caught:
        run(phases, places / "home", "split: [stage.*]\n")
    said = "slot 'stage.0' has float32[2, 6, 6, 6] entering in 'meta', and float32[2, 6, 3, 3] in the model"
    assert said in str(caught.value)


def test_a_deeper_model_begins_as_copies_of_a_shallow_one(places: Path) -> None:
    phases = "  meta: {}\n  deep: {phase: tune, of: meta, set: {vars.depth: 3}, start: copies, train: {epochs: 0}}\n"
    found = run(phases, places / "home")
    made = asm.build(found.folder).state_dict()
    meta = asm.build(run("  meta: {}\n", places / "home").folder).state_dict()
    for n in range(3):
        assert torch.equal(made[f"stage.1.block.{n}.mlp.ffn.fc1.weight"], meta["stage.1.block.0.mlp.ffn.fc1.weight"])
        third = meta["stage.1.block.0.mlp.ffn.fc2.weight"] / 3
        assert torch.equal(made[f"stage.1.block.{n}.mlp.ffn.fc2.weight"], third)
    (deep,) = [e.info for e in found.events if e.kind == "done" and e.task.phase == "deep"]
    assert deep["account"].startswith("16 copied, 12 scaled") or deep["inherited"]["scaled"] == 12
    assert found.summary["models"]["deep"]["account"] == deep["account"]


def test_parts_tell_what_they_began_with(places: Path) -> None:
    phases = "  meta: {}\n  incubate: {start: copies, train: {epochs: 0}}\n"
    found = run(phases.replace("  meta: {}", "  meta: {set: {vars.depth: 1}}"), places / "home", "split: [stage.*]\n")
    infos = [e.info for e in found.events if e.kind == "done" and e.task.phase == "incubate"]
    assert [one["account"] for one in infos] == ["4 copied", "4 copied"]


def test_the_teachers_part_in_the_host_is_a_target(places: Path) -> None:
    term = "{loss: kl, value: logits, target: teacher@host.logits, temperature: 1.0}"
    phases = f"  meta: {{}}\n  teacher: {{train: {{seed: 2}}}}\n  incubate: {{objective: [{term}]}}\n"
    found = run(phases, places / "home", "split: [stage.*]\n")
    assert found.summary["failures"] == [] and found.made["incubate"] == 2


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        (
            "  meta: {}\n  incubate: {objective: [{loss: mse, value: logits, target: taecher@host.logits}]}\n",
            "'taecher@host.logits' is a value of the model 'taecher@host', which no phase before this one makes",
        ),
        ("  one: {phase: train}\n  splice: {of: one, take: {stage.1: two}}\n", "the model 'two' is to be read"),
        ("  one: {phase: train}\n  splice: {of: one, take: {stag.1: one}}\n", "did you mean 'stage.1"),
        ("  one: {phase: train}\n  splice: {of: one, take: {stage.1: two.stage.0}}\n", "the model 'two' is to be read"),
        ("  one: {phase: train}\n  splice: {of: one, take: {stage.1: one.stag.0}}\n", "did you mean 'stage.0"),
        (
            "  one: {phase: train}\n  small: {phase: train, set: {stage: null}}\n"
            "  splice: {of: one, take: {stage.1: small.stage.0}}\n",
            "there is no step 'stage.0'",
        ),
        (
            "  one: {phase: train}\n  splice: {of: one, take: {stage.0: one.stage.1, stage.1: one.stem}}\n",
            "'stem' does not fit 'stage.1': no stitch makes float32[2, 1, 6, 6] of float32[2, 6, 3, 3]",
        ),
        (
            "  one: {phase: train}\n  splice: {of: one, take: {stage.1: {nearest: [one, two]}}}\n",
            "the model 'two' is to be read",
        ),
        ("  one: {phase: train}\n  splice: {of: one, take: {stage.1: {nearst: one}}}\n", "did you mean 'nearest'"),
        (
            "  one: {phase: train}\n  splice: {of: one, take: {stage.1: {nearest: []}}}\n",
            "it is not said of which models",
        ),
        (
            "  one: {phase: train}\n  flat: {phase: train, set: {stem.stride: 1}}\n"
            "  splice: {of: one, take: {stage.0..stage.1: {nearest: flat}}}\n",
            "no steps of 'flat' fit 'stage.0..stage.1', not between stitches either",
        ),
        ("  one: {phase: train}\n  splice: {of: one, take: {}}\n", "'take' must be a mapping of slots to models"),
        ("  one: {phase: train, train: {seed: -1}}\n", "'seed' must be at least 0, not -1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(phases: str, message: str, places: Path) -> None:
    with pytest.raises(AssemblerError) as caught:
        run(phases, places / "home", "split: [stage.*]\n")
    assert message in str(caught.value)


def test_tuning_an_assembly_again_goes_on_from_it(places: Path) -> None:
    text = changed(("  compare: {}\n", "  again: {phase: tune, of: assembled, train: {epochs: 0}}\n"))
    found = run_tiny("seeds=[0]", home=places / "home", text=text)
    scores = {e.task.phase: e.info["validation"] for e in found.events if e.kind == "done" and "validation" in e.info}
    assert scores["again"] == scores["assemble"]
