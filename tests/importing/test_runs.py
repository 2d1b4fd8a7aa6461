"""Imported models as models of runs: cut, edited, incubated, searched, assembled and distilled, with their weights."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import assembler as asm
from assembler.assemble.hybrid import value_paths
from assembler.assemble.sharing import sharing
from assembler.assemble.weights import part_keys, whole_keys
from assembler.compile.lower import lower
from assembler.errors import AssemblerError
from assembler.graph.edit import extract
from assembler.graph.text import from_text
from assembler.importing.folder import save
from assembler.importing.imported import from_module
from assembler.infer.shape import shapes
from assembler.pipeline.checking.check import check
from assembler.recipe.document import load, parse

tf = pytest.importorskip("transformers")
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]


@functools.cache
def _vit() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = tf.ViTConfig(**sizes, image_size=8, patch_size=4, num_channels=1, num_labels=10)
    module = tf.ViTForImageClassification(config).eval()
    return module, from_module(module, {"pixel_values": torch.randn(2, 1, 8, 8)})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small imported vision transformer in `vit`, the working directory of the test."""
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    save(_vit()[1], tmp_path / "vit")
    return tmp_path


def _run(folder: Path, text: str) -> tuple[Path, dict[str, Any]]:
    (folder / "run.yaml").write_text(text)
    assert check(load(folder / "run.yaml")) == []
    return asm.run(folder / "run.yaml", workers=1, device="cpu")


SEARCH = """
kind: run
model: vit
set: {inputs.pixel_values: image}
data: digits
split: auto
train: {steps: 4, batch: 32}
space:
  vit.layers.*: {$oneof: [keep, identity, {body: {norm: layer_norm, mlp: {op: mlp, ratio: 0.5}}}]}
phases:
  teacher: {train: {epochs: 0}}
  incubate:
    host: teacher
    start: host
    objective: [{loss: normalized_mse, value: slot, target: host.slot}]
  search: {budget: {params: =0.7 * teacher}}
  assemble: {train: {epochs: 0}}
  rewrite: {of: assembled, apply: [drop_identities]}
  export: {formats: [safetensors]}
"""


def test_a_run_assembles_an_imported_model_from_parts(folder: Path) -> None:
    made, summary = _run(folder, SEARCH)
    assert not summary["failures"]
    parts = [json.loads(line) for line in (made / "parts.jsonl").read_text().splitlines()]
    assert {p["slot"] for p in parts} == {"vit.layers.0", "vit.layers.1", "vit.layers.2"}
    assert len(parts) == 9
    winner = from_text((made / "graph.txt").read_text())
    model = lower(winner)
    assert sum(p.numel() for p in model.parameters()) <= 0.7 * 7242
    weights = asm.build(made).state_dict()
    theirs = _vit()[0].state_dict()
    same = [k for k in weights if k in theirs and k.startswith(("vit.embeddings.", "classifier."))]
    assert len(same) == 6
    torch.testing.assert_close({k: weights[k] for k in same}, {k: theirs[k] for k in same}, rtol=0, atol=0)


@pytest.mark.parametrize(("start", "share"), [("copies", 3), ("random", 1)])
def test_what_start_says_goes_before_what_a_variant_leaves(folder: Path, start: str, share: int) -> None:
    phases = f"meta: {{blocks: 1}}, incubate: {{start: {start}}}"
    _run(folder, f"kind: run\nmodel: vit\nset: {{inputs.pixel_values: image}}\ndata: digits\nsplit: [vit.layers]\n"
         f"train: {{epochs: 0}}\nphases: {{{phases}}}\n")  # fmt: skip
    files = folder.glob("home/parts/*/*/weights.safetensors")
    made = {json.loads((file.parent / "card.json").read_text())["phase"]: load_file(file) for file in files}
    old = made["meta"]["vit.layers.0.mlp.fc2.weight"]
    torch.testing.assert_close(made["incubate"]["0.mlp.fc2.weight"], old / share)


@pytest.mark.slow
def test_a_teacher_of_no_epochs_is_the_imported_model_itself(folder: Path) -> None:
    text = (
        SEARCH[: SEARCH.index("space:")]
        + "phases:\n  teacher: {train: {epochs: 0}}\n  export: {formats: [safetensors]}\n"
    )
    made, summary = _run(folder, text)
    assert summary["failures"] == []
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(asm.build(made).eval()(x), _vit()[0](x).logits)


PAGE = (Path(__file__).parents[2] / "docs" / "any-model.md").read_text()


