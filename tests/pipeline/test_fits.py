"""What of a run cannot work is told by its shapes, in `plan` and before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
from tiny_runs import run_tiny

import assembler as asm
from assembler.errors import AssemblerError, RecipeError, TaskError
from assembler.recipe.document import parse

RUN = """\
kind: run
name: small
model:
  inputs: {image: [B, 1, 8, 8]}
  graph:
    flat: flatten
    stem: {op: linear, out: 16}
    slot1: {body: {fc: {op: linear, out: 16}, act: relu}}
    head: {op: linear, out: 10}
  outputs: {logits: head}
data: digits
split: [slot1]
space: {slot1: {$oneof: [identity, {op: linear, out: 16}]}}
train: {epochs: 1}
phases:
  teacher: {}
  incubate:
    host: teacher
    objective: [{loss: normalized_mse, value: slot, target: host.slot}]
  search: {}
  assemble: {objective: [{loss: kl, value: logits, target: teacher.logits}]}
"""

CASES = {
    "loss": (
        ("target: host.slot", "target: teacher.logits"),
        "small.yaml:19:17: error: normalized_mse does not accept 'slot' [2, 16] and 'teacher.logits' [2, 10]: the size "
        "of tensor a (16) must match the size of tensor b (10) at non-singleton dimension 1",
        "",
    ),
    "name": (
        ("image: [B", "img: [B"),
        "small.yaml:4:12: error: the model reads 'img', the data has image, label",
        "did you mean 'image'?",
    ),
    "channels": (
        ("[B, 1, 8, 8]", "[B, 3, 8, 8]"),
        "small.yaml:4:12: error: the model wants 'image' [3, 8, 8], the data has [1, 8, 8]",
        "write inputs: {image: [B, 1, 8, 8]}",
    ),
    "classes": (
        ("out: 10", "out: 5"),
        "small.yaml:3:1: error: 'logits' tells 5 classes apart, and 'label' of the data has 10",
        "let the last layer make 10: out: 10",
    ),
    "dtype": (
        ("image: [B, 1, 8, 8]}\n  graph:\n    flat: flatten", "image: {shape: [B, 1, 8, 8], dtype: int64}}\n"
         "  graph:\n    words: {op: embedding, num_embeddings: 4, out: 2}\n    flat: flatten"),
        "small.yaml:4:12: error: the model reads 'image' as int64, the data has float32: words (embedding) does not "
        "accept image [2, 1, 8, 8]",
        "write {shape: ..., dtype: float32} and what takes it",
    ),
    "axis": (
        ("{op: linear, out: 10}\n  outputs: {logits: head}", "{op: linear, out: 640}\n"
         "    places: {op: reshape, shape: [64, 10]}\n"
         "    whole: {op: aten.to.dtype, dtype: int64, from: flat}\n  outputs: {logits: places, whole: whole}\n"
         "task: {loss: cross_entropy, value: logits, target: whole}"),
        "small.yaml:13:7: error: cross_entropy does not accept 'logits' [2, 64, 10] and 'whole' [2, 64]: expected ",
        "write axis: -1, the axis of the classes",
    ),
    "slot": (
        ("out: 16}]}}", "out: 12}]}}"),
        "small.yaml:13:16: error: 'linear(out=12)' gives float32[2, 12] in slot 'slot1', the slot gives float32[2, 16]",
        "",
    ),
    "changes": (
        ("teacher: {}", "teacher: {set: {graph.stem: {op: conv2d, out: 16, kernel_size: 3}}}"),
        "small.yaml:16:31: error: stem (conv2d) does not accept flat [2, 64] with "
        "kernel_size=3, out=16: expected 3D",
        "",
    ),
    "teacher": (
        ("teacher: {}", "teacher: {model: other.yaml}"),
        "small.yaml:16:20: error: as phase 'teacher' has it, the model reads 'picture', the data has image, label",
        "",
    ),
    "inside": (
        (RUN[RUN.index("    slot1: {body") : RUN.index("train: {epochs")],
         "    slot1: {op: residual, body: {fc: {op: linear, out: 16}}}\n    head: {op: linear, out: 10}\n"
         "  outputs: {logits: head}\ndata: digits\nsplit: [slot1]\nspace: {slot1.fc.out: {$oneof: [16, 12]}}\n"),
        "small.yaml:8:12: error: with 'out=12' in slot 'slot1', slot1 (add) does not accept stem [2, 16] and slot1.fc "
        "[2, 12]: ",
        "",
    ),
    "merged": (
        ("  incubate:\n", "  wide: {phase: train, set: {graph.stem.out: 16, head.out: 12}}\n"
         "  soup: {phase: merge, of: [teacher, wide]}\n  incubate:\n"),
        "small.yaml:18:28: error: 'wide' is another architecture than 'teacher', and only equal ones are merged",
        "the first difference: ~ head: arg out 10 -> 12",
    ),
    "broadcast": (
        ("{op: linear, out: 10}\n  outputs: {logits: head}", "{op: linear, out: 1}\n  outputs: {logits: head}\n"
         "task: {loss: mse, value: logits, target: label}"),
        "small.yaml:11:7: error: mse would compare 'logits' [2, 1] with 'label' [2], every one with every other",
        "bring them to one shape, with {op: squeeze} for instance",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_plan_tells_what_does_not_fit(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (old, new), said, hint = CASES[case]
    monkeypatch.chdir(tmp_path)
    Path("other.yaml").write_text(
        RUN[RUN.index("  inputs:") : RUN.index("data:")].replace("\n  ", "\n").strip().replace("image", "picture")
    )
    assert old in RUN
    with pytest.raises(RecipeError) as caught:
        asm.plan(parse(RUN.replace(old, new), "small.yaml"))
    problem = caught.value.problems[0]
    assert problem.render().splitlines()[0].startswith(said), problem.render()
    assert not hint or problem.hint == hint
    assert len(caught.value.problems) == 1


def test_what_fits_is_planned() -> None:
    assert asm.plan(parse(RUN, "small.yaml")).unchecked == ""


def test_a_run_stops_before_the_first_task(places: Path) -> None:
    with pytest.raises(RecipeError, match=r"normalized_mse does not accept 'slot'"):
        run_tiny(home=places / "home", text=RUN.replace("target: host.slot", "target: teacher.logits"))
    assert not list((places / "home").rglob("card.json"))


def test_a_model_without_what_the_task_reads_is_found_without_torch() -> None:
    from assembler.pipeline.checking.check import check

    text = RUN[: RUN.index("  incubate:")].replace("{logits: head}", "{scores: head}").replace("split: [slot1]\n", "")
    text = text.replace("space: {slot1: {$oneof: [identity, {op: linear, out: 16}]}}\n", "")
    (problem,) = check(parse(text, "small.yaml"))
    assert problem.render() == dedent("""\
        small.yaml:3:1: error: the model has no 'logits', which a run is about that has no 'task'
            model:
            ^^^^^
            hint: call the output so, or write task: {loss: cross_entropy, value: scores, target: label}""")


def test_data_that_is_not_there_is_said_and_the_rest_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSEMBLER_DATA", raising=False)
    text = RUN.replace("data: digits", "data: {name: fashion_mnist, path: /nowhere}")
    found = asm.plan(parse(text, "small.yaml"))
    assert found.unchecked.startswith("data set 'fashion_mnist' needs") and found.cost.params > 0
    with pytest.raises(AssemblerError, match="needs 4 of its 4 files"):
        asm.run(parse(text, "small.yaml"))


def test_a_slot_whose_trained_parts_all_fail_ends_the_run(places: Path) -> None:
    wild = RUN.replace("target: host.slot}", "target: host.slot, weight: 1.0e+38}").replace("epochs: 1", "steps: 1")
    with pytest.raises(TaskError) as caught:
        run_tiny(home=places / "home", text=wild)
    assert caught.value.exit_code == 1
    assert re.match(r"error: every variant with weights of 'slot1' failed \(seed 0\): .* not finite", str(caught.value))


def test_a_teacher_whose_training_differs_gives_what_it_has_in_evaluation_and_nothing_else() -> None:
    text = """\
