"""Training, searching and running begin with the weights that a recipe or the user names, or say why they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_loading import call
from torch import Tensor

import assembler as asm
from assembler import resources
from assembler.assemble.product import Product
from assembler.assemble.store import Store
from assembler.compile.lower import lower
from assembler.compile.weights import read_weights, save_weights
from assembler.errors import AssemblerError, InputError, RecipeError
from assembler.pipeline.training import Setting, train_graph, training_task
from assembler.pipeline.weights.initial import needs_of
from assembler.pipeline.weights.loading import begin_of
from assembler.pipeline.weights.loading import places as lie
from assembler.recipe.document import load, parse
from assembler.wiring.build import build

HEAD = """\
kind: model
name: small
inputs: {image: [B, 1, 6, 6]}
graph:
"""
MODEL = (
    HEAD
    + """\
  trunk:
    body:
      conv: {op: conv2d, out: 4, kernel_size: 3}
      norm: batch_norm2d
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
)
BLOBS = {"name": "blobs", "train": 32, "validation": 16, "test": 16, "size": 6}
STILL = {"steps": 1, "lr": 1e-12, "batch": 16}
"""A training that moves nothing, so that what comes out is what went in."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and weights for it that no seed draws."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.yaml").write_text(MODEL)
    save_weights(asm.build("model.yaml", seed=77), "ours.safetensors")
    return tmp_path


def written(text: str, name: str = "filed.yaml") -> str:
    Path(name).write_text(text)
    return name


def trained(recipe: str, *overrides: str, seed: int = 0, weights: str | None = None) -> Product:
    """What a training that moves nothing makes of a recipe."""
    document = load(recipe, overrides)
    begin = lie(document.model, document.folder, weights)
    return train_graph(asm.graph(document), Setting(BLOBS, STILL, seed, "cpu"), begin)[0]


def weights_of(product: Product) -> dict[str, Tensor]:
    return read_weights(product.file("weights.safetensors"))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """The parameters that are the same in both, up to a training that moves nothing."""
    return [k for k in one if k in other and _same(one[k], other[k])]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.is_floating_point() and torch.allclose(one, other, atol=1e-6)


def key_of(recipe: str, weights: str | None = None) -> str:
    """The key of that training; nothing is trained."""
    document = load(recipe)
    where, model = lie(document.model, document.folder, weights), asm.graph(document)
    needs = needs_of(Store(resources.store_home()), model, where)
    return training_task(model, Setting(BLOBS, STILL, 0, "cpu"), needs, label="").key


PARAMETERS = [
    "trunk.conv.weight",
    "trunk.conv.bias",
    "trunk.norm.weight",
    "trunk.norm.bias",
    "head.weight",
    "head.bias",
]


def test_a_training_begins_with_the_weights_of_its_recipe(place: Path) -> None:
    ours = load_file("ours.safetensors")
    recipe = written(MODEL + "weights: {file: ours.safetensors}\n")
    made = trained(recipe)
    assert set(same(weights_of(made), ours)) >= set(PARAMETERS)
    assert (made.result["loaded"], made.result["initialised"]) == (len(ours), [])
    by_override = trained("model.yaml", "weights.file=ours.safetensors")
    assert by_override.key == made.key, "the same weights are the same training"


def test_the_key_is_what_the_tensors_hold_not_where_they_lie(place: Path) -> None:
    recipe = written(MODEL + "weights: {file: ours.safetensors}\n")
    first = key_of(recipe)
    Path("ours.safetensors").rename("elsewhere.safetensors")
    again = key_of("model.yaml", "elsewhere.safetensors")
    torch.save(load_file("elsewhere.safetensors"), "ours.safetensors")  # the same in another format
    assert first == again == key_of(recipe)
    changed = load_file("elsewhere.safetensors")
    changed["head.bias"][0] += 1
    save_file(changed, "ours.safetensors")
    assert len({first, key_of(recipe), key_of("model.yaml")}) == 3


def test_a_changed_model_says_what_is_missing_before_anything_is_trained(place: Path) -> None:
    recipe = written(MODEL.replace("out: 3}", "out: 5}") + "weights: {file: ours.safetensors}\n")
    with pytest.raises(InputError) as caught:
        trained(recipe)
    assert str(caught.value).splitlines()[0] == (
        "filed.yaml:12:17: error: ours.safetensors: 'head.weight' is [3, 4], the model needs [5, 4]"
    )
    assert "hint: partial: true reads only what fits" in str(caught.value)
    assert not list(Store(place / "home").products())


def test_partial_weights_are_read_where_they_fit_and_told(place: Path) -> None:
    recipe = written(MODEL.replace("out: 3}", "out: 5}") + "weights: {file: ours.safetensors, partial: true}\n")
    made, fresh = asm.build(recipe, seed=3), asm.build("model.yaml", "graph.head.out=5", seed=3)
    assert made.meta["initialised"] == ("head.weight", "head.bias")
    assert same(made.state_dict(), fresh.state_dict()).count("head.weight") == 1
    assert set(same(made.state_dict(), load_file("ours.safetensors"))) >= set(PARAMETERS[:4])
    code, said = call("build", recipe)
    assert code == 0 and "7 loaded, 2 initialised: head.weight, head.bias; 2 not used: " in said
    save_file({"other": torch.ones(1)}, "ours.safetensors")
    with pytest.raises(InputError, match=r"filed.yaml:12:17: error: nothing in ours.safetensors fits the model"):
        asm.build(recipe)


def test_the_command_line_trains_from_weights(place: Path) -> None:
    data = "{name: blobs, train: 32, validation: 16, test: 16, size: 6}"
    said = ("--data", data, "--train", "{steps: 1, lr: 1e-12}", "--device", "cpu", "--out", "out")
    code, output = call("train", "model.yaml", "-w", "ours.safetensors", *said)
    assert code == 0, output
    assert set(same(load_file("out/model.safetensors"), load_file("ours.safetensors"))) >= set(PARAMETERS)
    more = ("-o", "head.out=5", "-o", "weights.partial=true", "--test")
    code, output = call("train", "model.yaml", "-w", "ours.safetensors", *more, *said)
    assert code == 0 and "weights      7 loaded, 2 initialised: head.weight, head.bias\n" in output
    code, output = call("train", "model.yaml", "-w", "ours.safetensors", "-o", "head.out=5", *said)
    assert code == 2 and "'head.weight' is [3, 4], the model needs [5, 4]" in output


def test_python_trains_and_searches_from_weights(place: Path) -> None:
    ours = load_file("ours.safetensors")
    made = asm.train("model.yaml", BLOBS, settings=STILL, weights="ours.safetensors", device="cpu")
    assert set(same(made.weights, ours)) >= set(PARAMETERS)
    recipe = written(MODEL.replace("batch_norm2d", "{$oneof: [batch_norm2d, identity]}"))
    Path(recipe).write_text(Path(recipe).read_text() + "weights: {file: ours.safetensors, partial: true}\n")
    seen: list[Tensor] = []
    asm.search(recipe, lambda m: seen.append(m.state_dict()["head.weight"]) or 0.0, trials=2, sampler="random")
    assert len(seen) == 2 and all(torch.equal(one, ours["head.weight"]) for one in seen)


def test_another_model_may_begin_with_what_fits_it(place: Path) -> None:
    document = load(written(MODEL + "weights: {file: ours.safetensors}\n"))
    other = asm.build("model.yaml", "graph.head.out=5", "graph.trunk.norm=identity").state_dict()
    found = begin_of(lie(document.model, document.folder), other, fitting=True)
    assert found is not None and set(found.tensors) == {"trunk.conv.weight", "trunk.conv.bias"}
    nothing = begin_of(lie(document.model, document.folder), {"x": torch.ones(1)}, fitting=True)
    assert nothing is not None and not nothing.tensors


# -- steps -----------------------------------------------------------------------------------------------------------

LAYERS = """\
  backbone:
    repeat: 2
    frozen: true
    weights: {file: theirs.safetensors, map: {"*.fc.*": "h.*.lin.*"}}
    body: {fc: {op: linear, out: 4}, act: relu}
  head: {op: linear, out: 2}
