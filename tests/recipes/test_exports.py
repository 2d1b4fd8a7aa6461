"""Every reference recipe, in a small size, in every format that leaves the package."""

from __future__ import annotations

import re
import types
from pathlib import Path

import pytest
import torch
from small_recipes import RECIPES, outputs, small
from torch import nn

import assembler as asm
from assembler.compile.exported import examples, exported
from assembler.compile.exported_onnx import save_onnx
from assembler.compile.source import to_source
from assembler.compile.weights import save_weights
from assembler.graph.modes import in_mode

TOGETHER = ("gpt2", "moe", "resnet18", "rnn")
"""Different enough to stand for all in ONNX: tied weights, experts, a convolutional net, a loop with nested values."""


@pytest.mark.parametrize("name", RECIPES)
def test_source_has_the_same_bits(name: str, tmp_path: Path) -> None:
    """In evaluation and in training, at another batch than the recipe's."""
    module = small(name)
    graph = module.meta["graph"]
    text = to_source(graph)
    made = types.ModuleType(f"exported_{name}")
    made.__file__ = str(tmp_path / "model.py")
    exec(compile(text, made.__file__, "exec"), made.__dict__)
    save_weights(module, tmp_path / "model.safetensors")
    alone = made.load()
    assert list(alone.state_dict()) and sorted(alone.state_dict()) == sorted(module.state_dict())
    kept = {k: v.clone() for k, v in module.state_dict().items()}  # training moves running statistics
    for mode in ("eval", "train"):
        inputs = examples(in_mode(graph, mode), 3, seed=7)  # type: ignore[arg-type]
        ours, theirs = (outputs(m.train(mode == "train"), inputs) for m in (module, alone))
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[k], theirs[k]) for k in ours), mode
    module.load_state_dict(kept)


@pytest.mark.parametrize("name", RECIPES)
def test_pt2_takes_any_batch(name: str, tmp_path: Path) -> None:
    module = small(name).train()
    found = exported(module)
    assert found.fixed == ""
    assert all(inner.training for inner in module.modules() if not isinstance(inner, nn.ModuleList))
    program = found.program.module()
    module.eval()
    for batch in (1, 5):
        inputs = examples(found.graph, batch, seed=batch)
        ours = outputs(module, inputs)
        theirs = outputs(lambda **given: program(*given.values()), inputs)
        torch.testing.assert_close(dict(theirs), ours, rtol=1e-5, atol=1e-5)


def _onnx(name: str, folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    said = save_onnx(small(name), folder / "model.onnx")
    assert re.fullmatch(r"onnxruntime is within \d\.\de[+-]\d\d of the model", said)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    graph = in_mode(small(name).meta["graph"], "eval")
    assert {i.name for i in session.get_inputs()} == set(graph.input_names)
    made = [o.name.removesuffix(".out") for o in session.get_outputs()]
    assert made == [n for n, _ in graph.outputs]


@pytest.mark.parametrize("name", TOGETHER)
def test_onnx_agrees(name: str, tmp_path: Path) -> None:
    _onnx(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in RECIPES if n not in TOGETHER])
def test_onnx_of_the_others_agrees(name: str, tmp_path: Path) -> None:
    _onnx(name, tmp_path)


@pytest.mark.parametrize("name", ["gpt2", "vit_ti", "bert_base", "t5_small"])
def test_deep_models_do_not_grow_their_source(name: str) -> None:
    """Twice the blocks are no more lines."""
    texts = [to_source(asm.graph(name, f"vars.depth={depth}", "vars.dim=48")) for depth in (2, 4)]
    first, second = (len(t.splitlines()) for t in texts)
    assert first == second


def test_a_whole_gpt2_reads_like_one_written_by_hand() -> None:
    text = to_source(asm.graph("gpt2"))
    own = text[text.index("class Block") : text.index("DTYPES")]
    assert len(own.splitlines()) < 75
    assert "        self.block = nn.ModuleList(Block() for _ in range(12))\n" in own
    assert "        for block in self.block:\n            x = block(x)  # [B, 1024, 768]\n" in own
    assert "        self.head.weight = self.embed.weight\n" in own


@pytest.mark.parametrize("name", ["gpt2", "ddpm_unet", "rnn"])
def test_a_folder_is_the_very_model(name: str, tmp_path: Path) -> None:
    module = small(name)
    asm.export(module, tmp_path, ["safetensors"])
    assert sorted(f.name for f in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    again = asm.build(tmp_path, seed=9)
    assert again.meta["graph"] == module.meta["graph"]
    ours, theirs = module.state_dict(), again.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert len({id(p) for p in again.parameters()}) == len({id(p) for p in module.parameters()})


def test_a_tied_tensor_is_in_the_file_once(tmp_path: Path) -> None:
    from safetensors import safe_open

    module = small("gpt2")
    asm.export(module, tmp_path, ["safetensors"])
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert "head.weight" not in file.keys() and "embed.weight" in file.keys()
        assert file.metadata()["head.weight"] == "embed.weight"
    unique = 4 * sum(p.numel() for p in module.parameters())
    assert (tmp_path / "model.safetensors").stat().st_size < unique + 10_000
