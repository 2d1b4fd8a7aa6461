"""One space file, two front doors: PyGlove's algorithms and Optuna's samplers search it, and choices replay alike."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pyglove as pg
import pytest

import assembler as asm
from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.choices import Choice, decide
from assembler.recipe.document import Document, parse
from assembler.search import SearchSpec, make
from assembler.symbolic.recipe import choice_of, dna_of, symbolic

SPACE = """
kind: space
base:
  vars: {depth: 1}
  inputs: {x: [B, 8]}
  blocks:
    cell:
      depth: 2
      body:
        left: {op: {$oneof: [relu, {op: linear, out: 8}, {op: cell}]}}
        right: {op: {$oneof: [tanh, cell]}}
  graph:
    net: {op: cell}
    arms: {op: branches, merge: add, body: {a: {op: linear, out: 8}, b: relu}}
    tail: {repeat: =depth, body: {fc: {op: linear, out: 8}, drop: {op: dropout, p: 0.1}}}
    list: {for: {step: [relu, gelu]}, body: {do: {op: =step}}}
choose:
  vars.depth: {$int: [1, 3]}
  arms.a.out: {$oneof: [8]}
  tail.drop.p: {$float: [0.01, 0.5], log: true}
  list.for.step:
    k: 2
    $manyof:
      - relu
      - {op: linear, out: 8, bias: {$oneof: [true, false]}}
      - {op: leaky_relu, negative_slope: {$oneof: [0.1, 0.2]}}
"""


GRAMMAR, SEVERAL = SPACE.partition("  graph:")[0], SPACE.partition("  list.for.step:")[2]
SMALL = {
    "net": [GRAMMAR, "  graph: {net: {op: cell}}"],
    "list": ["kind: model", "inputs: {x: [B, 8]}", "graph:", "  list:", "    body: {do: {op: relu}}", "    for:",
             "      step:", *(f"    {line}" for line in SEVERAL.splitlines() if line)],
}  # fmt: skip


@pytest.fixture(scope="module")
def document() -> Document:
    return parse(SPACE, "space.yaml")


def whole(document: Document) -> Document:
    return parse(SPACE.replace("{$float: [0.01, 0.5], log: true}", "{$oneof: [0.1, 0.2]}"), "whole.yaml")


def test_pyglove_and_we_count_the_same(document: Document) -> None:
    finite = whole(document)
    assert pg.dna_spec(symbolic(finite)).space_size == finite.space.size
    assert pg.dna_spec(symbolic(document)).space_size == -1 and document.space.size is None


@pytest.mark.parametrize("part", ["net", "list"])
def test_every_candidate_of_pyglove_is_one_of_ours(part: str) -> None:
    found = parse("\n".join(SMALL[part]))
    recipe = symbolic(found)
    seen: set[tuple[tuple[str, object], ...]] = set()
    for dna in pg.iter(recipe):
        choice = choice_of(recipe, _dna(recipe, dna))
        found.space.check(choice)
        seen.add(tuple(choice.items()))
    assert len(seen) == found.space.size
    assert seen == {tuple(c.items()) for c in found.space.every()}


def _dna(recipe: object, candidate: object) -> pg.DNA:
    return pg.template(recipe).encode(candidate)


def sampled(recipe: object, kind: str, count: int) -> Iterator[object]:
    algorithm = {
        "random": pg.geno.Random(seed=1),
        "evolution": pg.evolution.regularized_evolution(population_size=3, tournament_size=2, seed=1),
    }[kind]
    for candidate, feedback in pg.sample(recipe, algorithm, num_examples=count):
        feedback(1.0)
        yield candidate


@pytest.mark.parametrize("kind", ["random", "evolution"])
def test_what_pyglove_samples_replays_from_our_decision_vector(document: Document, kind: str) -> None:
    recipe = symbolic(document)
    for candidate in sampled(recipe, kind, 8):
        choice = choice_of(recipe, _dna(recipe, candidate))
        document.space.check(choice)
        replayed = decide(document.model, choice)
        assert asm.graph(candidate) == asm.graph(recipe.decided(choice))
        assert asm.graph(candidate).fingerprint == Candidates(document.model, "space").fingerprint(choice)
        assert decide(parse(SPACE).model, choice) == replayed  # anywhere: from the file again


@pytest.mark.parametrize(
    "sampler", ["random", "tpe", "evolution", "pyglove", {"name": "optuna", "algorithm": "nsgaii"}]
)
def test_what_any_sampler_asks_replays_through_pyglove(document: Document, sampler: object) -> None:
    candidates, recipe = Candidates(document.model, "space"), symbolic(document)
    asked = make(sampler, SearchSpec(candidates.space, seed=3, graph=candidates.graph))  # type: ignore[arg-type]
    for _ in range(6):
        choice = asked.ask()
        assert choice is not None
        candidates.space.check(choice)
        asked.tell(choice, (1.0,))
        dna = dna_of(recipe, choice)
        assert choice_of(recipe, dna) == choice
        decoded = pg.template(recipe).decode(dna)
        assert asm.graph(decoded).fingerprint == candidates.fingerprint(choice)


def test_a_choice_survives_the_way_there_and_back(document: Document) -> None:
    recipe, rng = symbolic(document), random.Random(0)
    for _ in range(30):
        choice: Choice = document.space.uniform(rng)
        assert choice_of(recipe, dna_of(recipe, choice)) == choice
