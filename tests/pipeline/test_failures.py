"""What fails alone, what stops a run, and what the message says."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import Done, changed, copy_store, run_tiny

from assembler import registry
from assembler.errors import AssemblerError, InputError, RecipeError, TaskError
from assembler.registry import add_plugin

QUICK = ("seeds=[0]", "phases.compare=null", "phases.export.formats=[safetensors]")


@pytest.fixture
def nan_op() -> Iterator[None]:
    add_plugin(Path(__file__).parent / "nan_op.py")
    assert registry.lookup("op", "not_a_number")
    yield


@pytest.mark.usefixtures("nan_op")
def test_a_variant_that_gives_nan_fails_alone(places: Path) -> None:
    text = changed(("[dwconv, pool, zero]", "[dwconv, pool, not_a_number]"), ("0.97 * teacher", "1.0 * teacher"))
    found = run_tiny(*QUICK, home=places / "home", text=text)
    failed = [p for p in found.rows("parts.jsonl") if p["status"] == "failed"]
    assert {(p["slot"], p["variant"]) for p in failed} == {("stage.0", "not_a_number"), ("stage.1", "not_a_number")}
    assert all("not finite" in p["reason"] or "nan" in p["reason"] for p in failed), failed
    assert found.summary["result"]["test"] > 0 and len(found.summary["failures"]) == 2
    tried = {v for e in found.events for v in [e.task.label] if e.kind == "started" and "not_a_number" in v}
    assert len([e for e in found.events if e.kind == "started" and e.task.label in tried]) == 2, "tried once each"


@pytest.mark.usefixtures("nan_op")
def test_a_slot_without_a_single_part_stops_the_run(places: Path) -> None:
    text = changed(("{$oneof: [dwconv, pool, zero]}", "{$oneof: [not_a_number]}"))
    with pytest.raises(AssemblerError) as caught:
        run_tiny(*QUICK, home=places / "home", text=text)
    assert "finite" in str(caught.value) or "every variant of 'stage.0' failed" in str(caught.value)


def test_a_teacher_that_diverges_stops_the_run_with_its_step(places: Path) -> None:
    with pytest.raises(TaskError) as caught:
        run_tiny("phases.teacher.train={lr: 1e+20, clip: null}", *QUICK, home=places / "home")
    assert "step" in str(caught.value) and "needs 'teacher'" not in str(caught.value)


def test_a_slot_that_cannot_be_cut_names_the_edges_that_cross(places: Path) -> None:
    text = changed(
        (
            "    pool: global_avg_pool\n",
            "    cross: {op: add, from: [stage, stage.0.mlp, stage.0.block]}\n    pool: global_avg_pool\n",
        )
    )
    with pytest.raises(RecipeError) as caught:
        run_tiny(home=places / "home", text=text)
    assert "cannot cut 'stage.0'" in str(caught.value) and "leaves: stage.0" in str(caught.value)


TEACHER = '{set: {}, weights: "%s"}'


def teacher(file: Path) -> str:
    return f"phases.teacher.weights={file}"


def test_a_teacher_from_a_file_is_not_trained(done: Done, tmp_path: Path, places: Path) -> None:
    found = run_tiny(teacher(_weights(done, tmp_path)), *QUICK, home=places / "home")
    assert found.summary["cost"]["train_flops"]["teacher"] == 0
    assert found.summary["models"]["teacher"]["test"] == pytest.approx(_teacher_test(done))


def _weights(done: Done, place: Path) -> Path:
    from assembler.assemble.store import Store

    made = [p for p in Store(done.home).products() if p.card["label"] == "teacher · seed 0"]
    file = place / "teacher.safetensors"
    file.write_bytes(made[0].file("weights.safetensors").read_bytes())
    return file


def _teacher_test(done: Done) -> float:
    from assembler.assemble.store import Store

    tests = [p for p in Store(done.home).products() if p.card["label"] == "test of teacher · seed 0"]
    return float(tests[0].result["test"])


@pytest.mark.parametrize("kind", ["missing", "shape", "pickle", "truncated", "key"])
def test_a_teachers_file_that_is_no_good_is_named(kind: str, done: Done, tmp_path: Path, places: Path) -> None:
    file = _weights(done, tmp_path)
    state = load_file(file)
    if kind == "missing":
        file.unlink()
    elif kind == "shape":
        save_file(state | {"head.weight": torch.zeros(2, 6)}, file)
    elif kind == "key":
        save_file({k.replace("head", "haed"): v for k, v in state.items()}, file)
    elif kind == "pickle":
        torch.save({"model": object}, file)
    else:
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError) as caught:
        run_tiny(teacher(file), *QUICK, home=places / "home")
    said = {
        "missing": "no weights file",
        "shape": "'head.weight' is [2, 6], the model needs [3, 6]",
        "key": "no 'head.weight', which the model has",
        "pickle": "is a pickle that holds more than tensors",
        "truncated": "is not a whole safetensors file",
    }[kind]
    assert said in str(caught.value) and str(file) in str(caught.value) and caught.value.exit_code == 2


def test_weights_whose_header_looks_like_a_pickle_are_read(tmp_path: Path) -> None:
    from assembler.compile.weights import read_weights, save_weights

    for extra in range(0, 400, 8):
        file = tmp_path / "w.safetensors"
        save_weights({"a" * (extra + 1): torch.zeros(1)}, file)
        assert list(read_weights(file)) == ["a" * (extra + 1)], struct.unpack("<Q", file.read_bytes()[:8])


def test_an_objective_over_an_unknown_value_is_bad_input(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    text = changed(("target: host.slot", "target: host.slott"))
    with pytest.raises(AssemblerError) as caught:
        run_tiny(*QUICK, home=home, text=text)
    assert caught.value.exit_code == 2 and "'slott'" in str(caught.value)
