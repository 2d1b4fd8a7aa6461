"""What models of choices rest on: vectors that tell choices and architectures apart, a process that fits, trees."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.recipe.choices import Decision, Space
from assembler.recipe.document import parse
from assembler.search.branches import descend, trail
from assembler.search.features import Encoder, paths
from assembler.search.gaussian import Gaussian, _evidence, _squared
from assembler.search.moves import frozen, neighbours
from assembler.search.scores import folded, improvement, normal_scores
from assembler.testing.spaces import MANY, NESTED, NUMBERS, SPACES, slots
from assembler.wiring.build import build

CELL = """\
kind: model
inputs: {{x: [B, 8]}}
graph:
  a: {{op: linear, out: 8, from: x}}
  b: {{op: {b}, from: x}}
  c: {{op: {c}, from: a}}
  sum: {{op: add, from: [b, c]}}
"""


def cell(b: str, c: str) -> np.ndarray:
    return paths(build(parse(CELL.format(b=b, c=c)).model))


def test_paths_are_sequences_of_ops_and_what_carries_nothing_is_left_out() -> None:
    assert sorted(cell("relu", "gelu")[cell("relu", "gelu") > 0]) == [1.0, 1.0]
    assert (cell("identity", "zero") != cell("zero", "identity")).any()
    assert not cell("zero", "zero").any()
    one, same = cell("zero", "relu"), cell("zero", "relu")
    assert (one == same).all() and one.sum() == 1.0
    assert cell("relu", "zero").sum() == 1.0 and (cell("relu", "zero") != one).any()


def test_graphs_with_too_many_paths_are_described_by_pieces() -> None:
    deep = "kind: model\ninputs: {x: [B, 8]}\ngraph:\n"
    deep += "  block: {repeat: 12, body: {r: {op: residual, body: {a: relu, l: {op: linear, out: 8}}}}}\n"
    found = paths(build(parse(deep).model))
    assert 2 <= np.count_nonzero(found) <= 40
    wider = paths(build(parse(deep.replace("out: 8", "out: 8, bias: false")).model))
    assert (found != wider).any()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32))
def test_equal_choices_have_equal_vectors_and_others_do_not(name: str, seed: int) -> None:
    space, rng = SPACES[name], random.Random(seed)
    encoder = Encoder(space)
    one, other = space.sample(rng), space.sample(rng)
    same = np.allclose(encoder.vector(one), encoder.vector(other))
    assert same == (frozen(one) == frozen(other))
    assert encoder.vector(one).shape == encoder.groups.shape == (encoder.width,)


def test_decisions_between_the_same_candidates_are_counted_together() -> None:
    encoder = Encoder(slots(3, 2))
    counts = encoder.vector({"stage.0": 0, "stage.1": 1, "stage.2": 1})[-2:]
    assert counts.tolist() == [1, 2]
    assert len(set(encoder.groups)) == 3 + 2


def test_the_slope_of_the_evidence_is_that_of_its_differences() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 4)), rng.normal(size=12)
    parts = np.stack([_squared(x[:, :2], x[:, :2]), _squared(x[:, 2:], x[:, 2:])])
    logs = np.log([0.4, 0.2, 0.05])
    slope = _evidence(np.exp(logs), parts, y)[1]
    for i in range(3):
        step = np.eye(3)[i] * 1e-5
        up, down = (_evidence(np.exp(logs + s), parts, y)[0] for s in (step, -step))
        assert slope[i] == pytest.approx((up - down) / 2e-5, rel=1e-3)


def test_a_process_learns_which_group_matters_and_knows_what_it_does_not_know() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-2, 2, size=(60, 2))
    y = np.sin(2 * x[:, 0])
    process = Gaussian(np.array([0, 1]))
    process.learn(x, y)
    posterior = process.posterior(x, y)
    assert posterior.scale[0] > 3 * posterior.scale[1]
    new = rng.uniform(-2, 2, size=(50, 2))
    mean, deviation = posterior.predict(new)
    assert np.sqrt(np.mean((mean - np.sin(2 * new[:, 0])) ** 2)) < 0.2
    assert posterior.predict(np.array([[9.0, 0.0]]))[1] > 3 * deviation.mean()


def test_scores_are_by_rank_alone_and_ties_are_equal() -> None:
    scores = normal_scores(np.array([3.0, -1e9, 3.0, 5.0]))
    assert scores[0] == scores[2] and scores[1] < scores[0] < scores[3]
    assert (normal_scores(np.array([1.0, 2.0, 3.0])) == normal_scores(np.array([-7.0, 0.0, 100.0]))).all()


def test_weights_reach_every_point_of_a_front() -> None:
    values = np.array([[0.0, 1.0], [0.3, 0.3], [1.0, 0.0], [0.2, 0.2]])
    rng = random.Random(0)
    assert {int(folded(values, rng).argmax()) for _ in range(200)} == {0, 1, 2}


def test_improvement_grows_with_the_mean_and_with_doubt() -> None:
    gains = improvement(np.array([0.0, 1.0, 0.0]), np.array([1.0, 1.0, 2.0]), 1.0)
    assert gains[0] == pytest.approx(0.0833, abs=1e-4)
    assert gains[1] == pytest.approx(0.3989, abs=1e-4)
    assert gains[2] > gains[0]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*sorted(SPACES), "ordered"]), st.integers(0, 2**32))
def test_the_trail_of_a_choice_leads_back_to_it(name: str, seed: int) -> None:
    space = Space((Decision("width", "oneof", ("64", "8", "16", "32")),)) if name == "ordered" else SPACES[name]
    choice = space.sample(random.Random(seed))
    steps = list(trail(space, choice))
    left = iter(steps)
    again = descend(space, lambda name, branches: next(left)[1], random.Random(0))
    assert list(trail(space, again)) == steps
    floats = {d.name for d in space.decisions if d.kind == "float"}
    assert {n: p for n, p in again.items() if n not in floats} == {n: p for n, p in choice.items() if n not in floats}
    for name_ in floats:
        assert again[name_] == pytest.approx(choice[name_], rel=0.12, abs=0.01)


def test_numbers_are_found_by_halving_their_range_in_their_own_order() -> None:
    space = Space((Decision("width", "oneof", ("64", "8", "16", "32")), Decision("depth", "int", low=1, high=6)))
    low, high = (list(trail(space, {"width": w, "depth": d})) for w, d in ((1, 1), (0, 6)))
    assert low == [("width", 0), ("width", 0), ("depth", 0), ("depth", 0), ("depth", 0)]
    assert high == [("width", 1), ("width", 1), ("depth", 1), ("depth", 1)]


@pytest.mark.parametrize("space", [NESTED, NUMBERS, MANY], ids=["nested", "numbers", "many"])
def test_neighbours_are_valid_new_and_one_change_away(space: Space) -> None:
    rng = random.Random(3)
    for _ in range(20):
        choice = space.sample(rng)
        near = list(neighbours(space, choice, rng))
        assert near
        for one in near:
            space.check(one)
            changed = {n for n in choice if n in one and one[n] != choice[n]}
            assert len(changed) == 1


def test_neighbours_of_slots_are_all_other_candidates_of_each() -> None:
    near = list(neighbours(slots(3, 4), {"stage.0": 0, "stage.1": 1, "stage.2": 3}, random.Random(0)))
    assert len(near) == len({frozen(c) for c in near}) == 9