"""


def theirs() -> dict[str, Tensor]:
    torch.manual_seed(5)
    return {f"h.{i}.lin.{n}": torch.randn(*s) for i in range(2) for n, s in (("weight", (4, 4)), ("bias", (4,)))}


def test_a_container_begins_with_weights_under_names_relative_to_it(place: Path) -> None:
    save_file(theirs() | {"fc.weight": torch.ones(1)}, "theirs.safetensors")
    recipe = written("kind: model\ninputs: {x: [B, 4]}\ngraph:\n" + LAYERS)
    module = asm.build(recipe)
    assert torch.equal(module.state_dict()["backbone.1.fc.weight"], theirs()["h.1.lin.weight"])
    assert module.meta["unread"] == ("fc.weight",)
    assert [n for n, p in module.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    assert torch.equal(module.state_dict()["head.weight"], asm.build(asm.graph(recipe)).state_dict()["head.weight"])


def test_a_file_may_be_a_blocks_parameter_and_each_call_has_its_own(place: Path) -> None:
    for n in range(2):
        save_file({"weight": torch.full((3, 4), float(n)), "bias": torch.zeros(3)}, f"arm{n}.safetensors")
    recipe = written(
        "kind: model\ninputs: {x: [B, 4]}\nblocks:\n"
        "  arm: {params: {file: null}, body: {fc: {op: linear, out: 3, weights: {file: =file}}}}\n"
        "graph:\n  a: {op: arm, file: arm0.safetensors, from: x}\n  b: {op: arm, file: arm1.safetensors, from: x}\n"
        "  sum: {op: add, from: [a, b]}\n"
    )
    state = asm.build(recipe).state_dict()
    assert [float(state[f"{i}.fc.weight"].mean()) for i in "ab"] == [0.0, 1.0]


def test_an_inner_steps_weights_go_before_those_of_the_model(place: Path) -> None:
    ours = load_file("ours.safetensors")
    save_file({"weight": torch.zeros(3, 4), "bias": torch.ones(3)}, "head.safetensors")
    save_file({k: v for k, v in ours.items() if not k.startswith("head")}, "rest.safetensors")
    text = MODEL.replace("out: 3}", "out: 3, weights: {file: head.safetensors}}")
    state = asm.build(written(text + "weights: {file: rest.safetensors}\n")).state_dict()
    assert not state["head.weight"].any() and torch.equal(state["trunk.conv.bias"], ours["trunk.conv.bias"])
    whole = asm.build("filed.yaml", weights="ours.safetensors").state_dict()
    assert torch.equal(whole["head.weight"], ours["head.weight"]), "weights that are given are for all of the model"


@pytest.mark.parametrize(
    ("step", "file", "said"),
    [
        ("{op: linear, out: 3", {"weight": (3, 4)}, "x.safetensors: no 'bias', which 'fc' has"),
        ("{op: linear, out: 3", {"weight": (3, 5), "bias": (3,)}, "'weight' is [3, 5], 'fc' needs [3, 4]"),
        ("{op: linear, out: 3", {"weight": (3, 4), "bias": (3,), "b": (1,)}, "x.safetensors: 'b' is not in 'fc'"),
        ("{op: relu", {"weight": (3, 4)}, "'fc' has no weights of its own"),
        ("{op: linear, out: 3", {}, "no weights file x.safetensors"),
    ],
)
def test_what_is_wrong_with_a_steps_weights_is_told_where_they_are_named(
    step: str, file: dict[str, Any], said: str, place: Path
) -> None:
    if file:
        save_file({name: torch.ones(*shape) for name, shape in file.items()}, "x.safetensors")
    text = f"kind: model\ninputs: {{x: [B, 4]}}\ngraph:\n  fc: {step}, weights: {{file: x.safetensors}}}}\n"
    with pytest.raises(AssemblerError) as caught:
        asm.build(written(text))
    column = text.splitlines()[3].index("x.safetensors") + 1
    assert str(caught.value).startswith(f"filed.yaml:4:{column}: error: ") and said in str(caught.value)
    with pytest.raises(AssemblerError) as planned:
        asm.plan("filed.yaml")
    assert planned.value.problems[0].message == caught.value.problems[0].message


def test_a_steps_file_lies_beside_the_recipe_that_names_it(place: Path) -> None:
    Path("sub").mkdir()
    save_file({"weight": torch.ones(3, 4), "bias": torch.ones(3)}, "sub/x.safetensors")
    step = "kind: model\ninputs: {{x: [B, 4]}}\ngraph:\n  fc: {{op: linear, out: 3, weights: {{file: {}}}}}\n"
    written(step.format("x.safetensors"), "sub/base.yaml")
    written("kind: model\nextends: sub/base.yaml\n", "above.yaml")
    assert float(asm.build("above.yaml").state_dict()["fc.bias"].sum()) == 3
    with pytest.raises(RecipeError, match=r"a recipe may not reach '\.\./ours.safetensors'"):
        asm.build(written(step.format("../ours.safetensors"), "sub/bad.yaml"))


# -- runs and searches -----------------------------------------------------------------------------------------------

RUN = """\
kind: run
name: begun
model: filed.yaml
data: {name: blobs, train: 32, validation: 16, test: 16, size: 6}
train: {batch: 16, steps: 1, lr: 1e-12}
phases:
  export: {}
