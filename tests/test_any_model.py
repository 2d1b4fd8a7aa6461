"""Every recipe of docs/any-model.md builds, runs in both modes and passes gradients."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import assembler as asm
from assembler.compile.lower import lower
from assembler.graph.structure import flatten, pack
from assembler.importing.folder import save
from assembler.infer.shape import dtype_of
from assembler.pipeline.checking.check import check
from assembler.recipe.document import load, parse
from assembler.wiring.build import build
from assembler.wiring.lint import lint

PAGE = (Path(__file__).parents[1] / "docs" / "any-model.md").read_text()
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
RECIPES = [(s.splitlines()[0], r) for s in SECTIONS for r in re.findall(r"```yaml\n(.*?)```", s, re.DOTALL)]


MODELS = [(name, text) for name, text in RECIPES if text.startswith("kind: model")]
RUNS = [(name, text) for name, text in RECIPES if text.startswith("kind: run")]


@pytest.mark.parametrize(("section", "text"), RUNS, ids=[name for name, _ in RUNS])
def test_the_run_trains(section: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    file = tmp_path / "page.yaml"
    file.write_text(text)
    assert check(load(file)) == []
    folder, summary = asm.run(str(file), "seeds=[0]")
    assert (folder / "summary.json").is_file() and not summary["failures"]


@pytest.mark.parametrize(("section", "text"), MODELS, ids=[name for name, _ in MODELS])
def test_the_recipe_runs(section: str, text: str) -> None:
    document = parse(text, "page.yaml")
    assert lint(document) == []
    graph = build(document.model)
    model = lower(graph)
    for mode in (True, False):
        model.train(mode)
        given = {name: _value(kind.shape, kind.dtype) for name, kind in graph.inputs}
        made = model(**pack(given.items()))
        values = dict(flatten(made)) if isinstance(made, dict) else {"output": made}
        total = sum(v.sum() for v in values.values() if v.is_floating_point() and v.requires_grad)
        torch.autograd.backward(total)
    trained = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert trained == []


def test_the_recipe_with_a_new_head_is_right(tmp_path: Path) -> None:
    tf = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = tf.ViTConfig(**sizes, image_size=8, patch_size=4, num_channels=1, num_labels=10)
    module = tf.ViTForImageClassification(config)
    save(asm.from_module(module, {"pixel_values": torch.randn(2, 1, 8, 8)}), tmp_path / "vit")
    head, between = re.findall(r"```yaml extends\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "page.yaml").write_text(between)
    assert check(load(tmp_path / "page.yaml")) == []
    trained = [name for name, p in asm.build(tmp_path / "page.yaml").named_parameters() if p.requires_grad]
    assert {name.partition(".")[0] for name in trained} == {"adapter", "classifier"}
    (tmp_path / "page.yaml").write_text(head)
    assert check(load(tmp_path / "page.yaml")) == []
    model = asm.build(tmp_path / "page.yaml")
    made = model(torch.randn(3, 1, 8, 8))
    assert {name: tuple(value.shape) for name, value in made.items()} == {"logits": (3, 5), "features": (3, 16)}
    theirs, ours = module.state_dict(), model.state_dict()
    torch.testing.assert_close({k: ours[k] for k in ours if k in theirs}, {k: theirs[k] for k in ours if k in theirs})
    (tmp_path / "frozen.yaml").write_text(re.findall(r"```yaml frozen\n(.*?)```", PAGE, re.DOTALL)[0])
    frozen = asm.build(tmp_path / "frozen.yaml")
    assert [name for name, p in frozen.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    held = {k.removeprefix("trunk."): v for k, v in frozen.state_dict().items() if k.startswith("trunk.")}
    torch.testing.assert_close(held, {k: theirs[k] for k in held})
    trained = {name.rpartition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert "head" in trained and all(n == "head" or n.startswith("vit.layers.2.") for n in trained)


def test_the_page_has_recipes() -> None:
    assert len(RECIPES) >= 10


def _value(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    kind = dtype_of(dtype)
    return torch.randn(shape, dtype=kind) if kind.is_floating_point else torch.randint(0, 5, shape, dtype=kind)
