"""Supernets: what candidates share, that training moves what is on the path alone, and scores without training."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from assemble_models import data, task, training

from assembler.assemble.supernet import Library, Supernet, score_candidate, train_supernet
from assembler.assemble.supernet.library import from_tensors
from assembler.assemble.supernet.policy import Policy
from assembler.assemble.supernet.relaxed import relaxed
from assembler.assemble.supernet.score import candidate_weights
from assembler.assemble.supernet.training import Places, through
from assembler.compile.lower import lower
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.recipe.choices import decide, space
from assembler.recipe.document import parse
from assembler.train.supernet import SupernetSpec
from assembler.wiring.build import build

NET = """
kind: model
vars: {dim: DIM}
inputs: {image: [B, 1, 6, 6]}
graph:
  stem: {op: conv2d, out: =dim, kernel_size: KERNEL, padding: same}
  norm: batch_norm2d
  mix: {op: residual, body: {token: MIXER}}
  look: {op: attention, num_heads: 2}
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
OPS = "{$oneof: [dwconv, pool, {op: conv2d, out: =dim, kernel_size: 3, padding: 1}]}"


def places(mixer: str = OPS, dim: str = "4", kernel: str = "3") -> Places:
    model = parse(NET.replace("MIXER", mixer).replace("DIM", dim).replace("KERNEL", kernel)).model
    return Places(space(model), lambda choice: build(decide(model, choice)))


SIZES = {"dim": "{$oneof: [4, 8]}", "kernel": "{$oneof: [1, 3]}"}


def trained(where: Places, how: str, **settings: Any) -> Supernet:
    spec = SupernetSpec(train=how, paths=1)  # type: ignore[arg-type]
    return train_supernet(where, data(), task(), training(**{"steps": 6, **settings}), spec)


def graphs(where: Places) -> list[Graph]:
    return [where.graph(choice) for choice in where.space.covering()]


def test_apart_candidates_share_the_steps_that_they_have_alike() -> None:
    library = Library()
    one, two, three = graphs(places())
    library.reserve([one, two, three])
    first, second, third = (library.weights(g) for g in (one, two, three))
    assert first["stem.weight"] is second["stem.weight"] is third["stem.weight"]
    assert "mix.token.conv.weight" in first and "mix.token.weight" in third
    sizes = {key: tensor.numel() for graph in (one, two, three) for key, tensor in lower(graph).state_dict().items()}
    assert sum(t.numel() for t in library.tensors.values()) == sum(sizes.values())


def test_nested_candidates_are_cut_out_of_the_largest() -> None:
    where = places("identity", **SIZES)
    library = Library("nested")
    library.reserve(where.graph(c) for c in where.space.every())
    wide, narrow = (library.weights(where.graph(where.extreme(random.Random(0), sign))) for sign in (1, -1))
    assert wide["stem.weight"].shape == (8, 1, 3, 3)
    assert torch.equal(narrow["stem.weight"], wide["stem.weight"][:4, :, 1:2, 1:2])
    assert torch.equal(narrow["look.qkv.weight"][4:8], wide["look.qkv.weight"][8:12, :4]), "keys of keys"
    narrow["stem.weight"].sum().backward()
    grad = library.params[next(k for k in library.params if k.startswith("stem.weight"))].grad
    assert grad is not None and grad[:4, :, 1, 1].all() and not grad[4:].any()


def test_a_candidate_computes_what_its_own_module_would() -> None:
    where = places("identity", **SIZES)
    library = Library("nested")
    library.reserve(map(where.graph, where.space.every()))
    graph = where.graph(where.extreme(random.Random(0), -1))
    module = lower(graph).train()
    module.load_state_dict(candidate_weights(library, graph))
    batch = {"image": torch.randn(5, 1, 6, 6)}
    assert torch.allclose(through(library, graph, training=True)(batch)["logits"], module(batch["image"]), atol=1e-6)


