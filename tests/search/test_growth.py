"""Rewrites of the graph as moves of a search."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import assembler as asm
from assembler.errors import InputError, RecipeError
from assembler.pipeline.search.candidates import Candidates, recipe_of
from assembler.recipe.document import parse
from assembler.recipe.write import to_yaml
from assembler.search import SearchSpec, make
from assembler.search.growth import moved

NET = """
kind: model
inputs: {image: [B, 3, 8, 8]}
graph:
  stem: {op: conv2d, out: 4, kernel_size: 3, padding: 1}
  act: relu
  body: {repeat: 2, body: {conv: {op: conv2d, out: 4, kernel_size: WIDTH, padding: same}, act: relu}}
  pool: global_avg_pool
  head: {op: linear, out: 3}
moves: {most: 3, of: [{rewrite: widen, at: body.*, factor: 2}, deepen]}
""".replace("body: {repeat", "stack: {repeat").replace("at: body.*", "at: stack.*")


LOOP = """
kind: model
inputs: {x: [B, 6]}
graph:
  first: {op: linear, out: 6}
  loop:
    op: loop
    times: 3
    from: {h: first}
    carry: [h]
    body: {fc: {op: linear, from: h, out: 6}, act: relu}
    outputs: {h: act}
  head: {op: linear, out: 3}
