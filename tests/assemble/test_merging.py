"""Models merged weight by weight: every registered method, along the depth, from modules, folders and the shell."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import assembler as asm
from assembler import registry
from assembler.cli.app import app
from assembler.compile.model import Compiled
from assembler.errors import AssemblerError
from assembler.recipe.document import parse
from assembler.wiring.build import build

TEXT = """
name: net
inputs: {x: [B, 4]}
graph:
  first: {op: linear, out: 6}
  norm: batch_norm1d
  last: {op: linear, out: 6}
  head: {op: linear, out: 3}
"""
TIED = TEXT.replace("  head", "  twin: {op: linear, out: 6, share: {weight: last.weight}}\n  head")


def net(seed: int, text: str = TEXT) -> Compiled:
    return asm.build(build(parse(text).model, name="net"), seed=seed)


def options(method: str) -> dict[str, Any]:
    return {"base": net(9)} if registry.lookup("merge", method).option("base") else {}


def state(module: Compiled) -> dict[str, Tensor]:
    return {key: value for key, value in module.state_dict().items() if value.is_floating_point()}


@pytest.mark.parametrize("method", registry.names("merge"))
class TestEveryMethod:
    def test_a_model_merged_with_itself_is_itself(self, method: str) -> None:
        given = {"density": 1.0} if registry.lookup("merge", method).param("density") else {}
        one = net(0)
        found = asm.merge([one, one], {"name": method, **given}, weights=[0.5, 0.5], **options(method))
        for key, value in state(one).items():
            torch.testing.assert_close(state(found)[key], value)

    def test_it_is_deterministic_and_of_the_same_types(self, method: str) -> None:
        pair = [net(0), net(1)]
        once, again = (asm.merge(pair, method, **options(method), seed=3) for _ in "ab")
        for key, value in once.state_dict().items():
            assert torch.equal(again.state_dict()[key], value) and value.dtype == pair[0].state_dict()[key].dtype

    def test_tied_weights_stay_tied(self, method: str) -> None:
        pair = [net(0, TIED), net(1, TIED)]
        base = {"base": net(9, TIED)} if options(method) else {}
        found = asm.merge(pair, method, **base)
        assert list(found.state_dict()) == list(pair[0].state_dict())
        assert found.get_parameter("twin.weight") is found.get_parameter("last.weight")


def test_linear_is_the_weighted_mean() -> None:
    a, b = net(0), net(1)
    found = asm.merge([a, b], weights=[3, 1])
    key = "last.weight"
    torch.testing.assert_close(state(found)[key], 0.75 * state(a)[key] + 0.25 * state(b)[key])
    summed = asm.merge([a, b], {"name": "linear", "normalize": False}, weights=[3, 1])
    torch.testing.assert_close(state(summed)[key], 3 * state(a)[key] + state(b)[key])


def test_slerp_keeps_to_the_arc() -> None:
    a, b = net(0), net(1)
    for key in ("first.weight", "last.weight"):
        b.get_parameter(key).data *= a.get_parameter(key).norm() / b.get_parameter(key).norm()
    half = asm.merge([a, b], "slerp")
    for key in ("first.weight", "last.weight"):
        torch.testing.assert_close(state(half)[key].norm(), state(a)[key].norm())
        torch.testing.assert_close((state(half)[key] * state(a)[key]).sum(), (state(half)[key] * state(b)[key]).sum())
    assert torch.equal(state(asm.merge([a, b], {"name": "slerp", "t": 0.0}))["first.weight"], state(a)["first.weight"])


def test_task_vectors_add_and_are_taken_away() -> None:
    base, a = net(9), net(0)
    taken = asm.merge([a], "task_arithmetic", base=base, weights=[-1])
    key = "head.weight"
    torch.testing.assert_close(state(taken)[key], 2 * state(base)[key] - state(a)[key])


def test_ties_trims_elects_and_takes_the_mean_of_those_that_agree() -> None:
    base, a, b = net(9), net(0), net(1)
    for module, delta in ((a, [4.0, -1.0, 3.0]), (b, [2.0, 5.0, -1.0])):
        with torch.no_grad():
            module.get_parameter("head.bias").copy_(base.get_parameter("head.bias") + torch.tensor(delta))
    found = asm.merge([a, b], {"name": "ties", "density": 0.6}, base=base)  # two of three entries stay
    moved = state(found)["head.bias"] - state(base)["head.bias"]
    torch.testing.assert_close(moved, torch.tensor([3.0, 5.0, 3.0]))


def test_dare_drops_and_keeps_the_expected_sum() -> None:
    base, a = net(9), net(0)
    wanted = state(a)["last.weight"] - state(base)["last.weight"]
    found = [
        state(asm.merge([a], {"name": "dare", "density": 0.5}, base=base, seed=n))["last.weight"]
        - state(base)["last.weight"]
        for n in range(200)
    ]
    dropped = torch.stack([(one.abs() < 1e-6).double().mean() for one in found]).mean()
    assert abs(float(dropped) - 0.5) < 0.02
    error = (torch.stack(found).mean(0) - wanted).abs().max() / wanted.abs().max()
    assert error < 4 / math.sqrt(200)


def test_numbers_go_along_the_depth_and_by_pattern() -> None:
    a, b = net(0), net(1)
    found = asm.merge([a, b], {"name": "slerp", "t": [0, 1]})
    assert torch.equal(state(found)["first.weight"], state(a)["first.weight"])
    torch.testing.assert_close(state(found)["head.weight"], state(b)["head.weight"])
    found = asm.merge([a, b], weights=[{"last": 0, "*": 1}, {"last": 1, "*": 0}])
    torch.testing.assert_close(state(found)["last.weight"], state(b)["last.weight"])
    torch.testing.assert_close(state(found)["first.weight"], state(a)["first.weight"])


def test_statistics_are_averaged_and_counters_are_the_first_ones() -> None:
    a, b = net(0).train(), net(1).train()
    a(torch.randn(8, 4))
    b(torch.randn(8, 4) + 5), b(torch.randn(8, 4))
    found = asm.merge([a, b], "ties", base=net(9))
    mean = (a.get_buffer("norm.running_mean") + b.get_buffer("norm.running_mean")) / 2
    torch.testing.assert_close(found.get_buffer("norm.running_mean"), mean)
    assert found.get_buffer("norm.num_batches_tracked") == 1


MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "another architecture": (
        lambda: [net(0), net(0, TEXT.replace("last: {op: linear, out: 6}", "last: {op: linear, out: 7}"))],
        {},
        "model 2 is another architecture than model 1, and only equal ones are merged\n"
        "    hint: the first difference: ~ last: arg out 6 -> 7",
    ),
    "other names": (
        lambda: [net(0), net(0, TEXT.replace("last", "late"))],
        {},
        "model 2 has its weights under other names than model 1\n    hint: 'last.bias' is in one",
    ),
    "no base": (
        lambda: [net(0)],
        {"method": "ties"},
        "ties needs the base, the model that all were tuned from\n    hint: linear needs none",
    ),
    "too many": (lambda: [net(0)] * 3, {"method": "slerp"}, "slerp merges 2 models, and there are 3"),
    "none": (list, {}, "linear merges one or more models, and there are 0"),
    "weights": (lambda: [net(0)] * 2, {"weights": [1]}, "there are 1 weights for 2 models"),
    "zero": (
        lambda: [net(0)] * 2,
        {"weights": [1, -1]},
        "the weights of the models sum to 0\n    hint: normalize: false leaves the sum as it is",
    ),
    "density": (
        lambda: [net(0)],
        {"method": {"name": "ties", "density": 0}, "base": net(1)},
        "'density' is a share, above 0 and at most 1, not 0",
    ),
    "unknown": (lambda: [net(0)], {"method": "tie"}, "unknown merge 'tie'\n    hint: did you mean 'ties'?"),
    "option": (
        lambda: [net(0)],
        {"method": {"name": "linear", "normalise": True}},
        "merge 'linear' has no option 'normalise'\n    hint: did you mean 'normalize'?",
    ),
    "pattern": (
        lambda: [net(0)],
        {"weights": [{"last": 1}]},
        "a model's weight says nothing for 'first.weight'\n    hint: end with '*', which covers all",
    ),
    "module": (
        lambda: [torch.nn.Linear(1, 1)],
        {},
        "a Linear that was not built here has no graph to merge\n"
        "    hint: asm.build makes what has one, and asm.from_module(...).build()",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told(name: str) -> None:
    models, given, said = MISTAKES[name]
    with pytest.raises(AssemblerError) as error:
        asm.merge(models(), **given)
    assert str(error.value).removeprefix("error: ") == said


def test_folders_are_merged_on_the_command_line(tmp_path: Path) -> None:
    for seed in (0, 1):
        asm.export(net(seed), tmp_path / f"m{seed}", ("safetensors",))
    words = ["merge", str(tmp_path / "m0"), str(tmp_path / "m1"), "--method", "{name: slerp, t: [0, 1]}"]
    made = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout.splitlines()[-1])["params"] == sum(p.numel() for p in net(0).parameters())
    found = asm.build(tmp_path / "out")
    assert torch.equal(state(found)["first.weight"], state(net(0))["first.weight"])
    (tmp_path / "bare.yaml").write_text("kind: model\ninputs: {x: [B, 4]}\ngraph: {a: {op: linear, out: 2}}\n")
    failed = CliRunner().invoke(app, ["merge", str(tmp_path / "bare.yaml"), str(tmp_path / "m1")])
    assert failed.exit_code == 2
