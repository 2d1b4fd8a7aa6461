"""What a run is about: tasks of several terms, with steps, against a teacher, of a loss that the model carries."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import run_tiny

import assembler as asm
from assembler.assemble.judging import as_in_training, score
from assembler.assemble.models import Task
from assembler.assemble.store import Store
from assembler.compile.lower import lower
from assembler.errors import AssemblerError, RecipeError
from assembler.importing.folder import save
from assembler.recipe.document import load, parse
from assembler.train.data import load as load_data
from assembler.train.objective import Objective
from assembler.wiring.build import build

HEAD = """\
kind: run
name: small
model:
  inputs: {image: [B, 1, 8, 8]}
  graph: {flat: flatten, slot1: {op: linear, out: 16}, act: relu, head: {op: linear, out: 10}}
  outputs: {logits: head}
data: {name: blobs, train: 48, validation: 24, test: 24, classes: 10}
train: {steps: 2}
"""
PARTS = """\
split: [slot1]
space: {slot1: {$oneof: [{op: linear, out: 16}, {body: {a: {op: linear, out: 2}, b: {op: linear, out: 16}}}]}}
phases:
  teacher: {train: {epochs: 0}}
  incubate: {host: teacher, objective: [{loss: normalized_mse, value: slot, target: host.slot}]}
  search: {}
  assemble: {}
  compare: {baselines: [end_to_end_tune]}
"""
CARRIED = """\
kind: run
name: carried
model:
  inputs: {image: [B, 1, 8, 8], step: {shape: [B], dtype: int64, when: eval}}
  graph:
    drawn: {op: random_step, steps: 10, from: image}
    fresh: {op: normal_noise, from: image}
    rates: {op: noise_schedule, steps: 10, from: drawn}
    mixed: {op: add_noise, from: [image, fresh, rates.alpha, rates.sigma]}
    noisy: {op: switch, from: {train: mixed, eval: image}}
    now: {op: switch, from: {train: drawn, eval: step}}
    waves: {op: sinusoidal_embedding, out: 4, from: now}
    spread: {op: reshape, shape: [-1, 1, 1]}
    conv: {op: conv2d, out: 4, kernel_size: 3, padding: 1, from: noisy}
    norm: batch_norm2d
    both: {op: add, from: [norm, spread]}
    drop: {op: dropout, p: 0.5}
    noise: {op: conv2d, out: 1, kernel_size: 3, padding: 1}
    loss: {op: mse, from: {value: noise, target: fresh}}
  outputs: {noise: noise, loss: {from: loss, when: train}}
