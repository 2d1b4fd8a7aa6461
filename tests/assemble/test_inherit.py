"""Weight inheritance: what a child has of its parent, how its function moves, and what is told of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from assembler.assemble.inherit import Account, inherited
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.recipe.document import changed, parse
from assembler.recipe.values import Leaf
from assembler.wiring.build import build

NET = """
kind: model
vars: {dim: 8, depth: 2, kernel: 3, heads: 2}
inputs: {image: [B, 3, 6, 6]}
blocks:
  unit:
    params: {mixer: dwconv, ratio: 2}
    body:
      mix: {op: residual, body: {norm: batch_norm2d, token: {op: =mixer}}}
      mlp: {op: residual, body: {norm: batch_norm2d, ffn: {op: conv_mlp, ratio: =ratio}}}
graph:
  stem: {op: conv2d, out: =dim, kernel_size: =kernel, padding: =kernel // 2}
  side: {op: conv2d, out: =dim // 2, kernel_size: 1, from: stem}
  join: {op: concat, from: [stem, side]}
  block: {op: unit, repeat: =depth}
  act: relu
  tokens: map_to_tokens
  look: {op: attention, num_heads: =heads, head_dim: 4}
  pool: token_pool
  head: {op: linear, out: 5}
outputs: {logits: head}
"""
KEEPING = {
    "nothing": ({}, "42 copied"),
    "a wider network, its heads as wide": ({"vars.dim": 16, "vars.heads": 4}, ""),
    "by half more": ({"vars.dim": 12}, ""),
    "deeper": ({"vars.depth": 3}, ""),
    "a larger kernel": ({"vars.kernel": 5}, "41 copied, 1 grown"),
    "a wider hidden layer": ({"block.ratio": 4}, "36 copied, 6 grown"),
}


def graph(**changes: object) -> Graph:
    return edited(NET, **changes)


def edited(text: str, **changes: object) -> Graph:
    return build(changed(parse(text).model, [(path, Leaf(value)) for path, value in changes.items()]))


def state(of: Graph) -> dict[str, Tensor]:
    """Weights that nothing begins with, running statistics among them."""
    generator = torch.Generator().manual_seed(3)
    made = {}
    for key, tensor in lower(of).state_dict().items():
        noise = torch.rand(tensor.shape, generator=generator)
        made[key] = noise + 0.5 if key.endswith("running_var") else (noise - 0.5) if tensor.ndim else tensor
    return made


def moved(parent: Graph, child: Graph) -> tuple[float, Account]:
    """How far the function moved."""
    weights, account = inherited(parent, state(parent), child)
    one, other = lower(parent).eval(), lower(child).eval()
    one.load_state_dict(state(parent))
    other.load_state_dict(weights)
    image = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return float((one(image) - other(image)).abs().max()), account


@pytest.mark.parametrize(("changes", "said"), KEEPING.values(), ids=KEEPING)
def test_growth_keeps_the_function(changes: dict[str, object], said: str) -> None:
    distance, account = moved(graph(), graph(**changes))
    assert distance < 1e-5
    assert not said or str(account).startswith(said)
    assert not {"sliced"} & set(account.counts)


def test_a_new_block_begins_as_if_it_were_not_there_and_can_learn() -> None:
    weights, account = inherited(graph(), state(graph()), graph(**{"vars.depth": 3}))
    quiet = [key for key, fate in account.fates.items() if fate == "identity"]
    assert sorted(quiet) == ["block.2.mix.token.conv.bias", "block.2.mix.token.conv.weight",
                             "block.2.mlp.ffn.fc2.bias", "block.2.mlp.ffn.fc2.weight"]  # fmt: skip
    assert all(not weights[key].any() for key in quiet)
    assert weights["block.2.mlp.ffn.fc1.weight"].any()


def test_only_what_the_edit_touched_is_drawn_anew() -> None:
    child = graph(**{"block.1.mixer": "conv_mlp"})
    weights, account = inherited(graph(), state(graph()), child)
    fresh = {key.rpartition(".")[0] for key, fate in account.fates.items() if fate != "copied"}
    assert fresh == {"block.1.mix.token.fc1", "block.1.mix.token.fc2"}
    assert torch.equal(weights["block.1.mlp.ffn.fc1.weight"], state(graph())["block.1.mlp.ffn.fc1.weight"])


def test_copies_of_a_channel_count_together_what_it_counted_and_differ() -> None:
    weights, _ = inherited(graph(), state(graph()), graph(**{"block.ratio": 4}))
    old, new = state(graph())["block.0.mlp.ffn.fc2.weight"], weights["block.0.mlp.ffn.fc2.weight"]
    assert torch.allclose(new[:, :24] + new[:, 24:], old, atol=1e-6)
    assert not torch.allclose(new[:, :24], new[:, 24:])


def test_a_smaller_child_has_the_first_channels_and_the_middle_of_kernels() -> None:
    parent = graph(**{"vars.kernel": 5, "vars.dim": 16})
    weights, account = inherited(parent, state(parent), graph())
    assert torch.equal(weights["stem.weight"], state(parent)["stem.weight"][:8, :, 1:4, 1:4])
    assert account.fates["stem.weight"] == account.fates["head.weight"] == "sliced"


def test_renamed_and_moved_steps_are_found() -> None:
    plain = """
kind: model
inputs: {x: [B, 4]}
graph:
  a: {op: linear, out: 6}
  b: relu
  c: {op: linear, out: 5}
  d: {op: linear, out: 3}
outputs: {y: d}
"""
    parent = build(parse(plain).model)
    text = (
        plain.replace("a:", "first:", 1)
        .replace("  b: relu", "  extra: identity\n  second: gelu")
        .replace("c:", "a:", 1)
    )
    child = build(parse(text).model)
    weights, account = inherited(parent, state(parent), child)
    assert account.moved == {"first": "a", "a": "c"}
    assert str(account) == "6 copied; 2 steps under another name"
    assert torch.equal(weights["a.weight"], state(parent)["c.weight"])


def test_a_layer_put_between_is_the_identity() -> None:
    text = """
kind: model
inputs: {x: [B, 4]}
graph:
  a: {op: linear, out: 6}
  b: relu
  d: {op: linear, out: 3}
outputs: {y: d}
"""
    parent = build(parse(text).model)
    child = build(parse(text.replace("  d:", "  more: {op: linear, out: 6}\n  again: relu\n  d:")).model)
    weights, account = inherited(parent, state(parent), child)
    assert str(account) == "4 copied, 2 identity"
    assert torch.equal(weights["more.weight"], torch.eye(6))


def test_tied_weights_stay_tied() -> None:
    text = """
kind: model
vars: {dim: 4}
inputs: {word: {shape: [B, 5], dtype: int64}}
graph:
  embed: {op: embedding, num_embeddings: 7, out: =dim}
  head: {op: linear, out: 7, bias: false, share: {weight: embed.weight}}
outputs: {logits: head}
"""
    parent = build(parse(text).model)
    child = edited(text, **{"vars.dim": 8})
    weights, _ = inherited(parent, state(parent), child)
    assert torch.equal(weights["embed.weight"], weights["head.weight"])


def test_the_same_inheritance_gives_the_same_weights() -> None:
    child = graph(**{"vars.dim": 12, "block.mixer": "zero"})
    one, other = (inherited(graph(), state(graph()), child, seed=4)[0] for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_weights_keep_their_names_where_steps_go_into_a_loop() -> None:
    plain = "kind: model\ninputs: {x: [B, 4]}\ngraph:\n  draw: {body: {fc: {op: linear, out: 4}, act: tanh}}\n"
    loop = plain.replace("{body: {fc", "{op: loop, carry: [x], times: 3, from: {x: x}, body: {fc").replace(
        "tanh}}", "tanh}, outputs: {x: act}}"
    )
    parent, child = (build(parse(text).default) for text in (plain, loop))
    weights = lower(parent, seed=1).state_dict()
    made, account = inherited(parent, weights, child, seed=2)
    assert made.keys() == weights.keys() and all(torch.equal(made[key], weights[key]) for key in made)
    assert account.counts == {"copied": 2}


THIN = """
kind: model
inputs: {image: [B, 3, 6, 6]}
graph:
  fc: {op: linear, out: 6}
  act: tanh
  skip: {op: residual, body: {fc: {op: linear, out: 6}}}
  head: {op: linear, out: 2, bias: false}
"""
PRODUCTS = {
    "of full rank": ("{op: low_rank_linear, out: 6, rank: 6, bias: true}", 1e-6),
    "of more ranks than there are, scaled": ("{op: low_rank_linear, out: 6, rank: 9, scale: 2.0, bias: true}", 1e-6),
    "of blocks of one number": ("{op: kronecker_linear, out: 6, factor: [6, 6], scale: 0.5, bias: true}", 1e-6),
    "of all in one block": ("{op: kronecker_linear, out: 6, factor: [1, 1], bias: true}", 1e-6),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_in_the_place_of_a_linear_layer_begins_as_the_nearest_to_it(name: str) -> None:
    said, most = PRODUCTS[name]
    distance, account = moved(edited(THIN), build(parse(THIN.replace("{op: linear, out: 6}", said)).model))
    assert distance < most
    assert account.counts == {"copied": 3, "factored": 4}


def test_a_product_of_few_ranks_leaves_out_the_least_singular_values() -> None:
    child = build(parse(THIN.replace("  fc: {op: linear", "  fc: {op: low_rank_linear, rank: 2")).model)
    weights = state(edited(THIN))
    made, account = inherited(edited(THIN), weights, child)
    left = torch.linalg.matrix_norm(weights["fc.weight"] - made["fc.b"] @ made["fc.a"])
    assert torch.allclose(left, torch.linalg.svdvals(weights["fc.weight"])[2:].square().sum().sqrt())
    assert account.counts == {"copied": 3, "factored": 2}, "the bias of the linear layer has no place here"


def test_a_product_of_other_sizes_begins_anew() -> None:
    child = build(parse(THIN.replace("{op: linear, out: 2, bias: false}", "{op: low_rank_linear, out: 3}")).model)
    _, account = inherited(edited(THIN), state(edited(THIN)), child)
    assert account.fates["head.a"] == "initialised"
