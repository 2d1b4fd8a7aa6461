"""A symbolic recipe: its paths are the recipe's paths, and PyGlove's functions work on it."""

from __future__ import annotations

from typing import Any

import pyglove as pg
import pytest
from symbolic_models import TEXT, small

import assembler as asm
from assembler import resources
from assembler.errors import RecipeError
from assembler.recipe import document as documents
from assembler.recipe.document import parse
from assembler.symbolic.recipe import symbolic, tree


def token(recipe: Any, copy: str) -> str:
    return asm.graph(recipe).nodes[f"stage.{copy}.mix.token"].op


def test_a_path_of_the_tree_is_changed_in_every_copy() -> None:
    found = small().rebind({"stage.block.mixer": "pool"})
    assert {token(found, f"{i}.block.{j}") for i in (0, 1) for j in (0, 1)} == {"pool"}


def test_one_copy_is_changed_alone() -> None:
    found = small().rebind({"stage.1.block.mixer": "pool"})
    assert [token(found, c) for c in ("0.block.0", "1.block.0", "1.block.1")] == ["dwconv", "pool", "pool"]


def test_a_star_is_one_decision_a_copy() -> None:
    found = small().rebind({"stage.*.block.mixer": pg.oneof(["pool", "attention"])})
    assert [d.name for d in found.space.decisions] == ["stage.0.block.mixer", "stage.1.block.mixer"]
    assert pg.dna_spec(found).space_size == found.space.size == 4


def test_a_step_inside_a_block_is_reached_through_its_call() -> None:
    found = small().rebind({"stage.block.mix.token.op": "identity"})
    assert token(found, "0.block.1") == "identity"


def test_an_item_of_a_list_has_its_number_as_name() -> None:
    for path in ("vars.widths.1", "vars.widths[1]"):
        found = asm.graph(small().rebind({path: 16, "arms.left.out": 16}))
        assert found.nodes["stage.1.embed"].arg("out") == 16


def test_keywords_and_assignment_rebind_too() -> None:
    found = small()
    found.rebind(pool={"op": "flatten"})
    assert asm.graph(found).nodes["pool"].op == "flatten"
    found.pool = "global_avg_pool"
    assert asm.graph(found).nodes["pool"].op == "global_avg_pool"


