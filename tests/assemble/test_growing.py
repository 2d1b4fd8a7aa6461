"""Growth by a learned map: where it begins, what it trains, what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from assemble_models import TASK, data, model, training
from test_starting import gap, staged

from assembler.assemble.growing import grown
from assembler.assemble.inherit import stacked
from assembler.assemble.inherit.learned import Grown
from assembler.compile.lower import lower
from assembler.infer.cost import train_flops


@pytest.mark.parametrize("sizes", [{"depth": 3}, {"dim": 12}, {"dim": 12, "depth": 2, "ratio": 3}])
def test_the_map_begins_as_copies_of_blocks_and_channels(sizes: dict[str, int]) -> None:
    parent, child = model(staged()), staged(**sizes)
    made = {k: t.detach() for k, t in Grown(parent.graph, parent.weights, child).made().items()}
    begun, _ = stacked(parent.graph, parent.weights, child)
    assert made.keys() == lower(child).state_dict().keys()
    assert gap(child, begun, child, made) < 1e-5  # which copy of a channel counts how much is drawn


def test_wider_by_a_whole_factor_is_the_same_function() -> None:
    parent, child = model(staged()), staged(dim=12)
    made = {k: t.detach() for k, t in Grown(parent.graph, parent.weights, child).made().items()}
    assert gap(parent.graph, dict(parent.weights), child, made) < 1e-5


def test_the_maps_of_channels_are_shared_by_copies_and_the_mixes_are_not() -> None:
    parent, child = model(staged(depth=2)), staged(depth=4, dim=12)
    names = set(Grown(parent.graph, parent.weights, child).learnt)
    assert "stage__*__block__*__mlp__ffn__fc1__weight__out" in names
    assert {f"stage__1__block__{n}__mlp__ffn__fc1__weight__mix" for n in range(4)} <= names


def test_training_the_map_lowers_the_loss_and_leaves_the_parent_alone() -> None:
    parent, child = model(staged()), staged(depth=3)
    before = {k: t.clone() for k, t in parent.weights.items()}
    how = training(TASK, steps=20, lr=1e-2)
    weights, account, spent = grown(parent, child, data(64), how)
    assert all(torch.equal(t, before[k]) for k, t in parent.weights.items())
    assert account.counts["learned"] >= 40 and "initialised" not in account.counts
    assert spent > train_flops(child) * 20 * 16
    fewer = grown(parent, child, data(64), replace(how, spec=replace(how.spec, steps=10)))[2]
    assert fewer < spent

    def loss(state: dict[str, torch.Tensor]) -> float:
        module = lower(child).eval()
        module.load_state_dict(state)
        fields = data(64).train.fields
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(module(fields["image"]), fields["label"]))

    assert loss(weights) < loss(stacked(parent.graph, parent.weights, child)[0])
