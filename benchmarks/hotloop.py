"""A candidate in the hot loop of a search, warm, against `pg.sample` with the same algorithm over the same space."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import pyglove as pg
import torch

from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.document import Document, parse
from assembler.search.samplers import SearchSpec, make
from assembler.symbolic.hyper import to_hyper
from benchmarks.measure import Figure, spread

GOAL, TIMES = 1.0, 100.0
POPULATION, TOURNAMENT = 20, 5
SPACE = """
kind: space
name: poolformer_s12_stages
base: poolformer@s12
choose:
  stage.*.block.mixer: {$oneof: [pool, dwconv, {op: attention, num_heads: 8}, identity]}
  stage.*.block.ratio: {$oneof: [1, 2, 4]}
  vars.depths.0: {$int: [1, 3]}
  vars.depths.1: {$int: [1, 3]}
  vars.depths.2: {$int: [2, 8]}
  vars.depths.3: {$int: [1, 3]}
"""
"""The mixer, ratio and depth of each of the four stages of PoolFormer-S12: twelve decisions, 3,919,104 choices."""


def figures(quick: bool) -> list[Figure]:
    """CPU times of one process. Rewards are random, so that nothing but the loop is measured.

    Ours chooses, decodes, verifies, fingerprints, and counts parameters and FLOPs; it never asks for a choice twice.
    PyGlove's chooses and decodes to the recipe alone, a `pg.Dict` of the whole model with `pg.oneof` where it is open.
    """
    torch.set_num_threads(1)
    document = parse(SPACE)
    warm, rounds, mine_each, their_each = (3000, 5, 60, 4) if quick else (3000, 21, 200, 10)
    our_loop, their_loop = ours(document), theirs(document)
    for _ in range(warm):
        our_loop()
    for _ in range(2 * POPULATION):  # founders are drawn, children mutated
        their_loop()
    mine: list[float] = []
    ratios: list[float] = []
    for _ in range(rounds):
        here = [our_loop() for _ in range(mine_each)]
        there = [their_loop() for _ in range(their_each)]
        mine += here
        ratios.append(statistics.median(there) / statistics.median(here))
    milliseconds = [1e3 * seconds for seconds in mine]
    median, mean, times = statistics.median(milliseconds), statistics.mean(milliseconds), statistics.median(ratios)
    peer = f"pg.sample, regularized_evolution, PyGlove {pg.__version__}"
    return [
        Figure("candidate, warm, median, ms", median, f"<= {GOAL:g}", median <= GOAL, "", spread(milliseconds)),
        Figure("candidate, warm, mean, ms", mean, f"<= {GOAL:g}", mean <= GOAL, "", spread(milliseconds)),
        Figure("PyGlove / ours", times, f">= {TIMES:g}", times >= TIMES, peer, spread(ratios)),
    ]


def ours(document: Document) -> Callable[[], float]:
    """Takes one candidate through our loop; its CPU seconds."""
    candidates = Candidates(document.model, document.name)
    options = {"name": "evolution", "population_size": POPULATION, "tournament_size": TOURNAMENT}
    sampler = make(options, SearchSpec(candidates.space, 0))
    rewards = random.Random(0)

    def one() -> float:
        start = time.process_time()
        choice = sampler.ask()
        assert choice is not None
        candidates.graph(choice), candidates.fingerprint(choice), candidates.cost(choice)
        sampler.tell(choice, (rewards.random(),))
        return time.process_time() - start

    return one


def theirs(document: Document) -> Callable[[], float]:
    """Takes one example through PyGlove's loop; its CPU seconds."""
    space: Any = to_hyper(document.model)
    algorithm = pg.evolution.regularized_evolution(population_size=POPULATION, tournament_size=TOURNAMENT, seed=0)
    loop, rewards = pg.sample(space, algorithm), random.Random(0)

    def one() -> float:
        start = time.process_time()
        _, feedback = next(loop)
        feedback(rewards.random())
        return time.process_time() - start

    return one