def test_a_function_rebinds_every_value_that_it_changes() -> None:
    found = small().rebind(lambda path, value, parent: "pool" if value == "dwconv" else value)
    assert token(found, "0.block.0") == "pool"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("stge.block.mixer", "the recipe has no 'stge'\n    hint: did you mean 'stage'?"),
        ("stage.blok.mixer", "'stage' has no 'blok'\n    hint: did you mean 'block'?"),
        ("stage.1.blok.mixer", "'stage.1' has no 'blok'\n    hint: did you mean 'block'?"),
        ("arms.lft.out", "'arms' has no 'lft'\n    hint: did you mean 'left'?"),
        ("blocks.unit.mxi.token.op", "'blocks.unit' has no 'mxi'\n    hint: did you mean 'mix'?"),
        ("vars.dept", "'vars' has no 'dept'\n    hint: did you mean 'depth'?"),
        ("vars.widths.7", "'7' is not one of 0 to 1"),
        ("head.out.x", "'head.out.x' leads into 4, which has no parts"),
        ("head.*.out", "'head.*.out' matches no copy of anything"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_with_the_nearest(path: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        small().rebind({path: "pool"})
    assert message in str(caught.value)


def test_query_diff_and_patch_speak_recipe_paths() -> None:
    assert list(pg.query(small(), where=lambda value: value == "conv_mlp")) == ["blocks.unit.mlp.ffn.op"]
    assert pg.query(small(), r"head\.out") == {"head.out": 4}
    changed = small().rebind({"stage.embed.kernel_size": 5, "stage.embed.padding": 2})
    assert set(pg.diff(small(), changed, flatten=True)) == {"stage.embed.kernel_size", "stage.embed.padding"}
    patched = pg.patch(small(), {"head.out": 9})
    assert asm.graph(patched).nodes["head"].arg("out") == 9


def test_the_ids_of_a_dna_specification_are_recipe_paths() -> None:
    found = small().rebind({"stage.block.mixer": pg.oneof(["pool", "attention"]), "head.out": pg.oneof([3, 4])})
    assert {str(p.id) for p in pg.dna_spec(found).decision_points} == {"stage.block.mixer", "head.out"}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", ["random", "evolution"])
def test_sampled_candidates_build_and_are_the_choice_that_was_made(kind: str, seed: int) -> None:
    found = small().rebind({"stage.*.block.mixer": pg.oneof(["pool", "dwconv", "identity"])})
    random = pg.geno.Random(seed=seed)
    algorithm = random if kind == "random" else pg.evolution.regularized_evolution(population_size=3, tournament_size=2)
    seen = set()
    for candidate, feedback in pg.sample(found, algorithm, num_examples=6):
        graph = asm.graph(candidate)
        seen.add((graph.nodes["stage.0.block.0.mix.token"].op, graph.nodes["stage.1.block.0.mix.token"].op))
        assert next(iter(asm.build(candidate).state_dict())) == "stage.0.embed.weight"
        feedback(1.0)
    assert len(seen) > 1 and {op for pair in seen for op in pair} <= {"pool", "dwconv", "identity"}


@pytest.mark.parametrize("name", sorted(resources.shipped()))
def test_every_shipped_recipe_comes_back_as_it_was(name: str) -> None:
    document = documents.load(name)
    recipe = symbolic(document)
    assert recipe.space == documents_space(document)
    if not recipe.space.decisions:
        assert asm.graph(recipe).fingerprint == asm.graph(document).fingerprint
        assert asm.graph(recipe.clone(deep=True)) == asm.graph(document)


def documents_space(document: documents.Document) -> Any:
    from assembler.recipe.choices import space

    return space(document.model)


def test_the_tree_is_the_recipe_that_was_read() -> None:
    assert asm.graph(small()) == asm.graph(parse(TEXT))
    assert tree(symbolic(parse(TEXT))) == tree(small())


@pytest.mark.parametrize("name", ["query", "rebind", "clone", "format", "keys", "space", "sym_path", "parent", "get"])
def test_a_step_may_be_called_like_an_attribute_of_pyglove(name: str) -> None:
    text = f"""
kind: model
inputs: {{x: [B, 4]}}
graph:
  {name}: {{op: linear, out: 3}}
  box: {{body: {{{name}: {{op: linear, out: 3}}}}}}
"""
    recipe = symbolic(parse(text))
    recipe.rebind({f"{name}.out": 7, f"box.{name}.out": 9})
    graph = asm.graph(pg.clone(recipe, deep=True))
    assert (graph.nodes[name].arg("out"), graph.nodes[f"box.{name}"].arg("out")) == (7, 9)


def test_a_step_called_like_a_section_is_refused() -> None:
    with pytest.raises(RecipeError, match="the step 'name' bears the name of a part of every recipe"):
        symbolic(parse("kind: model\ninputs: {x: [B, 4]}\ngraph: {name: {op: linear, out: 3}}\n"))


def test_a_value_that_no_recipe_holds_is_named() -> None:
    found = small().rebind({"stage.block.mixer": object()})
    with pytest.raises(RecipeError, match=r"a recipe cannot hold a object(.|\n)*hint: use pg\.oneof"):
        asm.graph(found)


def test_an_open_choice_cannot_be_built() -> None:
    with pytest.raises(RecipeError, match="a choice is still open here"):
        asm.graph(small().rebind({"stage.block.mixer": pg.oneof(["pool", "attention"])}))


def test_a_clone_is_searched_and_finds_files_as_the_recipe_itself() -> None:
    recipe = asm.load("stage_mixers")
    for one in (recipe.clone(), recipe.clone(deep=True), pg.clone(recipe)):
        assert (one.searching, one.home) == (recipe.searching, recipe.home) and one.searching is not None
