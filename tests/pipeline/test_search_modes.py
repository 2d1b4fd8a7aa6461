"""A run's search in all modes: over trained parts with any sampler and constraints, and by training candidates."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from inside import Inside
from tiny_runs import TINY, Done, changed, copy_store, run_tiny

import assembler as asm
from assembler.assemble import runner
from assembler.assemble.store import Store
from assembler.errors import AssemblerError, RecipeError
from assembler.graph.text import from_text
from assembler.infer.cost import total
from assembler.recipe.document import Document, load, parse
from assembler.recipe.values import plain

QUICK = (
    "seeds=[0]",
    "train.epochs=2",
    "phases.export.formats=[safetensors]",
    "phases.compare.baselines=[end_to_end_tune]",
)
SEARCH = "    sampler: exact\n    trials: 6\n    budget: {params: =0.97 * teacher}\n"
INCUBATE = "  incubate:\n" + TINY.read_text().partition("  incubate:\n")[2].partition("  search:")[0]
SPACE = "  stage.*.block.mixer: {$oneof: [dwconv, pool, zero]}\n"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "Pool", lambda root, workers, devices=(): Inside(Store(root)))


def run(places: Path, search: str, *pairs: tuple[str, str], overrides: tuple[str, ...] = QUICK) -> Done:
    return run_tiny(*overrides, home=places / "home", text=changed((SEARCH, f"    {search}\n"), *pairs))


@pytest.mark.parametrize(
    ("search", "made"),
    [
        ("{mode: trials, sampler: random, trials: 3, train: {epochs: 1}, budget: {params: =1.5 * teacher}}", 3),
        ("{mode: inherit, sampler: evolution, trials: 3, train: {epochs: 1}}", 3),
        ("{mode: supernet, trials: 4, supernet: {train: spos, epochs: 1}, train: {epochs: 1}}", 2),
        ("{mode: supernet, trials: 4, supernet: {train: spos, epochs: 1, then: keep}}", 1),
    ],
    ids=["trials", "inherit", "supernet", "supernet_kept"],
)
def test_the_same_run_trains_its_candidates_instead(search: str, made: int, places: Path) -> None:
    found = run(places, search, (INCUBATE, ""), ("  search:\n    ", "  search: "))
    assert found.made["search"] == made + 1
    summary = found.summary
    assert summary["search"]["space_size"] == 9 and summary["slots"] == [] and summary["failures"] == []
    assert summary["search"]["mode"] == search.split("mode: ")[1].split(",")[0]
    assert [b["name"] for b in summary["baselines"]] == ["end_to_end_tune"]
    assert set(summary["result"]["choice"]) == {"stage.0.block.mixer", "stage.1.block.mixer"}
    assert summary["cost"]["train_flops"]["search"] > 0 and 0 <= summary["result"]["before_tuning"] <= 1
    rows = found.rows("candidates.jsonl")
    assert len(rows) >= summary["search"]["evaluated"] and all(row["seed"] == 0 for row in rows)
    graph = from_text((found.folder / "graph.txt").read_text())
    assert total(graph).params == summary["result"]["params"]
    assert asm.graph(found.folder).fingerprint == graph.fingerprint
    again = run(places, search, (INCUBATE, ""), ("  search:\n    ", "  search: "))
    assert set(again.made) <= {"search"} and again.numbers["result"] == found.numbers["result"]


@pytest.mark.parametrize(
    "sampler",
    [
        "random",
        "tpe",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("bayes", "evolution", "local", "grid", "mcts")),
    ],
)
def test_any_sampler_searches_trained_parts(
    sampler: str, places: Path, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_store(done, places, monkeypatch)
    found = run_tiny(
        f"phases.search.sampler={sampler}", "phases.compare=null", "phases.search.mode=parts", home=places / "copy"
    )
    assert set(found.made) <= {"search", "assemble", "test", "compare"} and "incubate" not in found.made
    assert 1 <= found.summary["search"]["evaluated"] <= 6


def test_constraints_and_several_objectives_hold_for_assemblies(places: Path) -> None:
    found = run_tiny(home=places / "home", source=load(written(places, BOUNDED, (SEARCH, FRONT)), QUICK))
    rows = found.rows("candidates.jsonl")
    reasons = {row["reason"] for row in rows if not row["feasible"]}
    assert reasons == {"where: count(stage.*.block.mixer, 'zero') == 0", "where: depth <= 16 and params <= 490"}
    kept = [row for row in rows if row["feasible"]]
    assert kept and all("zero" not in row["choice"].values() and row["params"] <= 490 for row in kept)
    assert "zero" not in found.summary["result"]["choice"].values()
    assert found.summary["search"]["best"]["loss"] == min(row["loss"] for row in kept)


BOUNDED = """
kind: space
base: model.yaml
choose:
  stage.*.block.mixer: {$oneof: [dwconv, pool, zero]}
