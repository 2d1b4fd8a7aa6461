"""The public benchmarks' numbers of distinct cells, by our fingerprint."""

from __future__ import annotations

import itertools
import random

import pytest
from nas_bench import OPS_101, OPS_201, graph_101, matrices, prints, text_201

from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.document import load
from assembler.search.moves import mutate

UNIQUE_101 = {2: 1, 3: 6, 4: 84, 5: 2_441, 6: 62_010, 7: 359_082}
"""Cells of NAS-Bench-101 by number of vertices (Ying et al. 2019, the published table's rows)."""


@pytest.mark.parametrize("vertices", [2, 3, 4, 5])
def test_the_fingerprint_counts_the_cells_of_nas_bench_101(vertices: int) -> None:
    assert len(prints(vertices)) == UNIQUE_101[vertices]


@pytest.mark.slow
def test_the_fingerprint_counts_the_cells_of_six_vertices() -> None:
    assert len(prints(6)) == UNIQUE_101[6]


@pytest.mark.slow
def test_the_fingerprint_counts_the_cells_of_seven_vertices() -> None:
    shapes = {graph_101(m, ["relu"] * 5).fingerprint: m for m in matrices(7)}
    labels = list(itertools.product(OPS_101, repeat=5))  # whatever orders a shape's vertices, these are all labellings
    assert len({graph_101(m, ops).fingerprint for m in shapes.values() for ops in labels}) == UNIQUE_101[7]


def test_the_space_makes_the_cells_of_two_to_four_vertices() -> None:
    document = load("nas_bench_101", ("vars.channels=4", "vars.cells=1", "inputs.image=[B, 3, 4, 4]"))
    candidates = Candidates(document.model, "cell")
    base = {d.name: 0 for d in candidates.space.decisions}
    free = ["into_1.0", "into_2.0", "into_2.1", "into_6.0", "into_6.1", "into_6.2"]
    found = set()
    for bits in itertools.product((0, 1), repeat=6):
        for ops in itertools.product(range(3), repeat=2):
            choice = base | {f"vars.{n}": b for n, b in zip(free, bits, strict=True)}
            choice |= {"vars.op_1": ops[0], "vars.op_2": ops[1]}
            if not candidates.space.refusal(choice):
                found.add(candidates.fingerprint(choice))
    assert len(found) == UNIQUE_101[2] + UNIQUE_101[3] + UNIQUE_101[4]


def test_where_keeps_cells_of_more_than_nine_edges_and_broken_ones_out() -> None:
    space = load("nas_bench_101").space
    full = {d.name: 1 if "into" in d.name else 0 for d in space.decisions}
    assert space.refusal(full) == "where: vars.edges <= 9"
    assert space.refusal({**full, **{f"vars.into_6.{i}": 0 for i in range(6)}}) == "where: vars.reached"
    alone = {name: 0 for name in full} | {"vars.into_6.0": 1}
    assert space.refusal(alone) == ""


def test_cells_of_nas_bench_201_that_compute_the_same_are_equal_and_others_not() -> None:
    candidates = _cells_201()
    rng = random.Random(1)
    seen: dict[str, str] = {}
    for _ in range(150):
        choice = candidates.space.sample(rng)
        text = text_201([OPS_201[int(choice[d.name])] for d in candidates.space.decisions], as_published=False)
        assert seen.setdefault(candidates.fingerprint(choice), text) == text
    assert 100 < len(seen) < 150


def test_the_published_number_of_distinct_cells_of_nas_bench_201() -> None:
    every = list(itertools.product(OPS_201, repeat=6))
    assert len(every) == 15_625
    assert len({text_201(ops, as_published=True) for ops in every}) == 6_466
    assert len({text_201(ops, as_published=False) for ops in every}) == 5_773


@pytest.mark.slow
def test_our_number_of_distinct_cells_of_nas_bench_201() -> None:
    """The published 6,466 counts a zero that arrives as a difference; without that there are 5,773. Ours, 6,334, tells
    apart in addition whether a value is used twice or computed twice with weights of its own."""
    candidates = _cells_201()
    assert len({candidates.fingerprint(c) for c in candidates.space.every()}) == 6_334


def test_how_much_training_a_fingerprint_saves_on_nas_bench_101(capsys: pytest.CaptureFixture[str]) -> None:
    """Isomorphic repeats among uniform valid samples and among the children of evolution on a random objective."""
    drawn, evolved = _repeats(uniform=1_000, children=400)
    with capsys.disabled():
        print(f"\nNAS-Bench-101: {drawn:.0%} of 1,000 uniform samples and {evolved:.0%} of 400 children repeat a graph")
    assert drawn > 0.3
    assert evolved > 0.3


def _repeats(uniform: int, children: int) -> tuple[float, float]:
    space, rng = load("nas_bench_101").space, random.Random(0)
    samples = [_print_101(space.uniform(rng)) for _ in range(uniform)]
    worth = {key: random.Random(key).random() for key in samples}
    members = [(worth[key], c) for key, c in ((_print_101(c), c) for c in (space.uniform(rng) for _ in range(50)))
               if worth.setdefault(key, random.Random(key).random())]  # fmt: skip
    seen, repeated = set(worth), 0
    for _ in range(children):
        parent = max(rng.sample(members, 10), key=lambda m: m[0])[1]
        child = mutate(space, parent, rng)
        while space.refusal(child):
            child = mutate(space, parent, rng)
        key = _print_101(child)
        repeated += key in seen
        seen.add(key)
        members = [*members[1:], (random.Random(key).random(), child)]
    return 1 - len(set(samples)) / uniform, repeated / children


def _print_101(choice: dict[str, object]) -> str:
    """The fingerprint of a choice's cell, its unread vertices left out."""
    edges = {(i, j) for j in range(1, 7) for i in range(j) if choice[f"vars.into_{j}.{i}"]}
    kept = _between(edges)
    order = sorted(kept)
    matrix = [[int((i, j) in edges) for j in order] for i in order]
    return graph_101(matrix, [OPS_101[int(str(choice[f"vars.op_{v}"]))] for v in order[1:-1]]).fingerprint


def _between(edges: set[tuple[int, int]]) -> set[int]:
    """The vertices on a way from 0 to 6."""
    there, back = {0}, {6}
    for i, j in sorted(edges):
        there |= {j} if i in there else set()
    for i, j in sorted(edges, reverse=True):
        back |= {i} if j in back else set()
    return there & back


def _cells_201() -> Candidates:
    sizes = ("vars.channels=2", "vars.cells=1", "inputs.image=[B, 3, 4, 4]")
    return Candidates(load("nas_bench_201", sizes).model, "cell")
