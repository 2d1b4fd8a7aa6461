"""The tiny run from end to end: its summary, its accounting, its tables and the files that it leaves."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from tiny_runs import Done

import assembler as asm
from assembler.assemble.store import Store
from assembler.graph.text import from_text
from assembler.infer.cost import total, train_flops
from assembler.train.data.core import load, load_test

DATA = {"name": "blobs", "train": 96, "validation": 48, "test": 48, "size": 6}


def test_the_summary_holds_what_the_command_promises(done: Done) -> None:
    found = json.loads((done.folder / "summary.json").read_text())
    assert found == json.loads(json.dumps(done.summary))
    assert found["recipe"] == "tiny" and found["seeds"] == [0, 1]
    assert {"teacher", "incubate", "search", "assemble"} == set(found["cost"]["train_flops"])
    assert all(isinstance(n, int) and n > 0 for n in found["cost"]["train_flops"].values())
    assert found["result"]["metric"] == "accuracy" and 0 <= found["result"]["test"] <= 1
    assert {"test", "params", "flops"} <= set(found["result"]) and found["result"]["params"] > 0
    assert [b["name"] for b in found["baselines"]] == ["end_to_end_total", "end_to_end_tune", "random_assembly"]
    for one in found["baselines"]:
        assert {"name", "test_mean", "test_std", "train_flops"} <= set(one) and len(one["test_per_seed"]) == 2
    assert found["search"]["space_size"] == 9 and found["search"]["evaluated"] == 6
    assert found["search"]["best"]["validation"] <= 1
    assert found["failures"] == [] and "assembled: test accuracy" in found["verdict"]


def test_phases_stand_in_the_order_of_the_recipe(done: Done) -> None:
    assert list(done.summary["cost"]["train_flops"]) == ["teacher", "incubate", "search", "assemble"]


def test_the_verdict_says_who_wins(done: Done) -> None:
    ours = done.summary["result"]["test"]
    for one in done.summary["baselines"]:
        assert one["wins"] == (one["test_mean"] > ours)
        word = "wins against us" if one["wins"] else "ties with us" if one["test_mean"] == ours else "loses"
        assert f"{one['name']} {word}" in done.summary["verdict"]


def test_the_path_is_every_task_of_a_seed_once(done: Done) -> None:
    spent: dict[str, int] = {}
    shared: dict[str, int] = {}  # what several parts read of the same frozen models counts once
    for product in Store(done.home).products():
        phase = product.card["phase"]
        if phase not in ("compare", "test"):
            shared |= product.result.get("shared_flops", {})
            flops = product.result.get("train_flops", 0) + product.result.get("flops", 0)
            spent[phase] = spent.get(phase, 0) + flops
    # two seeds, two slots: what enters and what leaves them in training, what enters them where parts are judged
    assert len(shared) == 2 * 2 * 3 and all(flops > 0 for flops in shared.values())
    spent["incubate"] += sum(shared.values())
    assert {phase: n // 2 for phase, n in spent.items()} == done.summary["cost"]["train_flops"]
    assert done.summary["cost"]["path_flops"] == sum(n // 2 for n in spent.values())


def test_training_a_teacher_costs_what_its_graph_costs(done: Done) -> None:
    products = [p for p in Store(done.home).products() if p.card["label"].startswith("teacher")]
    graph = from_text(products[0].card["inputs"]["graph"])
    assert {p.result["train_flops"] for p in products} == {train_flops(graph) * 96 * 8}


def test_a_part_is_charged_for_its_training_and_its_judgement(done: Done) -> None:
    parts = [p for p in Store(done.home).products() if p.card["phase"] == "incubate"]
    assert len(parts) == 12
    teacher = next(p for p in Store(done.home).products() if p.card["label"].startswith("teacher"))
    host = total(from_text(teacher.card["inputs"]["graph"])).flops
    assert all(0 < p.result["flops"] <= host * 48 for p in parts)
    assert all(p.result["train_flops"] < teacher.result["train_flops"] for p in parts)


def test_baselines_get_the_flops_that_they_are_named_after(done: Done) -> None:
    path, phases = done.summary["cost"]["path_flops"], done.summary["cost"]["train_flops"]
    spent = {b["name"]: b["train_flops"] for b in done.summary["baselines"]}
    assert spent["end_to_end_total"] == pytest.approx(path, rel=0.02)
    step = 96 / 3 * max(train_flops(g) for g in _assembled(done))
    assert abs(spent["end_to_end_tune"] - phases["assemble"]) <= max(step / 2, 0.02 * phases["assemble"])
    assert spent["random_assembly"] == pytest.approx(path, rel=0.1)


def _assembled(done: Done) -> list[asm.Graph]:
    wanted = (p for p in Store(done.home).products() if p.card["label"].startswith("assembled"))
    return [from_text(p.card["inputs"]["graph"]) for p in wanted]


def test_the_tables_hold_every_part_and_every_candidate(done: Done) -> None:
    parts = done.rows("parts.jsonl")
    assert len(parts) == 2 * 2 * 3 and {p["status"] for p in parts} == {"done"}
    assert {(p["slot"], p["variant"]) for p in parts} == set(
        itertools.product(("stage.0", "stage.1"), ("dwconv", "pool", "zero"))
    )
    rows = done.rows("candidates.jsonl")
    limit = done.summary["search"]["budget"]["params"]
    for row in rows:
        assert row["feasible"] == (row["params"] <= limit) and set(row["choice"]) == {"stage.0", "stage.1"}
        losses = {(p["slot"], p["variant"]): p["loss"] for p in parts if p["seed"] == row["seed"]}
        assert row["estimate"] == pytest.approx(sum(losses[c] for c in row["choice"].items()))
    metrics = done.rows("metrics.jsonl")
    assert {m["phase"] for m in metrics} >= {"teacher", "incubate", "assemble", "compare"}


def test_the_winner_is_the_best_feasible_candidate_by_validation_loss(done: Done) -> None:
    for seed, choice in zip((0, 1), done.summary["result"]["choices"], strict=True):
        rows = [r for r in done.rows("candidates.jsonl") if r["seed"] == seed and r["feasible"]]
        assert min(rows, key=lambda r: r["loss"])["choice"] == choice


def test_the_cost_of_a_candidate_is_that_of_its_graph(done: Done) -> None:
    by_choice = {json.dumps(r["choice"]): (r["params"], r["flops"]) for r in done.rows("candidates.jsonl")}
    costs = {(total(g).params, total(g).flops) for g in _assembled(done)}
    assert costs <= set(by_choice.values())


def test_the_exact_search_begins_with_the_least_sum_within_the_budget(done: Done) -> None:
    parts, limit = done.rows("parts.jsonl"), done.summary["search"]["budget"]["params"]
    for seed in (0, 1):
        rows = [r for r in done.rows("candidates.jsonl") if r["seed"] == seed]
        mine = {s: [p for p in parts if p["seed"] == seed and p["slot"] == s] for s in ("stage.0", "stage.1")}
        fixed = rows[0]["params"] - sum(
            p["params"] for s, v in rows[0]["choice"].items() for p in mine[s] if p["variant"] == v
        )
        fits = [pair for pair in itertools.product(*mine.values()) if fixed + sum(p["params"] for p in pair) <= limit]
        best = min(fits, key=lambda pair: sum(p["loss"] for p in pair))
        assert rows[0]["choice"] == {p["slot"]: p["variant"] for p in best}
        assert len([r for r in rows if r["feasible"]]) == min(6, len(fits))


ALONE = """
import importlib.util, sys, torch
assert importlib.util.find_spec("assembler") is None
spec = importlib.util.spec_from_file_location("model", sys.argv[1] + "/model.py")
module = importlib.util.module_from_spec(spec)
sys.modules["model"] = module
spec.loader.exec_module(module)
torch.save(module.load()(torch.load(sys.argv[2], weights_only=True)), sys.argv[3])
"""


def test_the_source_alone_gives_the_bits_of_the_model(done: Done, tmp_path: Path) -> None:
    x = torch.randn(5, 1, 6, 6)
    torch.save(x, tmp_path / "x.pt")
    # Without `site` an editable install is not seen; torch is found where it lies.
    found = f"import sys; sys.path.append({sysconfig.get_paths()['purelib']!r})\n"
    command = [
        sys.executable,
        "-IBS",
        "-c",
        found + ALONE,
        str(done.folder),
        str(tmp_path / "x.pt"),
        str(tmp_path / "y.pt"),
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    graph = from_text((done.folder / "graph.txt").read_text())
    ours = asm.build(graph, weights=done.folder / "model.safetensors").eval()
    assert torch.equal(torch.load(tmp_path / "y.pt", weights_only=True), ours(x))


def test_the_exported_program_agrees_for_any_batch(done: Done) -> None:
    graph = from_text((done.folder / "graph.txt").read_text())
    ours = asm.build(graph, weights=done.folder / "model.safetensors").eval()
    program = torch.export.load(done.folder / "model.pt2").module()
    for batch in (1, 3):
        x = torch.randn(batch, 1, 6, 6)
        torch.testing.assert_close(program(x), ours(x))


def test_the_model_scores_what_the_summary_says(done: Done) -> None:
    graph = from_text((done.folder / "graph.txt").read_text())
    ours = asm.build(graph, weights=done.folder / "model.safetensors").eval()
    split = load_test(DATA)
    score = (ours(split.fields["image"]).argmax(1) == split.fields["label"]).double().mean()
    assert float(score) == pytest.approx(done.summary["result"]["test_per_seed"][0])
    assert len(load(DATA).validation) == 48


def test_the_folder_holds_all_files_and_latest_points_at_it(done: Done) -> None:
    names = {f.name for f in done.folder.iterdir()}
    assert names == {
        *("recipe.lock.yaml", "summary.json", "metrics.jsonl", "parts.jsonl", "candidates.jsonl", "graph.txt"),
        *("model.safetensors", "config.json", "model.py", "model.pt2", "report.html", "study.log"),
    }
    assert (done.folder.parent / "latest").resolve() == done.folder.resolve()


def test_the_report_holds_a_figure_for_everything(done: Done) -> None:
    page = (done.folder / "report.html").read_text()
    assert page.count("<svg") >= 5 and "http://" not in page.replace("http://www.w3.org", "")
    for word in ("stage.0", "dwconv", "end_to_end_total", "tiny"):
        assert word in page


def test_the_locked_recipe_names_versions_and_data(done: Done) -> None:
    text = (done.folder / "recipe.lock.yaml").read_text()
    assert "torch:" in text and "data:" in text and "conv_mlp" in text
