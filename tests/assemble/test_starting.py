"""What parts begin with: drawn weights, what they have in common with the host, or copies of its blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from assemble_models import data, graph, model, part, training
from torch import Tensor

from assembler.assemble.incubate import Seat, incubate
from assembler.assemble.inherit import stacked
from assembler.assemble.models import Model
from assembler.assemble.starting import slot_of, started
from assembler.compile.lower import lower
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.edit import extract
from assembler.infer.shape import shapes
from assembler.recipe.document import changed, parse
from assembler.recipe.values import Leaf
from assembler.wiring.build import build

STAGES = """
kind: model
vars: {dim: 6, depth: 1, ratio: 2}
inputs: {image: [B, 1, 6, 6]}
graph:
  stem: {op: conv2d, out: =dim, kernel_size: 3, padding: 1}
  stage:
    repeat: 2
    body:
      block:
        repeat: =depth
        body:
          mix: {op: residual, body: {norm: batch_norm2d, token: {op: dwconv, kernel_size: 3}}}
          mlp: {op: residual, body: {norm: batch_norm2d, ffn: {op: conv_mlp, ratio: =ratio}}}
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""


def staged(**vars_: int) -> Graph:
    return build(changed(parse(STAGES).model, [(f"vars.{k}", Leaf(v)) for k, v in vars_.items()]), name="staged")


def deep(slot: str = "stage.0", **vars_: int) -> Graph:
    whole = staged(**vars_)
    return extract(whole, slot, shapes(whole))


def gap(one: Graph, a: dict[str, Tensor], other: Graph, b: dict[str, Tensor]) -> float:
    """How far apart two models of an image are, relative to the first."""
    x = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    found = []
    for which, weights in ((one, a), (other, b)):
        module = lower(which).eval()
        module.load_state_dict(weights)
        with torch.no_grad():
            found.append(module(x))
    return float((found[0] - found[1]).norm() / found[0].norm())


def test_a_random_start_takes_nothing() -> None:
    assert started("random", model(graph()), "stage.0", part("stage.0"), 0) == ({}, None)


def test_a_part_begins_with_what_it_has_in_common_and_says_what_that_is() -> None:
    host = model(staged(depth=1))
    weights, account = started("host", host, "stage.0", deep(ratio=1), 0)
    assert account is not None and account.counts == {"copied": 13, "sliced": 3}
    assert torch.equal(weights["block.0.mlp.ffn.fc1.weight"], host.weights["stage.0.block.0.mlp.ffn.fc1.weight"][:6])


def test_new_blocks_of_a_deeper_part_begin_as_if_they_were_not_there() -> None:
    host = model(staged(depth=1))
    weights, account = started("host", host, "stage.0", deep(depth=3), 0)
    assert account is not None and account.counts["identity"] == 8
    own, ours = slot_of(host, "stage.0")
    assert gap(as_model(own), ours, as_model(deep(depth=3)), weights) < 1e-6


def as_model(region: Graph) -> Graph:
    """A region that takes six channels as a model of a one-channel image."""
    x = region.input_names[0]
    nodes = {"wide": Node("concat", (("dim", 1),), tuple((str(n), "image") for n in range(6)))}
    nodes |= {
        i: replace(n, inputs=tuple((p, "wide" if s == x else s) for p, s in n.inputs)) for i, n in region.nodes.items()
    }
    return replace(region, inputs=(("image", TensorType((2, 1, 6, 6))),), nodes=nodes)


def test_copies_share_out_what_their_branches_add() -> None:
    host = model(staged(depth=1))
    weights, account = started("copies", host, "stage.0", deep(depth=3), 0)
    assert account is not None and account.counts["scaled"] == 3 * 4
    assert "initialised" not in account.counts and "identity" not in account.counts
    for key, end in (("mlp.ffn.fc2", "weight"), ("mlp.ffn.fc2", "bias")):
        one = host.weights[f"stage.0.block.0.{key}.{end}"]
        for n in range(3):
            assert torch.equal(weights[f"block.{n}.{key}.{end}"], one / 3), key
    norm = host.weights["stage.0.block.0.mix.norm.running_mean"]
    assert torch.equal(weights["block.2.mix.norm.running_mean"], norm)


def test_scaled_copies_stay_nearer_to_the_shallow_model_than_plain_ones() -> None:
    shallow, tall = staged(depth=1), staged(depth=4)
    weights = model(shallow).weights
    made, account = stacked(shallow, weights, tall)
    plain = {k: t * 4 if account.fates[k] == "scaled" else t for k, t in made.items()}
    assert gap(shallow, weights, tall, made) < 0.5 * gap(shallow, weights, tall, plain)


def test_copies_of_two_blocks_lie_side_by_side() -> None:
    two, four = staged(depth=2), staged(depth=4)
    weights = model(two).weights
    made, account = stacked(two, weights, four)
    for n, of in enumerate((0, 0, 1, 1)):
        key = "mlp.ffn.fc1.weight"
        assert torch.equal(made[f"stage.1.block.{n}.{key}"], weights[f"stage.1.block.{of}.{key}"])
    assert account.moved["stage.1.block.3.mlp.ffn"] == "stage.1.block.1.mlp.ffn"


def test_as_many_blocks_are_the_same_model() -> None:
    two = staged(depth=2)
    weights = model(two).weights
    made, account = stacked(two, weights, two)
    assert set(account.fates.values()) == {"copied"} and gap(two, weights, two, made) == 0


def test_incubation_tells_what_the_part_began_with() -> None:
    host = Model(staged(depth=1), model(staged(depth=1)).weights)
    made = incubate(Seat(host, "stage.0", deep(depth=2)), data(), training(start="copies", steps=1))
    assert str(made.account).startswith("24 copied, 8 scaled")
    assert incubate(Seat(host, "stage.0", deep()), data(), training(steps=1)).account is None


@pytest.mark.parametrize("pattern", ["stage.0.block.*.mlp", "stage.0"])
def test_only_what_is_to_be_trained_of_a_part_moves(pattern: str) -> None:
    host = Model(staged(depth=1), model(staged(depth=1)).weights)
    how = replace(training(start="host"), paths=(pattern,))
    made = incubate(Seat(host, "stage.0", deep()), data(), how)
    began, _ = started("host", host, "stage.0", deep(), 0)
    moved = {k for k, t in made.weights.items() if not torch.equal(t, began[k])}
    assert moved and all("mlp" in k for k in moved) is (pattern != "stage.0")
    everything = incubate(Seat(host, "stage.0", deep()), data(), training(start="host"))
    assert made.flops < everything.flops or pattern == "stage.0"
