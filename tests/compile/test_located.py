"""Errors of a running model bear the recipe's path, op, shapes and line, and cost nothing where there are none."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import fx, nn

import assembler as asm
from assembler.compile.located import Located, StepMemoryError
from assembler.compile.outline import outline
from assembler.errors import AssemblerError, InputError, StepError

TINY = """\
kind: model
name: tiny
inputs: {image: [B, 1, 8, 8]}
graph:
  stem: {op: conv2d, out: 4, kernel_size: 3, padding: 1}
  mix:
    op: residual
    body:
      norm: {op: group_norm, num_groups: 2}
      token: dwconv
  flat: flatten
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
LOOP = """\
kind: model
name: refined
inputs: {x: [B, 6]}
graph:
  init: {op: linear, out: 4}
  refine:
    op: loop
    times: 3
    carry: [h]
    from: {h: init, x: x}
    body:
      join: {op: concat, from: [h, x]}
      cell: {op: linear, out: 4}
    outputs: {h: cell}
outputs: {y: refine}
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fx.GraphModule:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    Path("loop.yaml").write_text(LOOP)
    return asm.build("tiny.yaml")


def said(module: nn.Module, *args: object, **kwargs: object) -> AssemblerError:
    with pytest.raises(AssemblerError) as error:
        module(*args, **kwargs)
    return error.value


def test_a_shape_that_a_step_refuses(tiny: fx.GraphModule) -> None:
    error = said(tiny, torch.ones(2, 1, 9, 9))
    assert isinstance(error, StepError) and isinstance(error, RuntimeError)
    assert str(error) == (
        "tiny.yaml:12:9: error: head (linear) failed on flat float32[2, 324]: mat1 and mat2 shapes cannot be "
        "multiplied (2x324 and 256x3)\n"
        "      head: {op: linear, out: 3}\n"
        "            ^^^^^^^^^^^^^^^^^^^^\n"
        "    hint: the recipe is written for image: float32[B, 1, 8, 8], and this is float32[2, 1, 9, 9]; that step "
        "fixes "
        "the size: its 'weight' is [3, 256] and would be [3, 324]"
    )
    assert type(error.__cause__) is RuntimeError and error.problems[0].path == "head"
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_an_op_that_raises_something_of_its_own(tiny: fx.GraphModule) -> None:
    def hook(module: nn.Module, args: object) -> None:
        raise ValueError("the sensor is off")

    tiny.mix.token.register_forward_pre_hook(hook)
    error = said(tiny, torch.ones(2, 1, 8, 8))
    assert str(error).startswith(
        "tiny.yaml:10:14: error: mix.token (dwconv) failed on mix.norm float32[2, 4, 8, 8]: the"
    )
    assert isinstance(error.__cause__, ValueError)


def test_out_of_memory(tmp_path: Path) -> None:
    file = tmp_path / "wide.yaml"
    file.write_text("kind: model\ninputs: {x: [B, 4]}\ngraph:\n  act: relu\n  out: {op: linear, out: 4}\n")
    error = said(asm.build(file), torch.ones(1, 4).expand(1 << 45, 4))
    assert isinstance(error, StepMemoryError) and isinstance(error, torch.OutOfMemoryError)
    assert str(error) == (
        f"{file}:4:8: error: act (relu) ran out of memory on x float32[35184372088832, 4]: it needs "
        "562949953421312 bytes more\n"
        "      act: relu\n"
        "           ^^^^\n"
        "    hint: take a smaller batch"
    )


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "error: the model was not given 'image'"),
        ((torch.ones(1, 1, 8, 8),) * 2, {}, "error: the model takes 1 input and was given 2"),
        ((), {"img": torch.ones(1, 1, 8, 8)}, "error: the model has no input 'img'"),
        (
            (torch.ones(1, 1, 8, 8).long(),),
            {},
            "tiny.yaml:5:9: error: the input 'image' is int64, and the model's is float32; stem (conv2d) failed: ",
        ),
        (
            (torch.ones(8),),
            {},
            "tiny.yaml:5:9: error: the input 'image' has 1 axis, float32[8], and the model's has 4; stem (conv2d) ",
        ),
        (
            ([1.0],),
            {},
            "tiny.yaml:5:9: error: the input 'image' is a list, not a tensor; stem (conv2d) failed: conv2d()",
        ),
    ],
)
def test_what_are_no_inputs_of_the_model(
    tiny: fx.GraphModule, args: tuple[object, ...], kwargs: dict[str, object], message: str
) -> None:
    error = said(tiny, *args, **kwargs)
    assert isinstance(error, InputError) and error.__cause__ is not None
    assert str(error).startswith(message)
    assert str(error).endswith("    hint: it takes image: float32[B, 1, 8, 8]")


def test_inputs_of_another_size_or_precision_that_work_are_no_mistake(tiny: fx.GraphModule) -> None:
    assert tiny.double()(torch.ones(1, 1, 8, 8).double()).dtype == torch.float64
    assert "mat1 and mat2" in str(said(tiny, torch.ones(1, 1, 4, 4).double()))


def test_a_step_of_a_body(tiny: fx.GraphModule) -> None:
    refined = asm.build("loop.yaml")
    refined.get_parameter("refine.cell.weight").data = torch.ones(4, 7)
    error = said(refined, torch.ones(2, 6))
    assert str(error).split("\n")[0] == (
        "loop.yaml:13:13: error: refine.cell (linear) failed on join float32[2, 10]: mat1 and mat2 shapes cannot be "
        "multiplied (2x10 and 7x4)"
    )
    assert type(error.__cause__) is RuntimeError


def test_a_step_of_a_slot(tiny: fx.GraphModule) -> None:
    for slots in (["mix"], ["stem..mix"]):
        module = outline(tiny.meta["graph"], slots)
        inner = next(m for name, m in module.named_modules() if name.endswith("mix.norm"))
        inner.num_groups = 3
        error = said(module, torch.ones(2, 1, 8, 8))
        assert "tiny.yaml:9:13: error: mix.norm (group_norm) failed on" in str(error)


def test_copies_say_it_too(tiny: fx.GraphModule) -> None:
    again = copy.deepcopy(tiny)
    assert isinstance(again, Located)
    assert "head (linear) failed on flat" in str(said(again, torch.ones(2, 1, 9, 9)))


def test_compilers_see_the_module_whole(tiny: fx.GraphModule) -> None:
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(torch.compile(tiny, fullgraph=True, backend="eager")(x), tiny(x))
    torch.testing.assert_close(torch.export.export(tiny, (x,)).module()(x), tiny(x))


def test_nothing_of_it_is_in_the_code_that_runs(tiny: fx.GraphModule) -> None:
    plain = fx.GraphModule(tiny, tiny.graph)
    assert plain.code == tiny.code
    assert vars(Located).keys() - {"__module__", "__doc__", "__dict__", "__weakref__"} == {"__call__"}