data: {name: blobs, train: 48, validation: 24, test: 24}
task: {value: loss}
train: {steps: 2}
phases: {train: {}}
"""


def losses(home: Path, text: str) -> dict[str, Any]:
    done = run_tiny(home=home, text=text)
    assert not done.summary["failures"]
    return done.summary


def test_a_task_may_compute_something_first(places: Path) -> None:
    steps = "task: {graph: {z_wanted: {op: flatten, from: image}, a_low: {op: scale, factor: 0.5, from: z_wanted}}, "
    text = HEAD.replace("out: 10}}", "out: 64}}") + steps + "terms: [{loss: mse, value: logits, target: a_low}]}\n"
    found = losses(places / "home", text + "metric: l1\nphases: {train: {}}\n")
    data, trained = load_data({"name": "blobs", "train": 48, "validation": 24, "test": 24, "classes": 10}), found
    assert trained["models"]["train"]["validation"] > 0 and data.classes == 10


def test_a_task_may_have_several_terms_and_read_a_step(places: Path) -> None:
    text = HEAD + "task: [{loss: cross_entropy, value: logits, target: label}, {value: act, weight: 0.1}]\n"
    found = losses(places / "home", text + "phases: {train: {}}\n")
    assert 0 <= found["models"]["train"]["test"] <= 1  # the accuracy of the first term


def test_an_objective_of_one_term_is_that_term_or_a_list_of_it(places: Path) -> None:
    term = "{loss: cross_entropy, value: logits, target: label, weight: 0.5}"
    said = [f"{HEAD}phases: {{train: {{objective: {one}}}}}\n" for one in (term, f"[{term}]")]
    assert [run_tiny(home=places / "home", text=text).made["train"] for text in said] == [1, 0]


def test_a_task_may_compare_with_the_teacher_in_every_phase(places: Path) -> None:
    text = HEAD + "task: {loss: mse, value: logits, target: teacher.logits}\n" + PARTS
    found = losses(places / "home", text)
    assert found["models"]["teacher"]["test"] == 0  # it is itself
    assert found["result"]["test"] > 0


@pytest.mark.slow
def test_a_search_that_trains_candidates_compares_with_the_teacher(places: Path) -> None:
    text = HEAD + "task: {loss: mse, value: logits, target: teacher.logits}\n" + PARTS.replace("split: [slot1]\n", "")
    text = text[: text.index("  incubate")] + "  search: {mode: trials, trials: 2, sampler: random}\n  assemble: {}\n"
    assert losses(places / "home", text)["result"]["test"] > 0


def test_a_teacher_that_would_learn_to_be_itself_is_told() -> None:
    text = HEAD + "task: {loss: mse, value: logits, target: teacher.logits}\nphases: {teacher: {}, train: {}}\n"
    with pytest.raises(RecipeError) as caught:
        asm.plan(parse(text, "small.yaml"))
    assert caught.value.problems[0].render().splitlines()[0] == (
        "small.yaml:10:10: error: the task compares with 'teacher', which is trained for the task itself: "
        "it would learn nothing"
    )
    assert caught.value.problems[0].hint == (
        "train: {epochs: 0} takes it as it is; teacher: {phase: train, objective: [...]} trains it"
    )


def test_a_loss_that_the_model_carries_is_validated_as_in_training(places: Path) -> None:
    found = losses(places / "home", CARRIED)
    assert found["models"]["train"]["validation"] > 0.1 and found["result"]["metric"] == "loss"


def test_a_value_of_training_is_measured_alike_every_time_and_changes_nothing() -> None:
    data = load_data({"name": "blobs", "train": 48, "validation": 24, "test": 24})
    graph = build(parse(CARRIED).model)
    module, task = lower(graph).train(), Task(Objective.from_spec({"value": "loss"}), "loss")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    first, again = (score(module, graph, data.validation, task)[0] for _ in range(2))
    assert first == again > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(inner.training for inner in module.modules())
    with as_in_training(module):
        quiet = [type(m).__name__ for m in module.modules() if not m.training]
    assert quiet == ["BatchNorm2d", "Dropout"]


def test_plan_tells_what_evaluation_would_need_and_the_data_has_not() -> None:
    text = CARRIED.replace("task: {value: loss}", "task: {loss: mse, value: noise, target: image}")
    with pytest.raises(RecipeError) as caught:
        asm.plan(parse(text, "small.yaml"))
    (problem,) = caught.value.problems
    assert problem.render().splitlines()[0] == (
        "small.yaml:4:33: error: the model reads 'step' in evaluation, where the task is measured, "
        "the data has image, label"
    )
    assert problem.hint == (
        "task: {value: loss}, a value of training alone, is measured as in training, without 'step'"
    )


MODEL = "kind: model\n" + CARRIED[CARRIED.index("  inputs") : CARRIED.index("data:")].replace("\n  ", "\n")[2:]


def test_train_takes_a_task_and_says_when_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MODEL)
    data = {"name": "blobs", "train": 48, "validation": 24, "test": 24}
    trained = asm.train(tmp_path / "m.yaml", data, settings={"steps": 2}, task={"value": "loss"})
    assert trained.after[0] == trained.after[1] > 0
    with pytest.raises(AssemblerError) as caught:
        asm.train(tmp_path / "m.yaml", data, settings={"steps": 2})
    assert "the model reads 'step' in evaluation" in str(caught.value)
    (tmp_path / "t.txt").write_text("a small text of letters. " * 20)
    text = {"name": "text", "file": str(tmp_path / "t.txt"), "length": 8}
    (tmp_path / "l.yaml").write_text(
        "kind: model\ninputs: {tokens: {shape: [B, 8], dtype: int64}}\n"
        "graph: {embed: {op: embedding, num_embeddings: 32, out: 4}, head: {op: linear, out: 32}}\n"
    )
    with pytest.raises(AssemblerError) as caught:
        asm.train(tmp_path / "l.yaml", text)
    assert str(caught.value) == (
        "--task: error: the data has tokens, next, and no 'label', which a training is about that has no task\n"
        "    hint: --task '{loss: cross_entropy, value: output, target: next}'"
    )


def test_what_a_variant_keeps_of_an_imported_model_begins_with_the_hosts_weights(places: Path) -> None:
    torch.manual_seed(0)
    layers = {"a": torch.nn.Linear(8, 8), "b": torch.nn.Linear(8, 8), "c": torch.nn.Linear(8, 10)}
    save(asm.from_module(torch.nn.Sequential(OrderedDict(layers)), {"input": torch.randn(2, 8)}), places / "net")
    (places / "run.yaml").write_text(
        "kind: run\nmodel: net\nmetric: loss\nset: {inputs.input: x, outputs.logits: c}\n"
        "data: {name: npz, path: d.npz, input: x}\ntrain: {epochs: 0}\nsplit: [b]\n"
        "space: {b: {$oneof: [keep, {op: linear, out: 8, bias: false}]}}\n"
        "phases: {teacher: {}, incubate: {host: teacher}, search: {}, assemble: {}}\n"
    )
    x, y = np.random.RandomState(0).rand(24, 8).astype(np.float32), np.arange(24) % 10
    np.savez(places / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    text = (places / "run.yaml").read_text().replace("d.npz", str(places / "d.npz"))
    (places / "run.yaml").write_text(text)
    done = run_tiny(home=places / "home", source=load(places / "run.yaml"))
    cards = [product.card for product in Store(places / "home").products()]
    assert {card["about"]["recipe"] for card in cards if card.get("about")} == {"run"}, "whatever the model is called"
    kept, fresh = (json.loads(line) for line in (done.folder / "parts.jsonl").read_text().splitlines())
    teacher = done.summary["models"]["teacher"]["validation"]
    assert kept["variant"] == "keep" and kept["score"] == pytest.approx(teacher) != fresh["score"]