moves: [{rewrite: deepen, at: loop.*}]
"""


def net(kernel: str = "{$oneof: [1, 3]}") -> Candidates:
    return Candidates(parse(NET.replace("WIDTH", kernel)).model, "net")


def growth(candidates: Candidates) -> asm.search:  # type: ignore[valid-type]
    assert candidates.growth is not None
    return candidates.growth


def test_sampling_starts_without_moves() -> None:
    found = net().space
    assert found.sample(random.Random(0))["moves"] == found.uniform(random.Random(0))["moves"] == ()
    assert found.size is None and found.unmoved.size == 2
    assert found.named(found.first)["moves"] == "none"


def test_moves_are_found_on_the_graph_as_it_stands() -> None:
    candidates = net()
    assert growth(candidates).options(candidates.space.first) == [
        '{"at": "stack.0.conv", "factor": 2, "rewrite": "widen"}',
        '{"at": "stack.1.conv", "factor": 2, "rewrite": "widen"}',
        '{"at": "act", "rewrite": "deepen"}',
        '{"at": "stack.0.act", "rewrite": "deepen"}',
        '{"at": "stack.1.act", "rewrite": "deepen"}',
    ]
    deeper = {**candidates.space.first, "moves": ('{"at": "act", "rewrite": "deepen"}',)}
    assert len(growth(candidates).options(deeper)) > 5
    full = {**candidates.space.first, "moves": ('{"at": "act", "rewrite": "deepen"}',) * 3}
    assert growth(candidates).options(full) == []


def test_moves_go_into_the_bodies_of_steps() -> None:
    recipe = parse(LOOP)
    candidates = Candidates(recipe.model, "loop")
    inside = growth(candidates).options({"moves": ()})
    assert inside == ['{"at": "loop.act", "rewrite": "deepen"}']
    study = asm.search(recipe, lambda m: sum(p.numel() for p in m.parameters()), sampler="evolution", trials=4)
    assert study.best is not None and study.best.choice["moves"]
    assert asm.graph(parse(candidates.recipe(study.best.choice))).fingerprint == study.best.key
    with pytest.raises(RecipeError, match=r"deepen cannot be applied at 'loop\.gone'"):
        moved(candidates.graph({"moves": ()}), ['{"at": "loop.gone", "rewrite": "deepen"}'])


def test_a_choice_with_moves_replays_to_the_same_graph() -> None:
    candidates, rng = net(), random.Random(4)
    choice = candidates.space.first
    lengths = set()
    for _ in range(12):
        choice = growth(candidates).mutate(choice, rng)
        candidates.space.check(choice)
        lengths.add(len(choice["moves"]))  # type: ignore[arg-type]
        again = net().graph(dict(choice))
        assert again == candidates.graph(choice)
        assert again.fingerprint == candidates.fingerprint(choice)
    assert lengths >= {1, 2, 3}


def test_a_mutation_appends_drops_or_replaces_one_move() -> None:
    candidates, rng = net(), random.Random(0)
    one = growth(candidates).mutate(candidates.space.first, rng)
    assert len(one["moves"]) == 1  # type: ignore[arg-type]
    ways = set()
    for _ in range(20):
        other = growth(candidates).mutate(one, rng)
        ways.add((len(other["moves"]), other["moves"] == one["moves"]))  # type: ignore[arg-type]
    assert ways == {(0, False), (1, False), (2, False)}


def test_a_move_without_a_place_is_left_out_or_refused() -> None:
    candidates = net()
    stale = ('{"at": "stack.0.conv", "factor": 2, "rewrite": "widen"}', '{"at": "gone", "rewrite": "deepen"}')
    choice = {**candidates.space.first, "moves": stale}
    with pytest.raises(RecipeError, match="deepen cannot be applied at 'gone'"):
        candidates.graph(choice)
    assert growth(candidates).kept(choice)["moves"] == stale[:1]
    with pytest.raises(RecipeError, match="this is no move: 'widen it'"):
        moved(candidates.graph(candidates.space.first), ["widen it"])


def test_evolution_makes_moves_and_the_winner_is_an_ordinary_recipe() -> None:
    recipe = parse(NET.replace("WIDTH", "{$oneof: [1, 3]}"))
    study = asm.search(recipe, lambda m: sum(p.numel() for p in m.parameters()), sampler="evolution", trials=30)
    assert study.best is not None and study.best.choice["moves"]
    assert len({t.key for t in study.trials if t.state == "complete"}) == 30
    written = to_yaml(recipe_of(recipe.model, study.best.choice, "net"))
    assert asm.graph(parse(written)).fingerprint == study.best.key
    assert "moves" not in written


def test_a_space_of_moves_alone_is_searched() -> None:
    recipe = parse(NET.replace("WIDTH", "3"))
    study = asm.search(recipe, lambda m: sum(p.numel() for p in m.parameters()), sampler="evolution", trials=12)
    assert study.evaluated == 12 and study.stopped == "trials"


def test_moves_are_bounded_by_where() -> None:
    recipe = parse(NET.replace("WIDTH", "3") + "where: [params <= 900, depth < 30]\n")
    study = asm.search(recipe, lambda m: sum(p.numel() for p in m.parameters()), sampler="evolution", trials=12)
    assert {t.reason for t in study.trials if t.state == "infeasible"} == {"where: params <= 900"}
    assert study.best is not None and study.best.value is not None and study.best.value <= 900


@pytest.mark.parametrize("name", ["random", "grid", "tpe", "pyglove"])
def test_samplers_that_make_none_leave_moves_out(name: str) -> None:
    candidates = net()
    sampler = make(name, SearchSpec(candidates.space, graph=candidates.graph, growth=candidates.growth))
    choice = sampler.ask()
    assert choice is not None and "moves" not in choice
    candidates.space.check(choice)
    sampler.tell({**choice, "moves": ('{"at": "act", "rewrite": "deepen"}',)}, (1.0,))
    with pytest.raises(InputError, match=f"sampler '{name}' makes no moves, and this space has nothing else"):
        make(name, SearchSpec(net("3").space))


def test_a_study_with_moves_is_kept_and_gone_on_with(tmp_path: Path) -> None:
    recipe = parse(NET.replace("WIDTH", "3"))

    def search(trials: int) -> asm.Study:
        storage = f"journal:///{tmp_path}/study.log"
        return asm.search(recipe, lambda m: len(list(m.modules())), sampler="evolution", trials=trials, storage=storage)

    first = search(5)
    second = search(8)
    assert [t.choice for t in second.trials[: len(first.trials)]] == [t.choice for t in first.trials]
    assert second.evaluated == 8