TIED = """
kind: model
inputs: {image: [B, 1, 6, 6]}
graph:
  stem: {op: conv2d, out: 4, kernel_size: 3, padding: 1}
  norm: batch_norm2d
  mix: MIXER
  again: AGAIN
  look: {op: attention, num_heads: 2}
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""

CONV = "{op: conv2d, out: 4, kernel_size: 3, padding: 1}"
FROZEN, SHARED = CONV.replace("}", ", frozen: true}"), CONV.replace("}", ", share: mix}")


@pytest.mark.parametrize("sharing", ["apart", "nested"])
@pytest.mark.parametrize(("mixer", "again"), [("dwconv", "zero"), (FROZEN, "dwconv"), (CONV, SHARED), (FROZEN, SHARED)])
def test_step_by_step_is_the_same_as_in_one_piece(sharing: Any, mixer: str, again: str) -> None:
    model = parse(TIED.replace("MIXER", mixer).replace("AGAIN", again)).model
    graph = build(model)
    library = Library(sharing, seed=3)
    whole = lower(graph, seed=3).train()
    assert {name: tuple(t.shape) for name, t in library.weights(graph).items()} == {
        name: tuple(t.shape) for name, t in whole.state_dict().items()
    }
    batch = {"image": torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(1))}
    ours, theirs = through(library, graph, training=True)(batch)["logits"], whole(batch["image"])
    assert torch.equal(ours, theirs)
    ours.sum().backward()
    theirs.sum().backward()
    mine, own = library.weights(graph), dict(whole.named_parameters())
    assert all((mine[name].grad is None) == (p.grad is None) for name, p in own.items())
    assert all(torch.equal(mine[name].grad, p.grad) for name, p in own.items() if p.grad is not None)
    state = whole.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in mine.items()), "running statistics too"


def test_in_evaluation_running_statistics_stay_as_they_are() -> None:
    where, library = places(), Library()
    one, other = (where.graph(c) for c in list(where.space.covering())[:2])
    library.reserve([one, other])
    before = {key: t.clone() for key, t in library.tensors.items()}
    batch = {"image": torch.randn(5, 1, 6, 6)}
    judged = through(library, one, training=False)
    trained = through(library, other, training=True)
    judged(batch)
    assert all(torch.equal(t, before[key]) for key, t in library.tensors.items())
    trained(batch)
    after = {key: t.clone() for key, t in library.tensors.items()}
    assert any(not torch.equal(t, before[key]) for key, t in after.items())
    judged(batch)
    assert all(torch.equal(t, after[key]) for key, t in library.tensors.items())


def test_a_step_is_made_once_for_all_candidates() -> None:
    where, library = places(), Library()
    graphs_ = graphs(where)
    library.reserve(graphs_)
    made = len(library.steps.made)
    assert made == len(graphs_[0]) + len(graphs_) - 1, "the mixers alone differ"
    library.reserve(graphs_)
    assert len(library.steps.made) == made


def test_a_step_trains_the_path_alone() -> None:
    where = places()
    library = trained(where, "spos", steps=1).library
    fresh = Library("nested")
    fresh.reserve(graphs(where))
    moved = {key.split("|")[0] for key, t in library.params.items() if not torch.equal(t, fresh.tensors[key])}
    assert "stem.weight" in moved
    assert len({key for key in moved if key.startswith("mix.token")} & {"mix.token.weight"}) <= 1
    assert set(library.params) <= set(fresh.params)


@pytest.mark.parametrize("how", ["spos", "sandwich", pytest.param("enas", marks=pytest.mark.slow)])
def test_training_learns_and_is_the_same_every_time(how: str) -> None:
    where = places(**SIZES)
    one, other = (trained(where, how, steps=30, lr=2e-2) for _ in range(2))
    assert one.library.tensors.keys() == other.library.tensors.keys()
    assert all(torch.equal(t, other.library.tensors[key]) for key, t in one.library.tensors.items())
    assert one.train_flops > 0 and one.preferred == other.preferred
    assert (one.preferred is not None) is (how == "enas")
    untrained = Library(one.library.sharing)
    scores = []
    for choice in where.space.covering():
        graph = where.graph(choice)
        after, before = (score_candidate(lib, graph, data(), task())[1] for lib in (one.library, untrained))
        scores.append(before - after)
    assert sum(scores) / len(scores) > 0


def test_a_library_can_be_kept_and_taken_up_again() -> None:
    where = places(**SIZES)
    library = trained(where, "spos").library
    again = from_tensors({key: t.detach().clone() for key, t in library.tensors.items()}, library.sharing)
    graph = where.graph(where.space.first)
    assert score_candidate(library, graph, data(), task()) == score_candidate(again, graph, data(), task())


def test_running_statistics_of_other_candidates_play_no_part() -> None:
    where, libraries = places(), [Library(), Library()]
    graph = where.graph(where.space.first)
    for library, mean in zip(libraries, (0.0, 50.0), strict=True):
        library.reserve([graph])
        library.weights(graph)["norm.running_mean"].fill_(mean)
        library.weights(graph)["norm.num_batches_tracked"].fill_(7)
    one, other = (score_candidate(library, graph, data(), task()) for library in libraries)
    assert one == other


def test_a_controller_comes_to_prefer_what_is_rewarded() -> None:
    where = places(**SIZES)
    policy, rng = Policy(where.space, rate=0.5), random.Random(0)
    for _ in range(300):
        choice = policy.draw(rng)
        policy.learn(choice, float(choice["mix.token"] == 1) + 0.2 * float(choice["vars.dim"] == 1))
    assert policy.preferred["mix.token"] == 1 and policy.preferred["vars.dim"] == 1
    assert sum(policy.chances("vars.dim")) == pytest.approx(1)


def test_a_space_in_which_nothing_fits_says_why() -> None:
    where = Places(places().space, places().graph, lambda choice: "params 99 > 10")
    with pytest.raises(RecipeError, match=r"no candidate could be drawn for the supernet; .* refused: params 99 > 10"):
        trained(where, "spos")


def test_the_settings_are_checked() -> None:
    with pytest.raises(RecipeError, match="'paths' of a supernet counts candidates, at least 0, not -1"):
        SupernetSpec.from_spec({"paths": -1})
    with pytest.raises(RecipeError, match="'supernet' has no") as caught:
        SupernetSpec.from_spec({"epoch": 3})
    assert "did you mean 'epochs'?" in str(caught.value)


MIXED = """
kind: model
inputs: {image: [B, 1, 6, 6]}
graph:
  stem: {op: conv2d, out: 4, kernel_size: 3, padding: same}
  cell:
    repeat: 2
    body:
      left: TWO
      right: OPS
      sum: {op: add, from: [left, right]}
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
TWO = "{$oneof: [{body: {a: relu, b: {op: conv2d, out: 4, kernel_size: 1}}}, zero]}"


