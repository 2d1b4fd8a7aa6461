"""Dense feed-forward blocks to experts and back: nothing added, nothing changed, clusters of one size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rewrite_models import applied, error, mlps, module_of, parameters, sample

import assembler as asm
from assembler.errors import GraphError, RecipeError
from assembler.graph.core import Graph
from assembler.recipe.document import parse
from assembler.rewrites.clusters import cheapest, clusters

BLOCK = """\
inputs: {x: [B, 5, 8]}
graph:
  block:
    op: residual
    body:
      norm: layer_norm
      ffn: {body: {fc1: {op: linear, out: 24}, act: gelu, drop: {op: dropout, p: 0.1}, fc2: {op: linear, out: 8}}}
"""
SPLIT = {"rewrite": "split_experts", "count": 6}


def block(text: str = BLOCK) -> torch.nn.Module:
    return module_of(asm.graph(parse(text, "net.yaml")))


@settings(max_examples=25, deadline=None)
@given(mlps(), st.sampled_from([2, 4]), st.sampled_from(["clusters", "random"]), st.sampled_from(["keys", "random"]))
def test_all_experts_together_are_the_dense_model(graph: Graph, count: int, groups: str, gate: str) -> None:
    module = module_of(graph)
    try:
        after, made = applied(module, {"rewrite": "split_experts", "count": count, "groups": groups, "gate": gate})
    except GraphError:
        return
    assert error(module, made, graph) < 1e-12
    back, merged = applied(made, "merge_experts")
    assert error(module, merged, graph) < 1e-12
    assert "experts" not in {node.op for _, node in back} and "experts" in {node.op for _, node in after}


def test_experts_split_and_merged_are_the_dense_block_again_but_for_the_order_of_its_channels() -> None:
    module = block()
    after, made = applied(module, {**SPLIT, "k": 2})
    assert [i for i in after.nodes] == ["block.norm", "block.ffn", "block"]
    assert parameters(made) == parameters(module)
    back, merged = applied(made, "merge_experts")
    assert back == module.meta["graph"]  # type: ignore[index]
    old, new = module.state_dict(), merged.state_dict()
    order = [int((row == old["block.ffn.fc1.weight"]).all(1).nonzero()) for row in new["block.ffn.fc1.weight"]]
    assert sorted(order) == list(range(24)) != order
    assert torch.equal(new["block.ffn.fc1.bias"], old["block.ffn.fc1.bias"][order])
    assert torch.equal(new["block.ffn.fc2.weight"], old["block.ffn.fc2.weight"][:, order])
    assert torch.equal(new["block.ffn.fc2.bias"], old["block.ffn.fc2.bias"])


def test_a_token_goes_to_the_experts_whose_mean_row_points_its_way() -> None:
    module = block()
    _, made = applied(module, {**SPLIT, "k": 2})
    x = module.block.norm(*sample(module.meta["graph"]))  # type: ignore[index]
    ffn = made.block.ffn
    scores = torch.stack([x @ expert.fc1.weight.mean(0) for expert in ffn.expert], -1)
    chosen = scores.topk(2, -1).indices
    parts = torch.stack([expert(x=x)["output"] for expert in ffn.expert], -1)
    wanted = parts.gather(-1, chosen[..., None, :].expand(*parts.shape[:-1], 2)).sum(-1) + ffn.bias
    torch.testing.assert_close(ffn(x)[0], wanted)


def test_a_split_is_that_of_its_seed() -> None:
    module = block()
    states = [applied(module, {**SPLIT, "seed": seed})[1].state_dict() for seed in (0, 0, 1)]
    first = [s["block.ffn.expert.0.fc1.weight"] for s in states]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_the_layers_of_an_mlp_are_named_by_expand() -> None:
    module = module_of(asm.graph(parse("inputs: {x: [B, 8]}\ngraph: {ffn: {op: mlp, ratio: 2}}", "net.yaml")))
    with pytest.raises(GraphError, match="'ffn' is mlp, one step; `expand` lays it out as steps, do that first"):
        applied(module, {**SPLIT, "count": 4})
    _, laid = applied(module, "expand")
    after, made = applied(laid, {**SPLIT, "count": 4})
    assert list(after.nodes) == ["ffn"]
    assert error(module, made, module.meta["graph"]) < 1e-12  # type: ignore[index]


def test_what_cannot_be_split_is_said() -> None:
    with pytest.raises(GraphError, match=r"at 'block\.ffn\.fc1': its 24 channels are no multiple of 5 experts"):
        applied(block(), {**SPLIT, "count": 5}, "block.ffn.fc1")
    with pytest.raises(GraphError, match=r"at 'block': of 'block\.ffn\.fc1', its 24 channels are no multiple of 5"):
        applied(block(), {**SPLIT, "count": 5}, "block")
    with pytest.raises(RecipeError, match="'count' of split_experts must be at least 2, not 1"):
        applied(block(), {**SPLIT, "count": 1})
    with pytest.raises(RecipeError, match="'k' of split_experts must be from 1 to 6, the experts, not 7"):
        applied(block(), {**SPLIT, "k": 7})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(6, 2), (6, 3), (8, 4), (4, 4)]))
def test_rows_are_assigned_at_the_least_cost(seed: int, sizes: tuple[int, int]) -> None:
    n, k = sizes
    cost = np.random.default_rng(seed).random((n, k)).round(1)
    label = cheapest(cost)
    assert np.bincount(label, minlength=k).tolist() == [n // k] * k
    ways = set(itertools.permutations([c for c in range(k) for _ in range(n // k)])) if n < 8 else None
    if ways is not None:
        best = min(sum(cost[i, c] for i, c in enumerate(way)) for way in ways)
        assert cost[np.arange(n), label].sum() == pytest.approx(best)


def test_clusters_find_directions() -> None:
    chance = np.random.default_rng(0)
    centres = np.eye(8)[:4]
    truth = chance.permutation(np.repeat(np.arange(4), 16))
    rows = (centres[truth] + 0.05 * chance.normal(size=(64, 8))) * chance.uniform(0.1, 10, (64, 1))
    found = clusters(rows, 4)
    assert sorted(map(len, found)) == [16] * 4
    assert all(len(set(truth[group])) == 1 for group in found)