def test_the_run_of_the_page_is_right(folder: Path) -> None:
    text = PAGE.partition("```yaml run\n")[2].partition("```")[0]
    (folder / "page.yaml").write_text(text)
    assert check(load(folder / "page.yaml")) == []
    made = asm.plan(folder / "page.yaml")
    assert [len(s.variants) for s in made.slots] == [3, 3, 3]


DISTIL = """
kind: run
model:
  inputs: {image: [B, 1, 8, 8]}
  graph:
    embed: {op: patch_embed, patch_size: 4, out: 16}
    block: {op: residual, repeat: 2, body: {norm: layer_norm, mlp: mlp}}
    pool: token_pool
    head: {op: linear, out: 10}
  outputs: {logits: head}
data: digits
train: {steps: 4, batch: 32}
phases:
  teacher: {model: vit, set: {inputs.pixel_values: image}, train: {epochs: 0}}
  train:
    objective:
      - {loss: kl, value: logits, target: teacher.logits}
      - {loss: mse, value: pool, target: teacher.select}
"""


def test_a_recipe_learns_from_an_imported_teacher(folder: Path) -> None:
    _, summary = _run(folder, DISTIL)
    assert not summary["failures"]
    assert set(summary["models"]) >= {"teacher", "train"}


@pytest.mark.parametrize(
    ("change", "steps", "params"),
    [
        ("vit.layers.1=identity", 58, 7242 - 2224),
        ("vit.layers.1=null", 57, 7242 - 2224),
        ("vit.layers.*.mlp={op: mlp, ratio: 0.5}", 73, 7242 - 3 * (1072 - 280)),
        ("vit.layers.mlp=identity", 73, 7242 - 3 * 1072),
        ("vit.layers.1.mlp.fc1.out=8", 79, 7242 - 24 * 17 - 24 * 16),
        ("vit.layers.1={body: {n: layer_norm, m: {op: linear, out: 16}}}", 59, 7242 - 2224 + 32 + 272),
        ("vit.layers.1.add=mul", 79, 7242),
        ("vit.layers.1=keep", 79, 7242),
        ("outputs.hidden=vit.layers.0", 79, 7242),
    ],
)
def test_changes_of_an_imported_model(folder: Path, change: str, steps: int, params: int) -> None:
    made = asm.plan("vit", change)
    assert (len(made.rows), made.cost.params) == (steps, params)
    built = asm.build("vit", change)
    theirs = _vit()[0].state_dict()
    kept = {k: v for k, v in built.state_dict().items() if k in theirs and v.shape == theirs[k].shape}
    torch.testing.assert_close(kept, {k: theirs[k] for k in kept}, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "vit.layer.1=identity",
            "-o:1:1: error: 'vit' has no 'layer.1'\n"
            "    vit.layer.1=identity\n"
            "    ^^^^^^^^^^^\n"
            "    hint: did you mean 'vit.layers.1' or 'vit.layers.2' or 'vit.layers.0'?",
        ),
        (
            "vit.layers.1.mlp.fc1.uot=8",
            "-o:1:1: error: step 'vit.layers.1.mlp.fc1': op 'linear' has no argument 'uot'\n"
            "    vit.layers.1.mlp.fc1.uot=8\n"
            "    ^^^^^^^^^^^^^^^^^^^^^^^^\n"
            "    hint: did you mean 'out'?",
        ),
        (
            "vit.layers.1={op: linaer, out: 16}",
            "-o:1:19: error: unknown op 'linaer'\n"
            "    vit.layers.1={op: linaer, out: 16}\n"
            "                      ^^^^^^\n"
            "    hint: did you mean 'linear' or 'bilinear' or 'Bilinear'?",
        ),
        (
            "vit.*.mlp=identity",
            "-o:1:1: error: 'vit.*.mlp' matches nothing: no numbers stand behind 'vit'\n"
            "    vit.*.mlp=identity\n"
            "    ^^^^^^^^^\n"
            "    hint: there are numbers behind vit.layers",
        ),
        (
            "inputs.pixels=image",
            "-o:1:1: error: ViTForImageClassification has no input 'pixels'\n"
            "    inputs.pixels=image\n"
            "    ^^^^^^^^^^^^^\n"
            "    hint: did you mean 'pixel_values'?",
        ),
        (
            "vit.layers.1.mlp.fc2.out=8",
            "vit.layers.1.add_1: error: vit.layers.1.add_1 (add) does not accept vit.layers.1.dropout_1 [2, 5, 8] and "
            "vit.layers.1.add [2, 5, 16]: attempting to broadcast a dimension of length 16 at -1",
        ),
    ],
)
def test_what_is_wrong_with_a_change(folder: Path, change: str, message: str) -> None:
    with pytest.raises(AssemblerError) as caught:
        asm.plan("vit", change)
    assert str(caught.value).startswith(message)


