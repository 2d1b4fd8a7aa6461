"""`split:` as names, runs of steps, a number or `auto`: what slots come of it, and runs that use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_runs import TINY, changed, run_tiny

import assembler as asm
from assembler.errors import RecipeError
from assembler.pipeline.checking.check import check
from assembler.pipeline.slots import variants
from assembler.pipeline.spec import read
from assembler.recipe.document import load, parse

QUICK = ("seeds=[0]", "phases.export.formats=[safetensors]", "phases.teacher={train: {epochs: 2}}",
         "phases.incubate.train.epochs=1", "phases.compare=null")  # fmt: skip


def split(*overrides: str) -> tuple[tuple[str, ...], str]:
    spec = read(load(TINY, overrides))
    return spec.split, spec.split_how


@pytest.mark.parametrize(
    ("said", "slots", "how"),
    [
        ("auto", ("stage.0", "stage.1"), "the copies of repeated containers"),
        ("1", ("stem..head",), "balanced by FLOPs, the largest has 100% of the model's"),
        ("2", ("stem..stage.0", "stage.1..head"), "balanced by FLOPs, the largest has 56% of the model's"),
        ("[stem..stage.0, stage.1]", ("stem..stage.0", "stage.1"), ""),
        ("[stem .. stage.0, stage.1]", ("stem..stage.0", "stage.1"), ""),
        ("stage.*", ("stage.0", "stage.1"), ""),
    ],
)
def test_what_slots_come_of_a_split(said: str, slots: tuple[str, ...], how: str) -> None:
    assert split(f"split={said}") == (slots, how)


def test_auto_without_repeated_containers_is_balanced() -> None:
    text = changed(("    stage:\n      repeat: 2\n", "    stage:\n"), ("stage.*.block", "stage.block"))
    spec = read(parse(text, overrides=["split=auto"]))
    assert spec.split == ("stem", "stage.block", "stage.mlp", "pool..head")
    assert spec.split_how.startswith("balanced by FLOPs, the largest has ")


def test_a_choice_for_several_steps_keeps_them_in_one_slot() -> None:
    alone = split("split=4")[0]
    assert alone == ("stem..stage.0.block", "stage.0.mlp", "stage.1.block", "stage.1.mlp..head")
    shared = "space={stage.block.mixer: {$oneof: [dwconv, pool]}}"
    assert split("split=auto", shared)[0] == ("stem", "stage.0..stage.1.block", "stage.1.mlp", "pool..head")
    with pytest.raises(RecipeError) as error:
        split("split=[stage.*]", shared)
    assert "the decision 'stage.block.mixer' does not lie within one slot (stage.0, stage.1)" in str(error.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("0", "'split' must be at least 1 slot, not 0"),
        ("true", "'split' must be at least 1 slot, not true"),
        ("1.5", "'split' must be at least 1 slot, not 1.5"),
        ("99", "the model cannot be cut into 99 slots: it has 13 steps"),
        ("[1, 2]", "'split' must be a list of steps, a number of slots, or auto"),
        ("[stage.*..head]", "'stage.*..head' is no run of steps"),
        ("[stem..haed]", "there is no step 'haed' in the model"),
        ("[head..stem]", "there is no run 'head..stem': 'stem' does not come of 'head'"),
        ("[stem..stage.0, stage.0.block, stage.1]", "the slots 'stem..stage.0' and 'stage.0.block' overlap"),
        ("[stage.*, stage.0]", "the slot 'stage.0' stands twice"),
    ],
)
def test_every_form_is_checked_without_torch(said: str, message: str) -> None:
    found = check(load(TINY, [f"split={said}"], strict=False))
    assert found[0].message == message and found[0].span is not None and found[0].span.file == "-o"


def test_a_number_that_cannot_be_had_is_said_at_its_place(tmp_path: Path) -> None:
    file = tmp_path / "many.yaml"
    file.write_text(TINY.read_text().replace("split: [stage.*]", "split: 9"))
    with pytest.raises(RecipeError) as error:
        asm.plan(file)
    assert str(error.value) == (
        f"{file}:26:8: error: tiny can be cut into 7 slots at most, not 9\n    split: 9\n           ^"
    )


def test_checking_imports_neither_torch_nor_networkx() -> None:
    code = (
        "import sys\nfrom assembler.pipeline.checking.check import check\nfrom assembler.recipe.document import load\n"
        f"for said in ('2', 'auto', '[stem..stage.0, stage.1]'):\n"
        f"    assert not check(load({str(TINY)!r}, [f'split={{said}}'], strict=False))\n"
        "assert not {'torch', 'networkx', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("said", ["2", pytest.param("auto", marks=pytest.mark.slow)])
def test_a_run(said: str, places: Path) -> None:
    done = run_tiny(f"split={said}", *QUICK, home=places / "home")
    slots = split(f"split={said}")[0]
    assert [s["name"] for s in done.summary["slots"]] == list(slots)
    assert all(len(s["variants"]) == 3 for s in done.summary["slots"])
    assert not done.summary["failures"] and done.summary["result"]["params"] > 0
    keys = set(load_file(done.folder / "model.safetensors"))
    assert {"stem.weight", "head.bias"} <= keys
    assert not any(".." in key or "__" in key for key in keys)


@pytest.mark.parametrize("body", ["{c: {op: linear, out: 8}, d: relu}", "{b: {op: linear, out: 8}, c: relu}"])
def test_what_enters_a_slot_is_found_whatever_the_step_before_it_is_called_now(body: str) -> None:
    text = f"""
kind: run
model:
  inputs: {{image: [B, 1, 6, 6]}}
  graph:
    flat: flatten
    one: {{body: {{a: {{op: linear, out: 8}}, b: relu}}}}
    two: {{body: {{a: {{op: linear, out: 8}}, b: relu}}}}
    head: {{op: linear, out: 3}}
  outputs: {{logits: head}}
split: [one, two]
space:
  one: {{$oneof: [{{body: {body}}}, {{op: linear, out: 8}}]}}
  two: {{$oneof: [{{body: {body}}}, identity]}}
data: {{name: blobs, train: 96, validation: 48, test: 48, size: 6}}
phases: {{teacher: {{}}, incubate: {{host: teacher}}}}
"""
    made = variants(read(parse(text)))
    assert [(slot, v.label, v.graph.inputs[0][1].shape) for slot, some in made.items() for v in some] == [
        ("one", "body", (2, 36)),
        ("one", "linear(out=8)", (2, 36)),
        ("two", "body", (2, 8)),
        ("two", "identity", (2, 8)),
    ]
