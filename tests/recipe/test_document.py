"""Loading: what extends, scales, overrides, spaces and runs make of files; and that no file breaks it."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from assembler.errors import AssemblerError, InputError, RecipeError
from assembler.pipeline.checking.check import check
from assembler.recipe.choices import first, space
from assembler.recipe.document import load, parse
from assembler.recipe.read import read_file, read_text
from assembler.recipe.values import Map, marked, plain
from assembler.recipe.write import to_yaml
from assembler.resources import shipped
from assembler.wiring.build import build

BASE = """
name: base
vars: {dim: 8, depth: 2}
scales:
  big: {dim: 32, stage.body.act: gelu}
  deep: {vars.depth: 4}
inputs: {x: [B, 4]}
graph:
  stem: {op: linear, out: =dim}
  stage: {repeat: =depth, body: {act: relu}}
outputs: {y: stage}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return file


def outs(file: Path | str, *overrides: str) -> list[Any]:
    return [(node.op, node.arg("out")) for _, node in build(load(file, overrides).model)]


def test_extends_merges_by_name_and_null_deletes(folder: Path) -> None:
    text = "vars: {dim: 16}\ngraph: {stage: null, head: {op: linear, out: 3}}\noutputs: {y: head}\n"
    own = write(folder, "own", f"extends: base.yaml\n{text}")
    assert outs(own) == [("linear", 16), ("linear", 3)]
    assert load(own).name == "base"


def test_scales_are_of_the_recipe_as_it_stands(folder: Path) -> None:
    """They need not fit a model that was changed otherwise."""
    text = "vars: {w: [4, 8], n: [1, 2]}\nscales: {deep: {n: [3, 3]}}\ninputs: {x: [B, 4]}\n"
    text += "graph: {fc: {for: {o: =w, k: =n}, body: {fc: {op: linear, out: =o, repeat: =k}}}}\noutputs: {logits: fc}\n"
    file = write(folder, "listed", text)
    assert not check(load(file, ["vars.w=[4]", "vars.n=[1]"], strict=False))
    assert not check(load(f"{file}@deep", ["vars.w=[4, 2]"], strict=False))
    broken = write(folder, "broken", text.replace("[3, 3]", "[3]"))
    assert "the lists of 'for' differ in length" in check(load(broken, strict=False))[0].message
    run = "kind: run\nmodel: listed.yaml\nset: {vars.w: [4], vars.n: [1]}\ndata: digits\nphases: {train: {}}\n"
    assert not check(load(write(folder, "about", run), strict=False))


def test_extends_a_scale_and_then_its_own(folder: Path) -> None:
    own = write(folder, "own", "extends: base.yaml@big\nscales: {tiny: {dim: 2}}\n")
    assert outs(own) == [("linear", 32), ("gelu", None), ("gelu", None)]
    assert outs(f"{own}@tiny") == [("linear", 2), ("gelu", None), ("gelu", None)]
    assert len(outs(f"{own}@deep")) == 5


def test_overrides_come_last_and_in_order(folder: Path) -> None:
    file = folder / "base.yaml"
    assert outs(file, "vars.dim=1", "vars.dim=3", "stage.act=gelu", "stage.1.act=tanh") == [
        ("linear", 3), ("gelu", None), ("tanh", None),
    ]  # fmt: skip
    assert outs(file, "stage.*.act=gelu", "stem.out=5")[0] == ("linear", 5)


def test_a_space_lays_its_choices_into_its_base(folder: Path) -> None:
    choose = "choose: {stage.*.act: {$oneof: [gelu, relu]}}"
    file = write(folder, "s", f"kind: space\nbase: base.yaml@deep\nset: {{stem.out: 7}}\n{choose}\n")
    document = load(file, ["vars.depth=3"])
    assert (document.kind, space(document.model).size) == ("space", 8)
    graph = build(first(document.model, space(document.model)))
    assert [(n.op, n.arg("out")) for _, n in graph] == [("linear", 7), ("gelu", None), ("gelu", None), ("gelu", None)]


