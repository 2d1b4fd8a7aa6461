"""A training as one of several processes, here the only one; `tests/cluster` has several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

import assembler as asm
from assembler.assemble import torchrun
from assembler.cli.verbs.run import run
from assembler.errors import InputError, RecipeError
from assembler.recipe.document import parse
from assembler.train.parallel import _layers
from assembler.train.together import brought_together, of_whole_batches
from assembler.train.world import How, World, together, world

MODEL = """
kind: model
name: net
inputs: {image: [B, 1, 6, 6]}
graph:
  stem: {op: conv2d, out: 4, kernel_size: 3, bias: false}
  norm: batch_norm2d
  flat: flatten
  wide: {op: linear, out: 1100}
  bend: relu
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
DATA = {"name": "blobs", "train": 40, "validation": 20, "test": 20, "size": 6}


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", rank=0, world_size=1, init_method=f"file://{tmp_path}/meet")
    yield
    dist.destroy_process_group()


def trained(**settings: Any) -> Any:
    how = {"steps": 4, "batch": 16, "optimizer": "sgd", "lr": 0.05, **settings}
    return asm.train(parse(MODEL), DATA, settings=how, device="cpu")


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_what_is_wrapped_trains_as_what_is_not(group: None, how: How) -> None:
    alone = trained()
    with together(World(0, 1, how)):
        found = trained()
    assert world() is None and found.after == pytest.approx(alone.after, rel=1e-4)
    assert found.fit.loss == pytest.approx(alone.fit.loss, rel=1e-5) and found.train_flops == alone.train_flops
    for name, tensor in alone.weights.items():
        torch.testing.assert_close(found.weights[name], tensor, rtol=1e-4, atol=1e-5)


def test_divided_weights_have_no_average(group: None) -> None:
    with together(World(0, 1, "fsdp")), pytest.raises(RecipeError, match=r"with an average of the weights\n.*use ddp"):
        trained(ema={"decay": 0.9})


@pytest.mark.parametrize(
    ("steps", "apart"),
    [
        ("wide: {op: linear, out: 2000}\n  head: {op: linear, out: 3}", ["wide"]),
        # Torch's attention reads the weights of its layers without calling them.
        ("enc: {op: TransformerEncoderLayer, nhead: 2, dim_feedforward: 2000}\n  head: {op: linear, out: 3}", ["enc"]),
        ("wide: {op: linear, out: 2000}\n  back: {op: linear, out: 36, share: {weight: wide.weight.T}}", []),
        ("slope: {op: gradient, by: [x], from: {x: flat}, body: {wide: {op: linear, out: 2000, from: x}}}", []),
    ],
)
def test_large_steps_are_divided_apart_where_nothing_else_reads_their_weights(steps: str, apart: list[str]) -> None:
    text = MODEL.partition("graph:")[0] + f"graph:\n  flat: flatten\n  {steps}\n"
    module = asm.build(parse(text))
    assert [name for layer in _layers(module) for name, one in module.named_modules() if one is layer] == apart


def test_a_batch_is_divided_whole_and_in_order() -> None:
    assert World(0, 3).bounds(10) == [0, 3, 6, 10] and World(1, 2).bounds(2) == [0, 1, 2]


def test_batch_norm_over_processes_is_that_of_torch(group: None) -> None:
    x = torch.randn(6, 3, 4, requires_grad=True)
    found = []
    for whole in (False, True):
        mean, variance = torch.zeros(3), torch.ones(3)
        weight = torch.tensor([1.0, 2.0, 0.5], requires_grad=True)

        def normed() -> torch.Tensor:
            return F.batch_norm(x, mean, variance, weight, None, training=True, momentum=0.3)  # noqa: B023

        if whole:
            with of_whole_batches():
                y = normed()
        else:
            y = normed()
        found.append((y, *torch.autograd.grad(y.square().sum() + y[:, 0].exp().sum(), [x, weight]), mean, variance))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_values_that_do_not_grow_with_the_batch_are_averaged(group: None) -> None:
    rows, mean = torch.ones(4, 2, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    labels = torch.tensor([True, False, True, True])
    found = brought_together([rows, mean, labels], [0, 4], 0)
    assert [tuple(f.shape) for f in found] == [(4, 2), (), (4,)] and found[2].equal(labels)
    (found[0].sum() * found[1]).backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None and rows.grad.eq(3).all() and mean.grad is not None and mean.grad.item() == 8


def test_parallel_is_for_processes_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not torchrun.started()
    with pytest.raises(InputError, match=r"and this one is alone\n    hint: torchrun --nproc-per-node 2"):
        run("quickstart", parallel="ddp")
    with pytest.raises(InputError, match=r"there is no --parallel fdsp\n    hint: did you mean 'fsdp'\?"):
        run("quickstart", parallel="fdsp")
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert torchrun.started() and torchrun.follows()