kind: run
name: small
model:
  inputs: {image: [B, 1, 8, 8]}
  graph:
    flat: flatten
    drawn: {op: normal_noise, from: flat}
    read: {op: switch, from: {train: drawn, eval: flat}}
    stem: {op: linear, out: 16}
    head: {op: linear, out: 10}
    aux: {op: linear, out: 16, from: drawn}
  outputs: {logits: head, aux: {from: aux, when: train}}
data: digits
phases: {teacher: {}, train: {objective: [{loss: mse, value: stem, target: teacher.stem}]}}
"""
    asm.plan(parse(text, "small.yaml"))
    with pytest.raises(RecipeError, match="'aux' is a value of training alone"):
        asm.plan(parse(text.replace("teacher.stem", "teacher.aux"), "small.yaml"))


def test_the_classes_of_logits_lie_where_the_labels_show_them() -> None:
    text = """\
kind: run
name: words
model:
  inputs: {tokens: {shape: [B, 32], dtype: int64}}
  graph:
    embed: {op: embedding, num_embeddings: 16, out: 8}
    head: {op: linear, out: 16}
  outputs: {logits: head}
data: {name: markov, train: 8, validation: 8, test: 8}
task: {loss: cross_entropy, value: logits, target: next, axis: -1}
phases:
  teacher: {}
  student: {phase: train, objective: [{loss: kl, value: logits, target: teacher.logits, axis: -1}]}
"""
    asm.plan(parse(text, "words.yaml"))
    with pytest.raises(RecipeError) as caught:
        asm.plan(parse(text.replace("teacher.logits, axis: -1", "teacher.logits"), "words.yaml"))
    (problem,) = caught.value.problems
    assert problem.render().splitlines()[0] == (
        "words.yaml:13:39: error: kl takes axis 1 of 'logits' [2, 32, 16] for the classes, and 'next' is [2, 32]"
    )
    assert problem.hint == "write axis: -1, the axis of the classes"
    asm.plan(parse(text.replace("teacher.logits, axis: -1", "teacher.logits, axis: 1"), "words.yaml"))
