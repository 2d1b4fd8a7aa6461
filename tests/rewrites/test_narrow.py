"""Fewer channels and fewer blocks, the important ones: which stay, by weights and by what a run's data says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import assembler as asm
from assembler.assemble.models import Model
from assembler.compile.lower import lower
from assembler.errors import AssemblerError
from assembler.pipeline.rewriting import all_applied, seen
from assembler.recipe.document import parse
from assembler.rewrites.spec import orders
from assembler.train.data.core import Split
from assembler.wiring.build import build

MLP = """
kind: model
inputs: {x: [B, 4]}
graph:
  fc1: {op: linear, out: 8}
  act: relu
  fc2: {op: linear, out: 3}
outputs: {y: fc2}
"""
DEEP = """
kind: model
inputs: {x: [B, 4]}
graph:
  block: {repeat: 4, body: {mix: {op: residual, body: {fc: {op: linear, out: 4}}}}}
  head: {op: linear, out: 2}
outputs: {y: head}
"""


def mlp() -> Model:
    """Channels 1, 4 and 6 alone do something; channel 6 only where x is large."""
    module = lower(build(parse(MLP).model))
    with torch.no_grad():
        for n in (0, 2, 3, 5, 7):
            module.fc1.weight[n] *= 1e-3
            module.fc1.bias[n] *= 1e-3
    return Model(build(parse(MLP).model), dict(module.state_dict()))


def test_the_channels_that_matter_stay_in_their_order() -> None:
    held = mlp()
    graph, state = all_applied(held.graph, orders([{"rewrite": "narrow", "at": "fc1", "out": 3}]), held.weights)
    assert state is not None and graph.nodes["fc1"].arg("out") == 3
    assert torch.equal(state["fc1.weight"], held.weights["fc1.weight"][[1, 4, 6]])
    assert torch.equal(state["fc2.weight"], held.weights["fc2.weight"][:, [1, 4, 6]])


def test_values_on_data_may_say_otherwise_than_weights() -> None:
    held = mlp()
    weights = {k: t.clone() for k, t in held.weights.items()}
    weights["fc1.weight"][:] = 0.1
    weights["fc1.bias"][:] = -100.0  # silent behind the relu, however large
    weights["fc1.bias"][[2, 5]] = 0.0
    split = Split({"x": torch.rand(64, 4)}, ())
    wanted = orders([{"rewrite": "narrow", "at": "fc1", "out": 2, "by": "values"}])
    _, state = all_applied(held.graph, wanted, weights, split)
    assert state is not None and torch.equal(state["fc1.bias"], torch.zeros(2))


def test_the_half_by_default() -> None:
    graph = asm.rewrite(build(parse(MLP).model), {"rewrite": "narrow", "at": "fc1"})
    assert graph.nodes["fc1"].arg("out") == 4


def test_blocks_that_change_nothing_go_first() -> None:
    module = lower(build(parse(DEEP).model))
    with torch.no_grad():
        for n, size in enumerate((1e-3, 2.0, 1e-4, 3.0)):
            module.get_submodule(f"block.{n}.mix.fc").weight.mul_(size)
            module.get_submodule(f"block.{n}.mix.fc").bias.mul_(size)
    split = Split({"x": torch.randn(64, 4)}, ())
    wanted = orders([{"rewrite": "shorten", "at": "block", "blocks": 2, "keep": "important"}])
    graph, state = all_applied(build(parse(DEEP).model), wanted, dict(module.state_dict()), split)
    assert [i for i in graph.nodes if i.endswith("fc")] == ["block.1.mix.fc", "block.3.mix.fc"]
    assert state is not None and torch.equal(
        state["block.3.mix.fc.weight"], module.state_dict()["block.3.mix.fc.weight"]
    )


def test_values_are_those_of_every_position() -> None:
    held = mlp()
    split = Split({"x": torch.randn(10, 4)}, ())
    assert torch.allclose(seen(held, split)("x"), split.fields["x"])
    assert seen(held, split)("fc1").shape == (10, 8)


@pytest.mark.parametrize(
    ("rewrite", "message"),
    [
        ({"rewrite": "narrow", "at": "fc1", "by": "values"}, "narrow by values needs data"),
        ({"rewrite": "narrow", "at": "fc2"}, "its channels are those of an output"),
        ({"rewrite": "narrow", "factor": 1.5}, "'factor' of narrow must be above 0 and below 1, not 1.5"),
    ],
)
def test_what_cannot_be_is_said(rewrite: dict[str, object], message: str) -> None:
    with pytest.raises(AssemblerError) as caught:
        asm.rewrite(asm.build(parse(MLP)), rewrite)
    assert message in str(caught.value)


def test_a_run_prunes_by_what_its_data_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSEMBLER_RUNS", str(tmp_path / "runs"))
    text = """
kind: run
model:
  inputs: {image: [B, 1, 6, 6]}
  graph:
    flat: flatten
    block:
      repeat: 3
      body: {mix: {op: residual, body: {fc1: {op: linear, out: 24}, act: gelu, fc2: {op: linear, out: 36}}}}
    head: {op: linear, out: 3}
  outputs: {logits: head}
data: {name: blobs, train: 96, validation: 48, test: 48, size: 6}
train: {epochs: 2, batch: 32, lr: 1e-2}
phases:
  teacher: {}
  pruned:
    phase: rewrite
    of: teacher
    apply:
      - {rewrite: shorten, at: block, blocks: 2, keep: important}
      - {rewrite: narrow, at: block.*.mix.fc1, by: values}
    train: {epochs: 1}
  export: {formats: [safetensors]}
"""
    folder, summary = asm.run(parse(text), device="cpu", workers=1)
    assert not summary["failures"]
    made = asm.build(folder).state_dict()
    assert sum(k.endswith("fc1.weight") for k in made) == 2
    assert all(t.shape[0] == 12 for k, t in made.items() if k.endswith("fc1.weight"))


@pytest.mark.parametrize(
    ("shape", "layer", "first"),
    [("[B, 3, 3, 4]", "linear", False), ("[B, 4, 3, 3]", "conv2d", True), ("[B, 4, 3]", "conv1d", True)],
)
def test_channels_are_where_what_reads_them_has_them(shape: str, layer: str, first: bool) -> None:
    size = "" if layer == "linear" else ", kernel_size: 1"
    text = f"""
kind: model
inputs: {{x: {shape}}}
graph: {{fc1: {{op: {layer}, out: 6{size}}}, act: relu, fc2: {{op: {layer}, out: 3{size}}}}}
outputs: {{y: fc2}}
"""
    graph = build(parse(text).model)
    weights = {k: t.fill_(0.1) for k, t in lower(graph).state_dict().items()}
    weights["fc1.bias"][:] = torch.tensor([-100.0, 0, -100, -100, 0, -100])
    like = {k: t for k, t in dict(graph.inputs).items()}["x"].shape[1:]
    split = Split({"x": torch.rand(16, *like)}, ())
    wanted = orders([{"rewrite": "narrow", "at": "fc1", "out": 2, "by": "values"}])
    _, state = all_applied(graph, wanted, weights, split)
    assert state is not None and torch.equal(state["fc1.bias"], torch.zeros(2))
    assert seen(Model(graph, weights), split)("act", 1 if first else -1).shape[1] == 6