def test_a_run_holds_a_model_and_a_space(folder: Path) -> None:
    write(folder, "s", "kind: space\nbase: base.yaml\nchoose: {stage.*.act: {$oneof: [gelu, relu]}}\n")
    for said in ("s.yaml", "\n  stage.*.act: {$oneof: [gelu, relu]}"):
        rest = "data: digits\nphases: {train: {}}\n"
        file = write(folder, "r", f"kind: run\nmodel: base.yaml@deep\nspace: {said}\n{rest}")
        document = load(file, ["data=synthetic", "vars.dim=5"])
        assert plain(document.tree.get("data")) == "synthetic"
        assert plain(document.tree.get("set")) == {"vars.dim": 5}
        assert space(document.model).size == 16
        assert plain(document.model.get("vars")) == {"dim": 5, "depth": 4}


def test_a_model_inside_a_run_makes_its_own_changes_first(folder: Path) -> None:
    model = "{extends: base.yaml, set: {vars.dim: 6, vars.depth: 1}}"
    file = write(
        folder, "r", f"kind: run\nmodel: {model}\nset: {{vars.depth: 3}}\ndata: digits\nphases: {{train: {{}}}}\n"
    )
    assert plain(load(file).model.get("vars")) == {"dim": 6, "depth": 3}
    wrong = write(folder, "w", "kind: run\nmodel: {extends: base.yaml, set: 3}\ndata: digits\nphases: {train: {}}\n")
    with pytest.raises(RecipeError, match=r"w\.yaml:2:34: error: 'set' must be a mapping of paths to values"):
        load(wrong)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_written_recipe_is_the_recipe(name: str) -> None:
    tree = read_file(shipped()[name])
    assert read_text(to_yaml(tree), "x") == tree
    document = load(name)
    again = parse(to_yaml(document.tree), name)
    assert (again.kind, again.model) == (document.kind, document.model)


def test_what_can_be_passed_over_is_kept(folder: Path) -> None:
    file = write(folder, "m", BASE + "verson: 1\ndta: digits\n")
    document = load(file, ["vars.dmi=3", "vars.dim=5"], strict=False)
    assert [p.message for p in document.problems] == [
        "unknown key 'verson' in a model recipe", "unknown key 'dta' in a model recipe", "'vars' has no 'dmi'",
    ]  # fmt: skip
    assert plain(document.model.get("vars")) == {"dim": 5, "depth": 2}
    with pytest.raises(RecipeError) as caught:
        load(file, ["vars.dmi=3", "vars.dim=5"])
    assert caught.value.problems == document.problems


def test_a_folder_with_a_model_is_among_the_nearest_names(folder: Path) -> None:
    (folder / "llama").mkdir()
    (folder / "llama" / "graph.txt").write_text("")
    with pytest.raises(AssemblerError, match="did you mean 'llama'"):
        load(write(folder, "m", "kind: run\nmodel: lama\nphases: {}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: /etc/passwd", "a recipe may not reach '/etc/passwd'"),
        ("extends: ~/x.yaml", "a recipe may not reach"),
        ("extends: a/../../x.yaml", "a recipe may not reach"),
        ("extends: file:///etc/passwd", "a recipe may not reach"),
        ("kind: space\nbase: ../x.yaml\nchoose: {}", "a recipe may not reach"),
        ("kind: run\nmodel: ../x.yaml", "a recipe may not reach"),
        ("extends: there_is_none.yaml", "cannot find recipe 'there_is_none.yaml': no such file"),
        ("kind: space\nbase: m.yaml\nchoose: {}", "'m' is a space, not a model"),
        ("kind: run\nmodel: m.yaml\nphases: {}", "'m' is a run, not a model"),
        ("kind: space\nbase: base.yaml\nchoose: [1]", "a space maps paths to choices"),
        ("kind: run\nmodel: base.yaml\nspace: base.yaml", "'base' is a model, not a space"),
        ("extends: base.yaml\nset: [1]", "'set' must be a mapping"),
    ],
)
def test_a_reference_that_leads_nowhere(text: str, message: str, folder: Path) -> None:
    with pytest.raises(AssemblerError) as caught:
        load(write(folder, "m", text))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert "m.yaml:" in str(caught.value)


