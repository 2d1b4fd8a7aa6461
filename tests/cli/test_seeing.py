"""Trials of a study as people ask for them: where one came from, what it has otherwise, the best within a budget."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_case import last
from typer.testing import Result

import assembler as asm
from assembler.assemble.store import Store
from assembler.recipe.document import parse
from assembler.search.lineage import Edit, edits

Call = Callable[..., Result]
NET = """
kind: model
name: net
inputs: {image: [B, 1, 8, 8]}
vars: {dim: {$oneof: [4, 8, 16]}}
graph:
  stem: {op: conv2d, out: =dim, kernel_size: 3, padding: 1}
  mid: {$oneof: [dwconv, pool, {op: conv_mlp, ratio: {$oneof: [1, 2]}}]}
  act: relu
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
MOVES = "moves: {most: 2, of: [widen, deepen]}\n"


def score(model: Any) -> float:
    """The nearer to 300 parameters the better."""
    return -abs(300 - sum(p.numel() for p in model.parameters()))


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The journal of two small studies by evolution, one of them with moves."""
    url = f"journal:///{tmp_path_factory.mktemp('studies')}/study.log"
    sampler = {"name": "evolution", "population_size": 3}
    for name, text in (("still", NET), ("moving", NET + MOVES)):
        how: dict[str, Any] = {
            "sampler": sampler,
            "trials": 9 if name == "still" else 6,
            "storage": url,
            "study": name,
            "budget": {"params": 1e6},
        }
        asm.search(parse(text), score, **how)
    return url


def chain(call: Call, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = last(call("why", *words, "--json").stdout)["chain"]
    return found


def test_why_tells_each_edit_from_the_seed_on(studies: str, call: Call) -> None:
    said = call("why", studies, "best", "--study", "still")
    assert said.exit_code == 0, said.output
    assert [line.rstrip() for line in said.stdout.splitlines() if line.strip() and "─" not in line] == [
        "trial 8 of still is complete",
        "  trial   edit                          value   params    flops",
        "  seed    all first candidates                      95   9.24 k",
        "  2       vars.dim: 4 -> 16          -89.0000      211   18.5 k",
        "          mid: dwconv -> pool",
        "  4       mid: pool -> dwconv        -71.0000      371     37 k",
        "  5       vars.dim: 16 -> 8         -113.0000      187   18.5 k",
        "  8       mid: dwconv -> conv_mlp    -49.0000      251   25.6 k",
        "          mid[conv_mlp].ratio = 1",
    ]


def test_each_link_is_one_mutation_of_its_parent(studies: str, call: Call) -> None:
    lengths = []
    for number in range(9):
        found = chain(call, studies, str(number), "--study", "still")
        assert found[-1]["trial"] == number
        lengths.append(len(found))
        changed = [[e["decision"] for e in one["edits"] if "[" not in e["decision"]] for one in found[1:]]
        assert all(len(names) == 1 for names in changed), found
    assert lengths[:3] == [1, 1, 1] and max(lengths) > 2


def test_why_tells_what_a_model_of_the_trials_before_proposed(call: Call, place: Path) -> None:
    url = f"journal:///{place}/models.log"
    asm.search(parse(NET), score, sampler={"name": "bayes", "startup": 3}, trials=6, storage=url, study="models")
    said = call("why", url, "3").stdout.splitlines()[-1]
    assert said == (
        "trial 3: bayes proposed it from the values of 3 trials; from the best of them, trial 2, it differs by "
        "mid: pool -> dwconv"
    )
    assert "bayes" not in call("why", url, "2").stdout
    assert chain(call, url, "3")[-1]["notes"] == [said.removeprefix("trial 3: ")]


def test_moves_are_edits(studies: str, call: Call) -> None:
    found = [one for n in range(6) for one in chain(call, studies, str(n), "--study", "moving")]
    moved = [e["after"] for one in found for e in one["edits"] if e["decision"] == "moves" and e["after"]]
    assert "widen stem" in moved


def test_edits_say_what_came_and_what_went() -> None:
    widen, deepen = '{"at": "stem", "factor": 3, "rewrite": "widen"}', '{"at": "act", "rewrite": "deepen"}'
    before = {"mid": "conv_mlp", "mid[conv_mlp].ratio": "2", "dim": "4", "moves": f"{widen} then {widen}"}
    after = {"mid": "pool", "dim": "4", "moves": f"{widen} then {deepen}", "new": "1"}
    assert list(map(str, edits(before, after))) == [
        "mid: conv_mlp -> pool",
        "no mid[conv_mlp].ratio",
        "without widen stem factor=3",
        "deepen act",
        "new = 1",
    ]
    assert list(edits({"moves": "none"}, {"moves": ""})) == []
    assert Edit("a", "1", "2") in edits({"a": "1"}, {"a": "2"})


def test_why_of_a_part_is_what_it_was_made_of(call: Call, place: Path) -> None:
    store = Store(place / "home")
    for key, label, needs in (
        ("aa1", "teacher", {}),
        ("bb2", "meta", {}),
        ("cc3", "mid=pool", {"host": "aa1", "x": "gone"}),
    ):
        card = {"run": "a:b", "phase": "incubate", "label": label, "needs": needs, "result": {"validation": 0.5}}
        terms = [{"loss": "kl", "value": "logits", "target": "teacher.logits", "weight": 0.5}]
        card["inputs"] = {"data": {"name": "digits"}, "seed": 3, "objective": terms}
        card["about"] = {"recipe": "small"}
        with store.scratch(key) as folder:
            store.commit(folder, key, card)
    said = call("why", "cc")
    assert [" ".join(line.split()) for line in said.stdout.splitlines()][2:] == [
        "cc3 mid=pool small digits 3 0.5 kl(logits, teacher.logits) validation 0.5000",
        "aa1 host teacher small digits 3 0.5 kl(logits, teacher.logits) validation 0.5000",
        "gone x no longer in the store",
    ], said.stdout
    found = last(call("why", "cc3", "--json").stdout)
    assert found["part"] == "cc3" and [(one["key"], one["depth"]) for one in found["chain"]][1:] == [
        ("aa1", 1),
        ("gone", 1),
    ]
    wrong = call("why", "zz")
    assert wrong.exit_code == 2 and "the parts store has no product 'zz'" in wrong.stderr


def test_diff_of_two_trials_has_edits_costs_and_scores(studies: str, call: Call) -> None:
    found = last(call("diff", f"{studies}#0", f"{studies}#best", "--study", "still", "--json").stdout)
    assert found["a"] == "trial 0" and found["numbers"]["value"]["b"] > found["numbers"]["value"]["a"]
    assert set(found["numbers"]) == {"value", "params", "flops"}
    assert found["changed"] == [["mid", "op pool -> conv_mlp"], ["mid", "arg ratio (none) -> 1.0"]]


def test_diff_of_two_recipes(call: Call, place: Path) -> None:
    (place / "wide.yaml").write_text((place / "tiny.yaml").read_text().replace("dim: 4", "dim: 8"))
    said = call("diff", "tiny.yaml", "wide.yaml")
    assert said.stdout.splitlines()[0] == "~ stem: arg out 4 -> 8"
    assert "params" in said.stdout and "+" in said.stdout
    assert call("diff", "tiny.yaml", "tiny.yaml").stdout.startswith("no difference\n")
    wrong = call("diff", "tiny.yaml", "wid.yaml")
    assert wrong.exit_code == 2 and "did you mean 'wide.yaml' or" in wrong.stderr


def test_pick_writes_the_best_recipe_within_the_budget(studies: str, call: Call, place: Path) -> None:
    found = last(call("pick", studies, "--study", "still", "--params", "250", "--json").stdout)
    assert found["file"] == f"still_{found['trial']}.yaml" and found["costs"]["params"] <= 250
    assert score(asm.build(str(place / found["file"]))) == found["values"]["value"]
    trials = [one for n in range(9) for one in chain(call, studies, str(n), "--study", "still")[-1:]]
    fitting = [t["values"]["value"] for t in trials if t["state"] == "complete" and t["costs"]["params"] <= 250]
    assert found["values"]["value"] == max(fitting)


def test_pick_takes_any_cost_and_a_file(studies: str, call: Call, place: Path) -> None:
    said = call("pick", studies, "--study", "moving", "--budget", "flops=1e9", "--out", "found/small.yaml")
    assert said.exit_code == 0 and "wrote found/small.yaml" in said.stdout
    assert call("lint", "found/small.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["why", "URL", "99"], "study 'still' has no trial '99'\n    hint: trials 0 to 8, or best"),
        (["why", "nowhere", "1"], "there is no search 'nowhere'"),
        (["diff", "URL#99", "tiny.yaml"], "study 'still' has no trial '99'"),
        (["pick", "URL", "--params", "1"], "none of 9 trials fits the budget; the nearest, trial "),
        (["pick", "URL", "--budget", "parms=1"], "no trial has a 'parms'\n    hint: did you mean 'params'?"),
    ],
)
def test_mistakes_are_told(studies: str, call: Call, words: list[str], told: str) -> None:
    result = call(*(word.replace("URL", studies) for word in words), "--study", "still")
    assert result.exit_code == 2 and told in result.stderr, result.stderr


def test_a_study_must_be_named_where_there_are_two(studies: str, call: Call) -> None:
    assert "has 2 studies\n    hint: name one with --study; studies: moving, still" in call("why", studies, "0").stderr


def test_what_was_never_built_has_no_recipe(place: Path, call: Call) -> None:
    url = f"journal:///{place}/little.log"
    asm.search(parse(NET), score, sampler="grid", trials=1, storage=url, study="little", budget={"params": 90})
    states = json.loads(call("status", url, "--json").stdout.splitlines()[-1])["states"]
    assert states.get("infeasible"), states
    told = [call("diff", f"{url}#{n}", "tiny.yaml").stderr for n in range(sum(states.values()))]
    assert any("which is infeasible: params " in text and "no recipe was kept" in text for text in told), told


def test_a_search_can_be_looked_at_by_its_name(call: Call, place: Path) -> None:
    said = call("search", "choices.yaml", "--trials", "2", "--sampler", "evolution")
    assert said.exit_code == 0, said.output
    assert "best so far: trial 0, validation " in said.stderr
    folder = place / "runs" / "choices" / "latest"
    assert {"report.html", "summary.json", "best.yaml"} <= {f.name for f in folder.iterdir()}
    assert "2 of 2 evaluated" in call("status", "choices").stdout
    assert "trial 1 of choices is complete" in call("why", "choices", "1").stdout
    assert "decision" in call("report", "choices").stdout
    assert call("steer", "choices", "--enqueue", "tiny.yaml").stdout == "trial 2 is to be mid=dwconv\n"
    wrong = call("status", "choice")
    assert wrong.exit_code == 2
    assert "there is no search 'choice'\n    hint: did you mean 'choices'?" in wrong.stderr


def test_an_objective_that_is_a_cost_is_shown_once_by_its_name(call: Call, place: Path) -> None:
    url = f"journal:///{place}/both.log"
    goals = {"score": "maximize", "params": "minimize"}
    asm.search(parse(NET), score, objectives=goals, sampler="grid", trials=2, storage=url, study="both")
    status = call("status", url).stdout
    assert "maximize score   minimize params" in status and "95.0000" not in status
    why = call("why", url, "1").stdout.splitlines()
    assert [line.split()[2:] for line in why if "trial" in line and "edit" in line] == [["score", "params", "flops"]]
    assert call("pick", url, "--out", "one.yaml").stdout.count("params") == 1
    row = next(line for line in call("diff", f"{url}#0", f"{url}#0").stdout.splitlines() if "params" in line)
    assert row.split() == ["params", "95", "95", "+0"]


def test_latency_has_its_unit_wherever_it_is_shown(call: Call, place: Path) -> None:
    how = ("-o", "search.budget={latency: 1000}", "--storage", "journal:///study.log")
    said = call("search", "choices.yaml", *how)
    assert re.search(r"trial +choice +params +FLOPs +latency +validation", said.stdout), said.output
    assert re.search(r"mid=pool .* ms ", said.stdout)
    assert re.match(r"trial \d: .*latency [\d.]+ ms\n", call("pick", "journal:///study.log").stdout)
    assert re.search(r"\d ms +\n", call("why", "journal:///study.log", "2").stdout)
