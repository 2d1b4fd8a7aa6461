"""An imported model as one step of another recipe: a block that extends its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import assembler as asm
from assembler.errors import AssemblerError
from assembler.importing.folder import save
from assembler.importing.imported import from_module
from assembler.pipeline.checking.check import check
from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.document import load


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = x + layer(x)
        return x


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(4, 8)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"states": self.a(x), "other": self.b(y)}


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Encoder, Pair]:
    torch.manual_seed(0)
    one, two = Encoder().eval(), Pair().eval()
    save(from_module(one, torch.randn(2, 6)), tmp_path / "net")
    save(from_module(two, (torch.randn(2, 6), torch.randn(2, 4))), tmp_path / "pair")
    monkeypatch.chdir(tmp_path)
    return one, two


RECIPE = """
inputs: {image: [B, 6], text: [B, 4]}
blocks:
  encoder: {extends: net}
  both: {extends: pair}
graph:
  left: {op: encoder, from: image, frozen: true}
  right: {op: encoder, from: image}
  two: {op: both, from: {x: image, y: text}}
  other: {op: relu, from: two.other}
  inner: {op: tanh, from: right.layers.0}
  all: {op: concat, from: [left, right, two, other, inner]}
  head: {op: linear, out: 2}
"""


def _build(text: str, **given: object) -> nn.Module:
    Path("new.yaml").write_text(text)
    return asm.build("new.yaml", **given).eval()


def test_models_as_steps_compute_what_they_did_with_their_weights(nets: tuple[Encoder, Pair]) -> None:
    one, two = nets
    module = _build(RECIPE)
    assert check(load("new.yaml")) == []
    x, y = torch.randn(3, 6), torch.randn(3, 4)
    first = one.stem(x)
    made, inner = two(x, y), one.layers[0](first)
    whole = torch.cat([one(x), one(x), made["states"], made["other"].relu(), inner.tanh()], 1)
    torch.testing.assert_close(module(x, y), module.get_submodule("head")(whole))
    assert torch.equal(module.state_dict()["right.layers.1.0.weight"], one.layers[1][0].weight)
    trained = {name.partition(".")[0] for name, p in module.named_parameters() if p.requires_grad}
    assert trained == {"right", "two", "head"}
    assert module.meta["initialised"] == ("head.weight", "head.bias")


def test_what_is_said_of_the_model_stands_in_the_block(nets: tuple[Encoder, Pair]) -> None:
    block = "{extends: net, graph: {stem: {frozen: true}, layers.1: identity, small: {op: linear, out: 3}}}"
    module = _build(f"inputs: {{x: [B, 6]}}\nblocks: {{net: {block}}}\ngraph: {{net: {{op: net}}, act: relu}}")
    one, x = nets[0], torch.randn(3, 6)
    first = one.stem(x)
    first = first + one.layers[0](first)
    torch.testing.assert_close(module(x), module.get_submodule("net.small")(first + first).relu())
    assert set(module.meta["initialised"]) == {"net.small.weight", "net.small.bias"}
    assert not module.get_parameter("net.stem.weight").requires_grad


def test_copies_and_shared_weights(nets: tuple[Encoder, Pair]) -> None:
    text = "inputs: {x: [B, 6]}\nblocks: {net: {extends: net}}\ngraph:\n  pre: {op: linear, out: 6}\n"
    module = _build(
        f"{text}  one: {{op: net, from: pre}}\n  back: {{op: linear, out: 6}}\n  two: {{op: net, share: one}}"
    )
    assert {key.partition(".")[0] for key in module.state_dict()} == {"pre", "one", "back"}
    made = _build(f"{text}  net: {{op: net, for: {{s: [pre, x]}}, from: =s}}\n  sum: {{op: add, from: [net.0, net.1]}}")
    assert torch.equal(made.state_dict()["net.1.stem.weight"], nets[0].stem.weight)


def test_a_search_over_what_stands_in_the_block(nets: tuple[Encoder, Pair]) -> None:
    block = "{extends: net, edits: {layers.1: {$oneof: [keep, identity]}}}"
    text = f"inputs: {{x: [B, 6]}}\nblocks: {{net: {block}}}\n"
    Path("new.yaml").write_text(f"{text}graph: {{net: {{op: net}}, act: {{$oneof: [relu, gelu]}}}}")
    document = load("new.yaml")
    candidates = Candidates(document.model, "new")
    found = {candidates.cost(choice)["params"] for choice in document.space.covering()}
    assert found == {6 * 8 + 8 + 2 * 72, 6 * 8 + 8 + 72}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("from: {x: image, y: text}", "from: image", "new.yaml:9:25: error: step 'two' needs its input 'y'"),
        ("x: image, y: text", "x: image, z: text", "new.yaml:9:36: error: step 'two' has no input 'z'"),
        ("op: encoder, from: image}", "op: encoder, depth: 3}", "new.yaml:8:24: error: block 'encoder' is a model and "
         "has no parameters"),
        ("extends: net", "extends: net, params: {}",
         "new.yaml:4:27: error: block 'encoder', a model, takes no 'params'"),
        ("extends: net", "extends: ../net", "new.yaml:4:22: error: a recipe may not reach '../net'"),
        ("extends: net", "extends: vit_ti", "new.yaml:4:22: error: block 'encoder' extends a recipe of steps; a block "
         "can be an imported model"),
    ],
)  # fmt: skip
def test_mistakes(nets: tuple[Encoder, Pair], old: str, new: str, said: str) -> None:
    with pytest.raises(AssemblerError) as caught:
        _build(RECIPE.replace(old, new, 1) if old in RECIPE else "")
    assert str(caught.value).split("\n")[0] == said


def test_a_symbolic_recipe_finds_the_weights_of_the_models_in_it(
    nets: tuple[Encoder, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("new.yaml").write_text(RECIPE)
    Path("more.yaml").write_text("extends: net\ngraph: {head: {op: linear, out: 3}}\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for file, path in (("new.yaml", "left.layers.1.0.weight"), ("more.yaml", "layers.1.0.weight")):
        made = asm.build(asm.load(tmp_path / file))
        assert torch.equal(made.get_parameter(path), nets[0].get_parameter("layers.1.0.weight"))


def test_a_block_may_be_read_at_one_of_its_steps_alone(nets: tuple[Encoder, Pair]) -> None:
    text = "inputs: {x: [B, 6]}\nblocks: {net: {extends: net}}\ngraph:\n  trunk: {op: net}\n"
    made = _build(f"{text}  head: {{op: linear, from: trunk.layers.0, out: 2}}\n").state_dict()
    assert not any(key.startswith("trunk.layers.1") for key in made)
    assert torch.equal(made["trunk.stem.weight"], nets[0].stem.weight)