def test_a_circle_of_files_and_a_long_chain_end(folder: Path) -> None:
    for i in range(3):
        write(folder, f"c{i}", f"extends: c{(i + 1) % 3}.yaml\n")
    with pytest.raises(RecipeError, match=r"'extends' goes in a circle: c0.yaml -> c1.yaml -> c2.yaml -> c0.yaml"):
        load(folder / "c0.yaml")
    for i in range(60):
        write(folder, f"l{i}", f"extends: l{i + 1}.yaml\n")
    with pytest.raises(RecipeError, match="more than 20 recipes extend each other"):
        load(folder / "l0.yaml")


def test_no_such_recipe() -> None:
    with pytest.raises(InputError, match="did you mean 'poolformer'"):
        load("polformer")
    with pytest.raises(RecipeError, match="there is no scale 's42'"):
        load("poolformer@s42")


WORDS = ["", "x", "op", "body", "from", "stage", "=t", "=1/0", "=dim", "$oneof", "0", "null", "graph", "conv2d", "a.b"]
ODD: list[Any] = [None, True, -1, 10**9, 0.5, [], {}, [1, "a"], {"op": "relu"}, {"$oneof": []}, {"$int": [3, 1]}]
ODD += WORDS


def mutated(value: Any, rng: random.Random) -> Any:
    """`value` with one random edit somewhere inside."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        roll = rng.random()
        if roll < 0.12:
            return {k: v for k, v in value.items() if k != key}
        if roll < 0.24:
            new = rng.choice([*WORDS, key[:-1] + "x"]) or "y"
            return {new if k == key else k: v for k, v in value.items()}
        if roll < 0.32:
            return {**value, rng.choice(WORDS) or "z": value[key]}
        return {**value, key: mutated(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], mutated(value[at], rng), *value[at + 1 :]]
    return rng.choice(ODD)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_broken_recipe_is_refused_in_words_and_soon(name: str, seed: int) -> None:
    original = plain(read_file(shipped()[name]))
    rng = random.Random(f"{name} {seed}")
    for _ in range(12):
        tree = original
        for _ in range(rng.randint(1, 4)):
            tree = mutated(tree, rng)
        found = marked(tree)
        if not isinstance(found, Map):
            continue
        start = time.process_time()
        try:
            text = to_yaml(found)
            problems = check(parse(text, "r.yaml", strict=False))
            assert all(p.message for p in problems), text
        except AssemblerError as error:
            assert error.problems, tree
        assert time.process_time() - start < 2, tree


def test_one_choice_of_a_space_is_changed_by_its_path(tmp_path: Path) -> None:
    text = "kind: space\nbase: {vars: {dim: 4}, inputs: {x: [B, 3]}, graph: {up: {op: linear, out: =dim}, act: relu}}\n"
    (tmp_path / "s.yaml").write_text(f"{text}choose: {{vars.dim: {{$oneof: [4, 8]}}, act: {{$oneof: [relu, gelu]}}}}\n")
    found = load(str(tmp_path / "s.yaml"), ["choose.vars.dim={$oneof: [2, 4, 8]}", "choose.act=null"])
    assert [d.name for d in found.space.decisions] == ["vars.dim"] and found.space.size == 3
    with pytest.raises(RecipeError, match="'vars' has no 'dym'"):
        load(str(tmp_path / "s.yaml"), ["choose.vars.dym={$oneof: [2, 4]}"])