def cells(first: str = TWO) -> Places:
    ops = "{$oneof: [dwconv, pool, identity]}"
    model = parse(MIXED.replace("TWO", first).replace("OPS", ops)).model
    return Places(space(model), lambda choice: build(decide(model, choice)))


def test_a_relaxed_graph_is_every_candidate_where_its_softmax_is_one() -> None:
    where = cells()
    mixed = relaxed(where.space, where.graph)
    assert mixed.places == {"cell.left": ("cell.0.left", "cell.1.left"), "cell.right": ("cell.0.right", "cell.1.right")}
    module = lower(mixed.graph, seed=1).eval()
    state, image = module.state_dict(), torch.randn(4, 1, 6, 6)
    for choice in where.space.every():
        for name, key in mixed.alphas.items():
            state[key].copy_(torch.full_like(state[key], -50.0))
            state[key][int(str(choice[name]))] = 50.0
        graph = where.graph(choice)
        candidate = lower(graph).eval()
        candidate.load_state_dict({name: state[mixed.key(name, choice)] for name in candidate.state_dict()})
        assert torch.allclose(candidate(image), module(image), atol=1e-6)


def test_darts_ends_with_a_choice_and_its_weights() -> None:
    where = cells()
    one, other = (trained(where, "darts", steps=12, lr=2e-2) for _ in range(2))
    assert one.preferred == other.preferred and one.preferred is not None and one.train_flops > 0
    where.space.check(one.preferred)
    state = score_candidate(one.library, where.graph(one.preferred), data(), task())
    assert state == score_candidate(other.library, where.graph(one.preferred), data(), task())
    fresh = Library("apart")
    fresh.reserve(graphs(where))
    assert any(not torch.equal(t, fresh.tensors[key]) for key, t in one.library.tensors.items())


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            places("identity", **SIZES),
            "darts cannot relax 'stem.kernel_size': its places are those of another decision",
        ),
        (
            cells("{op: conv2d, out: 4, kernel_size: {$int: [1, 3]}, padding: same}"),
            "is one of numbers or several (int)",
        ),
        (places("identity", dim="{$oneof: [4, 8]}"), "darts weighs candidates of one shape"),
        (cells("{$oneof: [{op: conv2d, out: 4, kernel_size: 3}, zero]}"), "darts weighs candidates of one shape"),
    ],
)
def test_what_darts_cannot_relax_is_refused(where: Places, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        relaxed(where.space, where.graph)
    assert said in str(caught.value) and "sandwich takes any choice" in str(caught.value)