where:
  - count(stage.*.block.mixer, 'zero') == 0
  - depth <= 16 and params <= 490
"""
FRONT = """    sampler: {name: optuna, algorithm: nsgaii}
    trials: 9
    objectives: {loss: minimize, params: minimize}
"""
MODEL = "model:\n" + TINY.read_text().partition("model:\n")[2].partition("data:")[0]


def written(places: Path, space: str, *pairs: tuple[str, str]) -> Path:
    """The tiny run in a file, whose model and space are files beside it."""
    (places / "model.yaml").write_text("kind: model\n" + textwrap.dedent(MODEL.partition("\n")[2]))
    (places / "mixers.yaml").write_text(space)
    named = ((MODEL, "model: model.yaml\n"), (f"space:\n{SPACE}", "space: mixers.yaml\n"))
    (places / "tiny.yaml").write_text(changed(*named, *pairs))
    return places / "tiny.yaml"


MOVES = "moves: [{rewrite: widen, at: stage.*, factor: 2}]\n"
STEM = "moves: {most: 2, of: [{rewrite: widen, at: stem, factor: 2}]}\n"


@pytest.mark.parametrize("own", ["", "where: [flops <= 1e9]\n" + STEM], ids=["plain", "bounded_model"])
def test_a_space_is_the_same_wherever_it_is_named(own: str, places: Path) -> None:
    run_file = written(places, BOUNDED + MOVES)
    model = places / "model.yaml"
    model.write_text(model.read_text() + own)
    recipes = [places / "mixers.yaml", run_file]
    found = [asm.load(one).space for one in recipes] + [load(one).space for one in recipes]
    wanted = found[0]
    assert [d.name for d in wanted.decisions] == ["stage.0.block.mixer", "stage.1.block.mixer", "moves"]
    assert wanted.moves is not None and len(wanted.moves.labels) == (2 if own else 1)
    assert wanted.moves.k == (2 if own else 16) and len(wanted.where) == (3 if own else 2)
    for space in found[1:]:
        assert space.decisions == wanted.decisions
        assert [(r.text, r.costs) for r in space.where] == [(r.text, r.costs) for r in wanted.where]
    plans = [asm.plan(mixed(one)) for one in recipes]
    assert {p.space_size for p in plans} == {9} and {p.allowed for p in plans} == {4}
    assert {p.moves for p in plans} == {wanted.moves.labels} and len({p.where for p in plans}) == 1


def test_what_a_space_sets_holds_for_runs_that_name_it(places: Path) -> None:
    run_file = written(places, BOUNDED + "set: {stem.out: 4, head.out: 5}\n")
    assert widths(load(places / "mixers.yaml")) == widths(load(run_file)) == (4, 5)
    assert widths(load(run_file, ["head.out=3"])) == (4, 3), "what the run says goes over it"
    with pytest.raises(RecipeError) as caught:
        load(written(places, BOUNDED + "set: {steem.out: 4}\n"))
    assert "mixers.yaml:9:7: error: the recipe has no 'steem'" in str(caught.value)


def widths(document: Document) -> tuple[Any, ...]:
    steps = plain(document.model.get("graph"))
    return tuple(steps[name]["out"] for name in ("stem", "head"))


def mixed(file: Path) -> Any:
    """A run that searches its whole model; a space as it is."""
    return load(file, ["phases={search: {mode: trials, sampler: tpe}}"] if file.name == "tiny.yaml" else [])


MISTAKES = [
    ((), MOVES, "moves change graphs, and slots have no parts that are trained for that"),
    ((("split: [stage.*]\n", ""),), "", "a run that incubates parts needs 'split'"),
    (
        ((INCUBATE, ""),),
        "",
        "put a phase 'incubate' before it, or search in another mode: trials, inherit, supernet",
    ),
    (((SEARCH, "    mode: trials\n    sampler: exact\n"),), "", "the exact sampler needs additive scores of the parts"),
    (
        ((SEARCH, SEARCH + "    objectives: {loss: minimize, params: minimize}\n"),),
        "",
        "'exact' follows one objective, not 2",
    ),
    (
        ((SEARCH, SEARCH + "    prune: median\n"),),
        "",
        "with mode: parts no trial is trained, so that none can be pruned",
    ),
    (((SEARCH, SEARCH + "    objectives: {steps: minimize}\n"),), "", "there is no metric 'steps'"),
    (((SEARCH, SEARCH + "    mode: part\n"),), "", "'mode' of phase 'search' must be"),
    (
        ((SEARCH, SEARCH + "    mode: trials\n    supernet: {train: spos}\n"),),
        "",
        "'supernet' is for mode: supernet, not trials",
    ),
]


@pytest.mark.parametrize(("pairs", "more", "said"), MISTAKES)
def test_what_is_missing_is_said(pairs: tuple[tuple[str, str], ...], more: str, said: str, places: Path) -> None:
    with pytest.raises(AssemblerError) as caught:
        run_tiny(home=places / "home", source=load(written(places, BOUNDED + more, *pairs), QUICK))
    assert said in str(caught.value) and caught.value.exit_code == 2
    assert not (places / "home" / "parts").exists()


CHOSEN = """\
kind: space
base:
  vars: {dim: 8, rate: 0.001}
  inputs: {image: [B, 1, 8, 8]}
  graph: {flat: flatten, hidden: {op: linear, out: =dim}, act: relu, logits: {op: linear, out: 10}}
