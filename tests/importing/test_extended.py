"""Recipes that extend an imported model: a new head behind it, parts of it frozen, its own weights where they fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import assembler as asm
from assembler.errors import AssemblerError
from assembler.importing.folder import save
from assembler.importing.imported import from_module
from assembler.pipeline.checking.check import check
from assembler.recipe.document import load


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)) for _ in range(2)])
        self.classifier = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.classifier(x)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(4, 8)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"states": self.a(x), "other": self.b(y)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.manual_seed(0)
    save(from_module(Encoder(), torch.randn(2, 6)), tmp_path / "net")
    save(from_module(Pair(), (torch.randn(2, 6), torch.randn(2, 4))), tmp_path / "pair")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _recipe(text: str) -> str:
    Path("new.yaml").write_text(text)
    return "new.yaml"


def _said(text: str) -> str:
    with pytest.raises(AssemblerError) as caught:
        asm.build(_recipe(text))
    return str(caught.value)


HEAD = """
extends: net
graph:
  stem: {frozen: true}
  layers: {frozen: true}
  act: {op: relu, from: layers.1}
  head: {op: linear, out: 5}
"""


def test_a_new_head_keeps_the_weights_of_all_that_stays(folder: Path) -> None:
    assert check(load(_recipe(HEAD))) == []
    module = asm.build("new.yaml")
    theirs = asm.build("net").state_dict()
    kept = module.state_dict()
    assert {k for k in kept if k not in theirs} == {"head.weight", "head.bias"}
    assert {k for k in theirs if k not in kept} == {"classifier.weight", "classifier.bias"}
    torch.testing.assert_close(
        {k: v for k, v in kept.items() if k in theirs}, {k: theirs[k] for k in kept if k in theirs}
    )
    assert module.train()(torch.randn(3, 6)).shape == (3, 5)
    assert not module.get_submodule("layers.0.1").training
    assert {n for n, p in module.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}


def test_a_new_step_reads_the_output_of_the_model(folder: Path) -> None:
    module = asm.build(_recipe("extends: net\ngraph: {more: {op: linear, out: 2, bias: false}}")).eval()
    x = torch.randn(3, 6)
    torch.testing.assert_close(module(x), asm.build("net").eval()(x) @ module.state_dict()["more.weight"].T)


def test_outputs_may_be_named_and_inputs_that_nothing_needs_are_gone(folder: Path) -> None:
    module = asm.build(_recipe("extends: pair\ngraph: {head: {op: linear, out: 2, from: states}}"))
    assert module(torch.randn(3, 6)).shape == (3, 2)
    text = "extends: pair\ngraph: {head: {op: linear, out: 2, from: states}}\noutputs: {logits: head, b: b}"
    made = asm.build(_recipe(text))(torch.randn(3, 6), torch.randn(3, 4))
    assert {name: tuple(value.shape) for name, value in made.items()} == {"logits": (3, 2), "b": (3, 8)}


ADAPTER = "{op: linear, out: 8, bias: false, after: layers.0}"


def test_a_new_step_stands_between_those_of_the_model(folder: Path) -> None:
    module = asm.build(_recipe(f"extends: net\ngraph: {{adapter: {ADAPTER}}}")).eval()
    net, x = Encoder().eval(), torch.randn(3, 6)
    net.load_state_dict(asm.build("net").state_dict())
    y = net.stem(x)
    y = y + net.layers[0](y) @ module.state_dict()["adapter.weight"].T
    y = y + net.layers[1](y)
    torch.testing.assert_close(module(x), net.classifier(y))
    over = asm.build("net", f"adapter={ADAPTER}", seed=0).eval()
    torch.testing.assert_close(over(x), asm.build("new.yaml", seed=0).eval()(x))


def test_new_steps_between_and_behind(folder: Path) -> None:
    body = "{after: layers.0, body: {a: {op: linear, out: 2}, b: {op: linear, out: 8}, c: {op: add, from: [b, stem]}}}"
    graph = asm.graph(_recipe(f"extends: net\ngraph: {{more: relu, adapter: {body}, last: gelu}}"))
    reads = {i: node.sources for i, node in graph}
    assert reads["adapter.a"] == ("layers.0.1",)
    assert reads["adapter.c"] == ("adapter.b", "stem")
    assert (reads["add"], reads["more"], reads["last"]) == (("stem", "adapter.c"), ("classifier",), ("more",))
    pair = asm.graph(_recipe("extends: pair\ngraph: {act: {op: relu, after: a}, begin: {op: tanh, after: x}}"))
    assert dict(pair.outputs) == {"states": "act", "other": "b"}
    assert list(pair.nodes) == ["begin", "a", "act", "b"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            "{op: add, from: [stem, layers.1], after: layers.0}",
            "new.yaml:2:9: error: 'new' stands after 'layers.0.1', and reads 'layers.1.1', which is made of that",
        ),
        ("{op: relu, after: layrs.0}", "new.yaml:2:32: error: there is no step 'layrs.0' in Encoder"),
        ("{op: relu, after: 3}", "new.yaml:2:32: error: 'after' names the step that a new one follows"),
    ],
)
def test_mistakes_in_what_stands_between(folder: Path, step: str, said: str) -> None:
    assert _said(f"extends: net\ngraph: {{new: {step}}}").split("\n")[0] == said


def test_a_head_can_be_searched(folder: Path) -> None:
    text = "kind: space\nbase: {extends: net, graph: {head: {op: linear, out: 5}, last: relu}}\n"
    text += "choose: {head.bias: {$oneof: [true, false]}, last: {$oneof: [relu, gelu]}}"
    assert check(load(_recipe(text))) == []
    assert asm.plan("new.yaml").space_size == 4


def test_mistakes_in_what_is_laid_behind(folder: Path) -> None:
    assert _said("extends: pair\ngraph: {head: {op: linear, out: 2}}") == (
        "new.yaml:2:15: error: 'head' needs a from: the model has the outputs states, other\n"
        "    graph: {head: {op: linear, out: 2}}\n"
        "                  ^^^^^^^^^^^^^^^^^^^^\n"
        "    hint: for instance {op: ..., from: states}, or the path of a step"
    )
    assert "'hed', which is no step\n" in _said(f"{HEAD}outputs: {{logits: hed}}")
    assert "'frozen' is true or false" in _said("extends: net\ngraph: {layers: {frozen: 3}}")
    assert "new.yaml:2:20: error: unknown op 'linaer'" in _said("extends: net\ngraph: {head: {op: linaer, out: 2}}")


def test_a_new_name_is_none_of_an_override(folder: Path) -> None:
    with pytest.raises(AssemblerError, match="the model has no 'hed'"):
        asm.build("net", "hed={op: linear, out: 2}")


def test_plan_and_build_say_which_weights_are_not_used(folder: Path) -> None:
    change = "classifier={body: {act: relu, fc: {op: linear, out: 3}}}"
    said = "6 loaded, 2 initialised: classifier.fc.weight, classifier.fc.bias; 2 not used: classifier."
    assert asm.plan("net", change).weights.startswith(said)
    assert set(asm.build("net", change).meta["unused"]) == {"classifier.weight", "classifier.bias"}
    assert asm.plan("net").weights == ""


def test_plan_says_what_another_size_makes_new(folder: Path) -> None:
    assert asm.plan("net", "inputs.x=[B, 7]").weights == "7 loaded, 1 initialised: stem.weight; 1 not used: stem.weight"


def test_steps_and_containers_of_an_imported_model_begin_with_weights_of_their_own(folder: Path) -> None:
    layer = {"0.weight": torch.full((8, 8), 2.0), "0.bias": torch.full((8,), 3.0)}
    save_file(layer, "layer.safetensors")
    save_file({"w": torch.full((3, 8), 4.0)}, "head.safetensors")
    theirs = asm.build("net").state_dict()
    changes = [
        "layers.1={weights: {file: layer.safetensors}, frozen: true}",
        "classifier.weights.file=head.safetensors",
        "classifier.weights.map={weight: w}",
        "classifier.weights.partial=true",
    ]
    made = asm.build("net", *changes)
    wanted = {
        **theirs,
        "layers.1.0.weight": layer["0.weight"],
        "layers.1.0.bias": layer["0.bias"],
        "classifier.weight": torch.full((3, 8), 4.0),
    }
    kept = made.state_dict()
    torch.testing.assert_close({k: kept[k] for k in wanted if k != "classifier.bias"}, {
        k: wanted[k] for k in wanted if k != "classifier.bias"
    })  # fmt: skip
    assert not made.get_parameter("layers.1.0.weight").requires_grad
    assert asm.plan("net", *changes).weights.startswith("7 loaded, 1 initialised: classifier.bias")


def test_weights_of_a_step_that_do_not_fit_or_name_no_file(folder: Path) -> None:
    save_file({"0.weight": torch.zeros(8, 4), "0.bias": torch.zeros(8)}, "layer.safetensors")
    assert _said("extends: net\nset: {layers.1.weights: {file: layer.safetensors}}\n").startswith(
        "new.yaml:2:32: error: layer.safetensors: '0.weight' is [8, 4], 'layers.1' needs [8, 8]"
    )
    said = _said("extends: net\nset: {layers.1.weights: {map: {weight: w}}}\n")
    assert said.startswith("new.yaml:2:25: error: the weights of a step need a 'file'")
    assert "hint: did you mean 'weights'?" in _said("extends: net\nset: {layers.1.wights: {file: layer.safetensors}}\n")