"""


def run(phases: str, *overrides: str, model: str = MODEL) -> Any:
    written(model + "weights: {file: ours.safetensors}\n")
    written(RUN + phases, "run.yaml")
    return asm.run("run.yaml", "phases.export.formats=[safetensors]", *overrides, workers=1, device="cpu")


def products(label: str) -> list[Product]:
    return [p for p in Store(Path("home")).products() if p.card["label"] == label]


@pytest.mark.slow
def test_every_model_of_a_run_begins_with_the_recipes_weights(place: Path) -> None:
    ours = load_file("ours.safetensors")
    folder, _ = run("  teacher: {}\n  train: {train: {lr: 2e-12}}\n")
    assert set(same(load_file(folder / "model.safetensors"), ours)) >= set(PARAMETERS)
    assert set(same(weights_of(products("teacher")[0]), ours)) >= set(PARAMETERS)


def test_a_phase_that_changes_the_model_says_what_does_not_fit_before_anything_is_trained(place: Path) -> None:
    phases = "  teacher: {}\n  train: {set: {head.out: 3, trunk.conv.out: 8}}\n"
    with pytest.raises(InputError, match=r"filed.yaml:12:17: error: .*'trunk.conv.weight' is \[4, 1, 3, 3\]"):
        run(phases)
    assert not list(Path("home").rglob("card.json"))
    more = ("-o", "weights.partial=true", "-o", "phases.export.formats=[safetensors]", "--workers", "1")
    code, said = call("run", "run.yaml", "--device", "cpu", *more)
    assert code == 0 and "weights of train: 2 loaded, 7 initialised: trunk.conv.weight, trunk.conv.bias, " in said
    assert "weights of teacher" not in said


def test_plan_reads_the_weights_of_a_models_steps_and_of_a_runs_phases(place: Path) -> None:
    save_file({"weight": torch.ones(3, 4), "bias": torch.ones(3)}, "head.safetensors")
    save_file({"weight": torch.ones(3, 5), "bias": torch.ones(3)}, "wide.safetensors")
    written(MODEL.replace("out: 3}", "out: 3, weights: {file: head.safetensors}}"))
    assert asm.plan("filed.yaml").weights.startswith("2 loaded, ")
    written(RUN + "  teacher: {weights: wide.safetensors}\n", "run.yaml")
    with pytest.raises(AssemblerError, match=r"run\.yaml:8:22: error: wide\.safetensors: these are another model's"):
        asm.plan("run.yaml")


@pytest.mark.slow
def test_a_teachers_weights_are_read_by_the_models_map(place: Path) -> None:
    ours = load_file("ours.safetensors")
    save_file({f"net.{k}": v for k, v in ours.items()}, "theirs.safetensors")
    model = MODEL + "weights: {map: {trunk.*.*: net.trunk.*.*, head.*: net.head.*}}\n"
    written(model)
    written(RUN + "  teacher: {weights: theirs.safetensors}\n", "run.yaml")
    folder, summary = asm.run("run.yaml", "phases.export.formats=[safetensors]", workers=1, device="cpu")
    assert summary["cost"]["train_flops"]["teacher"] == 0
    found = load_file(folder / "model.safetensors")
    assert all(torch.equal(found[k], ours[k]) for k in ours)


@pytest.mark.slow
def test_a_searched_candidate_begins_with_the_weights_of_its_steps(place: Path) -> None:
    save_file({"weight": torch.full((3, 4), 2.0), "bias": torch.zeros(3)}, "head.safetensors")
    head = "{$oneof: [{op: linear, out: 3, weights: {file: head.safetensors}}, {op: linear, out: 3, bias: false}]}"
    recipe = written(MODEL.replace("{op: linear, out: 3}", head))
    data = "{name: blobs, train: 32, validation: 16, test: 16, size: 6}"
    code, said = call("search", recipe, "--data", data, "--trials", "2", "--sampler", "random", "--device", "cpu",
                      "-o", "name=found", "--out", "out")  # fmt: skip
    assert code == 0, said
    made = [p for p in Store(Path("home")).products() if p.card["phase"] == "search" and "loaded" in p.result]
    assert [p.result["loaded"] for p in made] == [2]
    Path("head.safetensors").unlink()
    code, said = call("search", recipe, "--data", data, "--trials", "2", "--device", "cpu", "--out", "out")
    assert code == 2 and "filed.yaml:10:56: error: no weights file head.safetensors" in said


@pytest.mark.slow
def test_a_slots_part_begins_with_the_weights_of_its_steps(place: Path) -> None:
    from tiny_runs import changed

    text = changed(
        ("{$oneof: [dwconv, pool, zero]}", "{$oneof: [{op: dwconv, weights: {file: depth.safetensors}}, pool]}"),
        ("seeds: [0, 1]", "seeds: [0]"),
        ("    train: {epochs: 2}", "    train: {steps: 1, lr: 1e-12}"),
        ("epochs: 8", "epochs: 1"),
        ("  compare: {}\n", ""),
    )
    drawn = lower(build(parse(text).default)).state_dict()
    token = {k.rpartition("token.")[2]: v for k, v in drawn.items() if k.startswith("stage.0.block.mix.token.")}
    save_file({k: torch.full_like(v, 0.5) for k, v in token.items()}, "depth.safetensors")
    asm.run(parse(text, overrides=["phases.export.formats=[safetensors]"]), workers=1, device="cpu")
    begun = [
        p
        for p in Store(Path("home")).products()
        if p.card["phase"] == "incubate" and "initial:weights" in p.card["needs"]
    ]
    assert len(begun) == 2
    for made in begun:
        state = read_weights(made.file("weights.safetensors"))
        assert all(torch.allclose(v, torch.tensor(0.5), atol=1e-6) for k, v in state.items() if ".token." in k)