choose: {vars.rate: {$oneof: [1e-5, 1e-2]}}
search: {data: digits, sampler: grid, trials: 2, train: {steps: 4, lr: =rate * dim / 8}}
"""


def trained_with(places: Path, *changes: tuple[str, str]) -> list[float]:
    text = CHOSEN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    asm.search(parse(text, "chosen.yaml"))
    cards = [json.loads(card.read_text()) for card in (places / "home").rglob("card.json")]
    return sorted(card["inputs"]["train"]["lr"] for card in cards if "train" in card["inputs"])


def test_training_settings_are_chosen_with_the_architecture(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSEMBLER_HOME", str(places / "home"))
    assert trained_with(places) == [1e-5, 1e-2], "one graph, two candidates"
    inherited = trained_with(places, ("trials: 2", "trials: 2, mode: inherit"))
    assert inherited == [1e-5, 1e-2, 1e-2], "the first has no parent and is there already"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("=rate *", "=rat *", "did you mean 'rate'?"),
        ("1e-2]", "-1]", "'lr' must be"),
        ("=rate * dim / 8", "='a'", "'lr' of 'train"),
        ("trials: 2", "trials: 2, mode: supernet", "a choice is still open here"),
    ],
)
def test_wrong_chosen_settings_are_told(old: str, new: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        asm.search(parse(CHOSEN.replace(old, new), "chosen.yaml"))
    assert message in str(caught.value)
