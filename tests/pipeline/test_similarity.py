"""Which blocks of two models do the same, told by `similarity`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import assembler as asm
from assembler.compile.model import Compiled
from assembler.errors import AssemblerError
from assembler.recipe.document import parse
from assembler.train.data.core import load

MODEL = """kind: model
vars: {dim: 6, depth: 3}
inputs: {image: [B, 1, 6, 6]}
graph:
  stem: {op: conv2d, out: =dim, kernel_size: 3, stride: 2, padding: 1}
  block:
    repeat: =depth
    body: {mlp: {op: residual, body: {ffn: {op: conv_mlp, ratio: 2}}}}
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
BLOBS: dict[str, Any] = {"name": "blobs", "train": 96, "validation": 16, "test": 16, "size": 6}


def made(seed: int, *overrides: str) -> Compiled:
    return asm.build(parse(MODEL, overrides=overrides), seed=seed)


def test_a_model_is_most_like_itself_at_the_same_place() -> None:
    found = asm.similarity(made(0), made(0), BLOBS)
    assert found.rows == ("image", "stem", "block.0", "block.1", "block.2", "pool", "head") == found.columns
    assert all(found.values[n][n] == pytest.approx(1, abs=1e-6) for n in range(7))
    assert [(one.slot, one.path) for one in found.nearest] == [(name, name) for name in found.rows[1:]]
    assert all(0 <= v <= 1 + 1e-6 for row in found.values for v in row)


def test_blocks_are_found_where_they_are_in_another_model() -> None:
    """The other model has a block before those that the two have in common, which hardly does anything."""
    one, other = made(0), made(1, "vars.depth=4")
    ours, theirs = one.state_dict(), other.state_dict()
    for key in theirs:
        _, n, rest = key.split(".", 2) if key.startswith("block.") else ("", "", "")
        theirs[key] = ours[key if not n else f"block.{max(int(n) - 1, 0)}.{rest}"].clone()
        if key.startswith("block.0.mlp.ffn.fc2"):
            theirs[key] *= 1e-2
    other.load_state_dict(theirs)
    found = {one.slot: one.path for one in asm.similarity(one, other, BLOBS).nearest}
    assert found["block.1"] == "block.2" and found["block.2"] == "block.3"


def test_the_value_is_the_cka_of_the_two_models_values() -> None:
    one, other = made(0), made(1, "vars.dim=10")
    found = asm.similarity(one, other, BLOBS, samples=40)
    image = load(BLOBS).train.fields["image"][:40]
    x, y = (m.eval().get_submodule("stem")(image).flatten(1).detach().double() for m in (one, other))
    x, y = (v - v.mean(0) for v in (x, y))
    wanted = torch.linalg.matrix_norm(y.T @ x) ** 2 / (
        torch.linalg.matrix_norm(x.T @ x) * torch.linalg.matrix_norm(y.T @ y)
    )
    assert found.values[1][1] == pytest.approx(float(wanted), abs=1e-5)
    assert found.data()["nearest"][0]["slot"] == "stem"


@pytest.mark.parametrize(
    ("a", "message"),
    [
        (lambda: torch.nn.Linear(2, 2), "has no graph to compare"),
        (lambda: "digits_metaformer", "has no weights"),
        (lambda: asm.build("digits_metaformer"), "the model wants 'image' [1, 8, 8], the data has [1, 6, 6]"),
    ],
)
def test_what_cannot_be_compared_is_said(a: Any, message: str) -> None:
    with pytest.raises(AssemblerError) as caught:
        asm.similarity(a(), made(0), BLOBS)
    assert message in str(caught.value)
