"""Compiled recipes brought back in: their own graph while they are as they were, an honest trace once changed."""

import pytest
import torch
from torch import nn

import assembler as asm
from assembler.importing import from_module
from assembler.resources import shipped

REFERENCES = sorted([*(name for name, file in shipped().items() if file.parent.name == "reference"), "poolformer"])


def test_there_are_reference_recipes() -> None:
    assert len(REFERENCES) > 3


@pytest.mark.parametrize("name", ["resnet18", "poolformer"])
def test_a_built_recipe_is_its_own_graph(name: str) -> None:
    assert from_module(asm.build(name)).fingerprint == asm.graph(name).fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_recipe_is_its_own_graph(name: str) -> None:
    assert from_module(asm.build(name)).fingerprint == asm.graph(name).fingerprint


RECIPE = """
kind: model
inputs: {x: [B, 3, 8, 8]}
graph:
  stem: {op: conv2d, out: 8, kernel_size: 3, padding: 1}
  norm: {op: batch_norm2d}
  act: {op: relu}
  pool: {op: global_avg_pool}
  head: {op: linear, out: 4}
"""


@pytest.fixture
def built(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(RECIPE)
    return asm.build(str(file))


def test_other_weights_are_no_change(built: nn.Module) -> None:
    nn.init.ones_(built.get_parameter("head.weight"))
    found = from_module(built)
    assert found.fingerprint == built.meta["graph"].fingerprint
    assert torch.equal(found.weights["head.weight"], torch.ones(4, 8))


def swapped(module: nn.Module) -> None:
    module.set_submodule("act", nn.Tanh())


def widened(module: nn.Module) -> None:
    module.set_submodule("head", nn.Linear(8, 6))


def retuned(module: nn.Module) -> None:
    module.get_submodule("norm").eps = 0.5


def hooked(module: nn.Module) -> None:
    module.get_submodule("stem").register_forward_hook(lambda _m, _i, out: out * 2)


def recoded(module: nn.Module) -> None:
    act = next(n for n in module.graph.nodes if n.target == "act")
    act.replace_all_uses_with(act.args[0])
    module.graph.erase_node(act)
    module.recompile()


@pytest.mark.parametrize("change", [swapped, widened, retuned, hooked, recoded])
def test_a_changed_module_is_traced_as_it_is(built: nn.Module, change) -> None:
    change(built)
    with pytest.raises(asm.AssemblerError, match="from_module needs example inputs"):
        from_module(built)
    found = from_module(built, torch.randn(2, 3, 8, 8))
    assert found.fingerprint != built.meta["graph"].fingerprint
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(found.build().eval()(x), built.eval()(x))