def test_a_recipe_extends_an_imported_model(folder: Path) -> None:
    block = "{params: {ratio: 1}, body: {n: layer_norm, m: {op: mlp, ratio: =ratio}}}"
    text = f"kind: model\nextends: vit\nblocks: {{small: {block}}}\n"
    (folder / "small.yaml").write_text(
        text + "set: {vit.layers.0: {op: small, ratio: 0.5}}\ngraph: {vit.layers.2: small}\n"
    )
    (folder / "space.yaml").write_text(
        "kind: space\nbase: small.yaml\nchoose: {vit.layers.1: {$oneof: [keep, small]}}\n"
    )
    graph = asm.graph("small.yaml")
    assert [i for i in graph.nodes if i.startswith(("vit.layers.0", "vit.layers.2"))] == [
        "vit.layers.0.n", "vit.layers.0.m", "vit.layers.2.n", "vit.layers.2.m",
    ]  # fmt: skip
    assert asm.build("small.yaml").meta["initialised"][0] == "vit.layers.0.n.weight"
    assert asm.plan("space.yaml").space_size == 2
    assert (
        asm.graph(load("small.yaml")).fingerprint == asm.graph(parse((folder / "small.yaml").read_text())).fingerprint
    )


def test_what_is_said_inside_of_what_is_gone_does_not_matter(folder: Path) -> None:
    found = asm.graph("vit", "vit.layers.1=identity", "vit.layers.1.mlp={op: mlp, ratio: 0.5}")
    assert found.fingerprint == asm.graph("vit", "vit.layers.1=identity").fingerprint


def test_a_symbolic_recipe_of_an_imported_model(folder: Path) -> None:
    import pyglove as pg

    recipe = asm.load("vit")
    recipe.rebind({"vit.layers.1": pg.oneof(["keep", "identity"])})
    assert [d.name for d in recipe.space.decisions] == ["vit.layers.1"]
    made = recipe.decided({"vit.layers.1": 1})
    assert asm.graph(made).fingerprint == asm.graph("vit", "vit.layers.1=identity").fingerprint
    theirs = _vit()[0].state_dict()["vit.layers.0.mlp.fc1.weight"]
    torch.testing.assert_close(asm.build(made).state_dict()["vit.layers.0.mlp.fc1.weight"], theirs)
    with pytest.raises(AssemblerError, match=r"'vit' has no 'layer\.1'"):
        recipe.rebind({"vit.layer.1": "identity"})


def test_a_bare_tensor_goes_where_its_step_goes(folder: Path) -> None:
    graph = asm.graph("vit")
    module = asm.build("vit")
    part = extract(graph, "vit.embeddings", shapes(graph))
    kept = part_keys(module.state_dict(), "vit.embeddings", part)
    assert "cls_token" in kept
    assert kept.keys() == lower(part).state_dict().keys()
    alone = extract(graph, "vit.embeddings.cls_token", shapes(graph))
    tensor = part_keys(module.state_dict(), "vit.embeddings.cls_token", alone)
    assert list(tensor) == ["root"]
    assert list(whole_keys(tensor, "vit.embeddings.cls_token", alone)) == ["vit.embeddings.cls_token"]
    inner, _ = sharing(module, graph, value_paths(graph, ["vit.embeddings"]))
    assert inner.get_parameter("vit.embeddings.cls_token") is module.get_parameter("vit.embeddings.cls_token")


def test_a_slot_computes_something(folder: Path) -> None:
    text = SEARCH.replace("split: auto", "split: [vit.embeddings.cls_token]").replace(
        "vit.layers.*", "vit.embeddings.cls_token"
    )
    found = [str(p.message) for p in check(parse(text, "run.yaml"))]
    assert found == ["'vit.embeddings.cls_token' is a tensor of the weights and computes nothing"]


def test_data_of_another_size_than_the_import_says_what_to_do(folder: Path) -> None:
    text = SEARCH.replace("data: digits", "data: {name: blobs, channels: 1, size: 12, train: 32}")
    (folder / "run.yaml").write_text(text)
    with pytest.raises(AssemblerError) as caught:
        asm.plan("run.yaml")
    assert caught.value.problems[0].message == "the model wants 'image' [1, 8, 8], the data has [1, 12, 12]"
    assert caught.value.problems[0].hint == (
        "the model was imported at that size: take data of it, or import again with --free pixel_values.2 "
        "--free pixel_values.3, or at the data's size"
    )
