"""Runs that users write otherwise: other slots, fewer phases, other data; each works or says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_runs import changed, run_tiny

from assembler.errors import AssemblerError
from assembler.registry import add_plugin

QUICK = ("seeds=[0]", "phases.export.formats=[safetensors]", "phases.teacher.train={epochs: 1}")
NO_COMPARE = ("phases.compare=null",)


def text(split: str, space: str) -> str:
    return changed(
        ("split: [stage.*]", f"split: {split}"), ("  stage.*.block.mixer: {$oneof: [dwconv, pool, zero]}", space)
    )


@pytest.mark.parametrize(
    ("split", "space"),
    [
        ("[stem]", "  stem.bias: {$oneof: [true, false]}"),
        ("[head]", "  head.bias: {$oneof: [true, false]}"),
        ("[stage]", "  stage.block.mixer: {$oneof: [dwconv, pool]}"),
        ("stage.0.block", "  stage.0.block.mixer: {$oneof: [dwconv, pool]}"),
        ("[stage.0.mlp, stage.1.mlp]", "  stage.*.mlp.ffn.ratio: {$int: [1, 2]}"),
    ],
)
def test_any_single_entry_region_may_be_a_slot(split: str, space: str, places: Path) -> None:
    found = run_tiny(*QUICK, *NO_COMPARE, "phases.search.budget=null", home=places / "home", text=text(split, space))
    assert found.summary["search"]["space_size"] in (2, 4) and found.summary["baselines"] == []
    assert found.summary["failures"] == []


def test_slots_without_a_space_have_one_variant(places: Path) -> None:
    found = run_tiny(
        *QUICK, *NO_COMPARE, "phases.search.budget=null", home=places / "home", text=text("[stage.*]", "  {}")
    )
    assert found.summary["search"]["space_size"] == 1
    assert found.summary["slots"] == [{"name": f"stage.{i}", "variants": ["fixed"]} for i in (0, 1)]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ((("split: [stage.*]\n", ""),), "needs 'split'"),
        ((("split: [stage.*]", "split: [stage.0]"),), "does not lie within one slot (stage.0)"),
        ((("split: [stage.*]", "split: [stag.*]"),), "did you mean 'stage'?"),
        ((("split: [stage.*]", "split: [stage.0, stage.0.block]"),), "stage.0"),
        ((("seeds: [0, 1]", "seeds: [0, 0]"),), "a seed stands twice"),
        ((("seeds: [0, 1]", "seeds: []"),), "'seeds' must be a list of whole numbers"),
        (
            (("  teacher: {}\n", ""),),
            "parts are trained inside the model 'teacher', and no phase before this one makes it",
        ),
        ((("host: teacher", "host: meta"),), "models made before it: teacher"),
        ((("name: blobs", "name: blob"),), "did you mean 'blobs'?"),
        ((("{name: blobs, train: 96", "{name: fashion_mnist, train: 96"), (", size: 6}\nsplit", "}\nsplit")), ""),
        ((("size: 6}\nsplit", "size: 8}\nsplit"),), "the data has [1, 8, 8]"),
    ],
)
def test_a_wrong_run_is_bad_input(pairs: tuple[tuple[str, str], ...], message: str, places: Path) -> None:
    with pytest.raises(AssemblerError) as caught:
        run_tiny(*QUICK[1:2], home=places / "home", text=changed(*pairs))
    assert caught.value.exit_code == 2, str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ("{export: {}}", "makes a model"),
        ("{search: {}}", "needs trained parts"),
        ("{assemble: {}}", "needs the winner of a search"),
        ("{compare: {}}", "needs an assembled model"),
        ("{teacher: {}, search: {}}", "put a phase 'incubate' before it"),
        (
            "{train: {objective: [{loss: kl, value: logits, target: teacher.logits}]}}",
            "which no phase before this one makes",
        ),
        ("{train: {epohs: 3}}", "epohs"),
        ("{trian: {}}", "did you mean 'train'?"),
        ("{}", "needs 'phases'"),
    ],
)
def test_phases_in_an_order_that_cannot_be_are_named(phases: str, message: str, places: Path) -> None:
    text = changed().partition("phases:")[0] + f"phases: {phases}\n"
    with pytest.raises(AssemblerError) as caught:
        run_tiny(home=places / "home", text=text)
    assert caught.value.exit_code == 2 and message in str(caught.value)


def test_a_plain_training_run_has_a_result_and_no_search(places: Path) -> None:
    body = changed(("split: [stage.*]\n", ""), ("space:\n  stage.*.block.mixer: {$oneof: [dwconv, pool, zero]}\n", ""))
    text = body.partition("phases:")[0] + "phases: {big: {phase: train, train: {epochs: 2}}, small: {phase: train}}\n"
    found = run_tiny("seeds=[0]", home=places / "home", text=text)
    assert found.summary["result"]["model"] == "small" and found.summary["search"] is None
    assert set(found.summary["models"]) == {"big", "small"}


def test_a_model_may_be_taught_by_another_of_any_name(places: Path) -> None:
    body = changed(("split: [stage.*]\n", ""), ("space:\n  stage.*.block.mixer: {$oneof: [dwconv, pool, zero]}\n", ""))
    term = "{loss: kl, value: logits, target: big.logits}"
    phases = f"{{big: {{phase: train}}, student: {{phase: train, set: {{stage.repeat: 1}}, objective: [{term}]}}}}"
    found = run_tiny("seeds=[0]", home=places / "home", text=body.partition("phases:")[0] + f"phases: {phases}\n")
    assert found.summary["models"]["student"]["params"] < found.summary["models"]["big"]["params"]


def test_a_host_that_differs_outside_its_slots_is_refused(places: Path) -> None:
    text = changed(("  teacher: {}\n", "  teacher: {set: {stem.stride: 1}}\n"))
    with pytest.raises(AssemblerError) as caught:
        run_tiny(home=places / "home", text=text)
    assert "slot 'stage.0' has float32[2, 6, 6, 6] entering in 'teacher'" in str(caught.value)


def test_images_from_an_npz_file(places: Path) -> None:
    dice = np.random.RandomState(0)
    file = places / "photos.npz"
    arrays = {}
    for part, count in (("train", 90), ("val", 30), ("test", 30)):
        arrays[f"x_{part}"] = dice.randint(0, 255, (count, 28, 28)).astype(np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % 3
    np.savez(file, **arrays)
    text = changed(
        ("{name: blobs, train: 96, validation: 48, test: 48, size: 6}", f"{{name: npz, path: {file}}}"),
        ("[B, 1, 6, 6]", "[B, 1, 28, 28]"),
    )
    found = run_tiny(*QUICK, *NO_COMPARE, home=places / "home", text=text)
    assert found.summary["result"]["params"] > 0


@pytest.fixture
def pairs_op() -> None:
    add_plugin(Path(__file__).parent / "pairs_data.py")


@pytest.mark.usefixtures("pairs_op")
def test_a_model_of_two_inputs_runs_from_end_to_end(places: Path) -> None:
    text = changed(
        ("{name: blobs, train: 96, validation: 48, test: 48, size: 6}", "{name: pairs}"),
        ("stem: {op: conv2d,", "stem: {op: conv2d, from: image,"),
        ("{image: [B, 1, 6, 6]}", "{image: [B, 1, 6, 6], hint: [B, 4]}"),
        (
            "    head: {op: linear, out: 3}",
            "    both: {op: concat, from: [pool, hint], dim: 1}\n    head: {op: linear, out: 3}",
        ),
    )
    found = run_tiny("seeds=[0]", "phases.teacher.train={epochs: 1}", home=places / "home", text=text)
    assert found.summary["failures"] == [] and found.summary["baselines"][0]["test_mean"] is not None
    assert (found.folder / "model.pt2").is_file()


def test_a_phase_of_ones_own_makes_a_model_that_others_read(places: Path, tmp_path: Path) -> None:
    (tmp_path / "twin.py").write_text(
        "from assembler.registry import phase\n\n\n"
        '@phase(makes="model")\n'
        "def twin(run, *, of: str) -> None:\n"
        '    """The same model under another name."""\n'
        "    run.models[run.phase], run.graphs[run.phase] = run.models[of], run.graphs[of]\n"
    )
    add_plugin(tmp_path / "twin.py")
    begin = changed().partition("phases:")[0]
    kept = begin.replace("split: [stage.*]\nspace:\n  stage.*.block.mixer: {$oneof: [dwconv, pool, zero]}\n", "")
    phases = "  teacher: {}\n  copy: {phase: twin, of: teacher}\n  plain: {phase: rewrite, of: copy, apply: [expand]}\n"
    found = run_tiny(*QUICK[::2], home=places / "home", text=f"{kept}phases:\n{phases}")
    assert found.made == {"teacher": 1, "plain": 1, "test": 2} and found.summary["failures"] == []
    wrong = phases.replace("of: copy", "of: cpy")
    with pytest.raises(AssemblerError, match=r"the model 'cpy' is to be rewritten(.|\n)*did you mean 'copy'"):
        run_tiny(*QUICK[::2], home=places / "home", text=f"{kept}phases:\n{wrong}")
