"""Every reference recipe called with other lengths and image sizes than those it was built for."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from small_recipes import OWN, RECIPES, SMALL, outputs, small

import assembler as asm
from assembler.compile.exported import examples, exported
from assembler.compile.exported_onnx import save_onnx
from assembler.compile.free import sizes_at
from assembler.compile.source import to_source
from assembler.compile.weights import save_weights
from assembler.errors import InputError, StepError
from assembler.graph.core import Graph
from assembler.graph.modes import in_mode
from assembler.pipeline.exporting import export
from assembler.recipe.document import load

OTHER = {"size": lambda n: 2 * n, "attend": lambda n: 2 * n, "tokens": lambda n: n - 5, "length": lambda n: n - 2}
"""Another value of the variables that say how long or large inputs are, and at which size a U-Net attends."""
FIXED = {
    "conv_vae": ("mean", "linear", "'weight' is [3, 128] and would be [3, 512]"),
    "mlp_mixer": ("block.0.mix.token", "token_mlp", "'fc1.weight' is [12, 16] and would be [12, 64]"),
    "moe": ("places", "learned_position", "'weight' is [1, 6, 24] and would be [1, 4, 24]"),
    "swin_t": ("stage.0.block.0.mix.map", "rearrange", ""),
    "vit_ti": ("position", "learned_position", "'weight' is [1, 17, 24] and would be [1, 65, 24]"),
}
"""The recipes that cannot, with the step where they fail and the weights that are bound to a size.

Weights for every place (a layer on all of a map, an MLP across tokens, learned positions of one length) cannot serve
other places. Swin has none such; there the recipe itself says, by the size, how many windows a map has and where they
are shifted.
"""
FREE = [name for name in RECIPES if name not in FIXED]


def resized(name: str) -> Graph:
    """The small graph of a recipe that was written for another size."""
    known = load(name).model.get("vars") or {}
    sizes = {k: v for k, v in {**SMALL, **OWN.get(name, {})}.items() if k in known}
    if name == "mlp_mixer":
        del sizes["tokens"]  # there the width of the MLP across tokens
    sizes |= {k: other(sizes[k]) for k, other in OTHER.items() if k in sizes}
    return asm.graph(name, *(f"vars.{k}={v}" for k, v in sizes.items()))


def both(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Inputs of another size, and what the model that was built for it makes of them with the same weights."""
    module, graph = small(name).eval(), resized(name)
    wanted = asm.build(graph).eval()
    wanted.load_state_dict(module.state_dict())
    inputs = examples(in_mode(graph, "eval"), 3, seed=5)
    assert [tuple(kind.shape) for _, kind in graph.inputs] != [k.shape for _, k in module.meta["graph"].inputs]
    return inputs, outputs(wanted, inputs)


@pytest.mark.parametrize("name", FREE)
def test_another_size_is_what_a_model_built_for_it_makes(name: str, tmp_path: Path) -> None:
    """As a compiled module and as stand-alone source."""
    inputs, wanted = both(name)
    module = small(name).eval()
    torch.testing.assert_close(outputs(module, inputs), wanted, rtol=1e-5, atol=1e-5)
    made = types.ModuleType(f"lengths_{name}")
    made.__file__ = str(tmp_path / "model.py")
    exec(compile(to_source(module.meta["graph"]), made.__file__, "exec"), made.__dict__)
    save_weights(module, tmp_path / "model.safetensors")
    assert all(torch.equal(v, outputs(module, inputs)[k]) for k, v in outputs(made.load(), inputs).items())


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_size_is_told_with_the_step_that_fixes_it(name: str) -> None:
    module, (path, op, why) = small(name).eval(), FIXED[name]
    with pytest.raises(StepError) as error:
        outputs(module, examples(in_mode(resized(name), "eval"), 3, seed=5))
    said = str(error.value)
    assert f"recipes/reference/{name}.yaml:" in said.splitlines()[0] and f"error: {path} ({op}) failed on" in said
    assert "the recipe is written for" in said and f"that step fixes the size: {f'its {why}' if why else ''}" in said


@pytest.mark.parametrize(
    ("size", "step", "why"),
    [
        (24, "windows", "axis 1 of 'b (i p) (j q) c -> b (i j) (p q) c' has 6 elements, but needs a multiple of 4"),
        (64, "map", "axis 1 of 'b (i j) (p q) c -> b (i p) (j q) c' has 16 elements, but needs 4"),
    ],
)
def test_swin_names_the_first_step_that_a_size_does_not_fit(size: int, step: str, why: str) -> None:
    with pytest.raises(StepError) as error:
        small("swin_t").eval()(torch.randn(2, 3, size, size))
    said = str(error.value)
    assert f"error: stage.0.block.0.mix.{step} (rearrange) failed on" in said
    wanted = f"the recipe is written for image: float32[B, 3, 32, 32], and this is float32[2, 3, {size}, {size}]"
    assert said.endswith(f"hint: {wanted}; that step fixes the size: {why}")


LONG = {
    "gpt2": ["ids.1"],
    "bert_base": ["ids.1", "types.1", "mask.1"],
    "resnet18": ["image.2", "image.3"],
    "unet": ["image.2", "image.3"],
}


@pytest.mark.parametrize("name", LONG)
def test_a_program_is_free_where_it_is_asked_to_be(name: str) -> None:
    module = small(name).eval()
    found = exported(module, LONG[name])
    assert found.fixed == ""
    for batch in (1, 5):
        inputs = examples(found.graph, batch, batch, sizes_at(found.graph, found.free, 0.5))
        made = outputs(lambda **given: found.program.module()(*given.values()), inputs)
        torch.testing.assert_close(made, outputs(module, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_an_onnx_file_is_free_where_it_is_asked_to_be(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert save_onnx(small("resnet18"), tmp_path / "m.onnx", LONG["resnet18"]).startswith("onnxruntime is within ")
    import onnx

    (image,) = onnx.load(str(tmp_path / "m.onnx")).graph.input
    assert [bool(d.dim_param) for d in image.type.tensor_type.shape.dim] == [True, False, True, True]


@pytest.mark.parametrize(
    ("name", "free", "said"),
    [
        (
            "vit_ti",
            ["image.2"],
            "image.2 cannot be free: position (learned_position) is made for the recipe's size, its 'weight' is "
            "[1, 17, 24] and would be [1, 33, 24]",
        ),
        ("rnn", ["x.1"], "x.1 cannot be free: a step is written out for each of its elements"),
    ],
)
def test_what_cannot_be_free_is_refused_and_nothing_is_written(
    name: str, free: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        export(small(name), tmp_path / "out", free=free)
    assert str(caught.value) == f"error: {said}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("free", "said"),
    [
        ("idz.1", "--free idz.1: the model has no input 'idz'"),
        ("ids.0", "--free ids.0: the axes of ids that may be free are 1 to 1"),
        ("ids.x", "--free ids.x: the axes of ids that may be free are 1 to 1"),
    ],
)
def test_an_axis_that_there_is_not(free: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        exported(small("gpt2"), [free])
