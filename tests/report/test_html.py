from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import make_run
import pytest
from page import Tag, figures, parse

from assembler.errors import InputError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.text import to_text
from assembler.report.html import write_report

FIGURES = ["graph", "parts", "candidates", "curves", "comparison", "compute"]
HOSTILE = "<script>alert(1)</script>\"'&\u202e\ud800\x00</figure>"


def report(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def change(folder: Path, **fields: Any) -> None:
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_every_figure_has_drawings_and_a_caption(run_dir: Path) -> None:
    found = figures(report(run_dir))
    assert list(found) == FIGURES
    for name, figure in found.items():
        assert figure.all("figcaption")[0].text, name
        if name != "parts":
            assert figure.all("svg"), name
        for drawing in figure.all("svg"):
            assert drawing.attributes["role"] == "img" and drawing.attributes["aria-label"]


def test_the_page_needs_nothing_from_outside_and_runs_nothing(run_dir: Path) -> None:
    page = report(run_dir)
    tags = list(parse(page).walk())
    assert not {t.name for t in tags} & {"script", "iframe", "img", "object", "embed"}
    links = [v for t in tags for k, v in t.attributes.items() if k in ("href", "src") or k.startswith("on")]
    assert links == ["data:,"]
    assert "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_the_header_says_the_figures(run_dir: Path) -> None:
    header = parse(report(run_dir)).all("header")[0].text
    for words in ("quickstart", "94.2 ± 0.5 %", "22.5 k", "35 % of the teacher", "−2.2 points", "2 min 21 s"):  # noqa: RUF001
        assert words in header


def test_a_winning_baseline_is_said_in_words(run_dir: Path) -> None:
    words = figures(report(run_dir))["comparison"].text
    assert "A baseline wins: “end to end, same compute” does better than the assembled model." in words
    baselines = json.loads((run_dir / "summary.json").read_text())["baselines"]
    change(run_dir, baselines=[b | {"wins": False} for b in baselines])
    page = report(run_dir)
    assert "No baseline wins." in figures(page)["comparison"].text
    assert "None of 3 baselines wins" in parse(page).text


def test_the_comparison_shows_every_seed_and_leaves_its_own_cost_out(run_dir: Path) -> None:
    comparison = figures(report(run_dir))["comparison"]
    dots = comparison.all("svg")[0].all("circle")
    assert len(dots) == 3 * 4
    assert "end to end, same compute, run 1: 95.00 %" in dots[3].text
    ours = comparison.all("table")[0].all("tr")[1]
    assert ours.all("td")[-1].text == "87.1 G"  # all phases but compare


def test_parts_show_scores_failures_and_the_winner(run_dir: Path) -> None:
    parts = figures(report(run_dir))["parts"]
    assert [t.text.split()[0] for t in parts.all("h3")] == ["stage.0", "stage.1", "stage.2"]
    assert all(len(t.all("tr")) == 1 + 6 for t in parts.all("table"))
    assert "mixer, seed 1: loss is not finite at step 140, first in stage.2.mix.token" in parts.text
    chosen = [t.text for t in parts.all("td") if "chosen" in t.attributes.get("class", "")]
    assert chosen == ["● conv3", "● dwconv", "● attention"]


def test_slots_are_highlighted_with_the_chosen_variant(run_dir: Path) -> None:
    drawing = figures(report(run_dir))["graph"].all("svg")[0]
    tips = [t.text for t in drawing.all("title")]
    assert "slot stage.1 = dwconv: 4 steps" in tips
    assert "stage.0.block.0: add" in tips and "stage.0.block.1: add" not in tips  # equal repeats are drawn once


def test_the_budget_winner_and_rank_correlation_are_named(run_dir: Path) -> None:
    candidates = figures(report(run_dir))["candidates"]
    texts = {t.text for t in candidates.all("text")}
    assert {"budget 24 k", "winner"} <= texts
    assert "Spearman 0." in candidates.text and "over seeds" in candidates.text
    assert "over the budget of 24,000" in candidates.text


@pytest.mark.parametrize(
    ("file", "figure", "words"),
    [
        ("graph.txt", "graph", "The winner's graph is not in the run folder (graph.txt)."),
        ("parts.jsonl", "parts", "No parts were trained in this run (parts.jsonl is missing or empty)."),
        ("candidates.jsonl", "candidates", "No candidate was scored in this run"),
        ("metrics.jsonl", "curves", "No training curve was logged in this run"),
        ("summary.json", "comparison", "No comparison was made in this run"),
        ("summary.json", "compute", "Where the compute went was not recorded"),
    ],
)
def test_what_is_missing_is_said_in_its_place(run_dir: Path, file: str, figure: str, words: str) -> None:
    (run_dir / file).unlink()
    page = report(run_dir)
    assert list(figures(page)) == FIGURES
    assert words in figures(page)[figure].text
    assert f"{file} is missing" in parse(page).all("footer")[0].text


def test_an_empty_folder_still_gives_a_report(tmp_path: Path) -> None:
    page = report(tmp_path)
    assert list(figures(page)) == FIGURES
    assert "This run has no verdict yet." in page and "No phase was recorded" in page


def test_a_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no run folder '.*nothing'"):
        write_report(tmp_path / "nothing")


def test_torn_and_strange_lines_cost_only_themselves(run_dir: Path) -> None:
    with (run_dir / "candidates.jsonl").open("a") as file:
        file.write('[1]\n{"score": NaN, "params": 1e400}\n{"score": "x", "choice": 3}\n{"score": 0.9, "par')
    (run_dir / "graph.txt").write_text("graph nonsense")
    page = report(run_dir)
    footer = parse(page).all("footer")[0].text
    assert "candidates.jsonl has 2 unreadable lines, left out" in footer
    assert "graph.txt cannot be read" in footer
    assert "nan" not in page.lower().replace("unnamed", "") and "inf," not in page


def test_a_summary_of_wrong_types_does_not_break_the_page(run_dir: Path) -> None:
    keys = json.loads((run_dir / "summary.json").read_text())
    for wrong in (None, [], "text", 7, {"a": []}, [{"name": {}}]):
        (run_dir / "summary.json").write_text(json.dumps(dict.fromkeys(keys, wrong)))
        assert list(figures(report(run_dir))) == FIGURES


def test_hostile_names_stay_text(run_dir: Path) -> None:
    part = {"slot": HOSTILE, "variant": HOSTILE, "seed": 0, "score": 0.5, "status": "failed", "reason": HOSTILE}
    candidate = {"choice": {HOSTILE: HOSTILE}, "params": 5, "score": 0.5, "reason": HOSTILE, "estimate": 1.0}
    point = {"task": HOSTILE, "phase": HOSTILE, "label": HOSTILE, "epoch": 1, "validation": 0.5}
    make_run.lines(run_dir / "parts.jsonl", [part])
    make_run.lines(run_dir / "candidates.jsonl", [candidate])
    make_run.lines(run_dir / "metrics.jsonl", [point])
    (run_dir / "recipe.lock.yaml").write_text("</pre><script>alert(1)</script>")
    change(
        run_dir, recipe=HOSTILE, doc=HOSTILE, verdict=HOSTILE, device=HOSTILE, versions={HOSTILE: HOSTILE},
        time={HOSTILE: 3.0}, failures=[{"task": HOSTILE, "reason": HOSTILE}], slots=[{"name": HOSTILE}],
        baselines=[{"name": HOSTILE, "doc": HOSTILE, "test_mean": 0.5, "wins": True}],
        search={"evaluated": 1, "sampler": HOSTILE, "budget": {HOSTILE: 3, "params": 9}},
        result={"metric": HOSTILE, "test": 0.5, "params": 5, "choice": {HOSTILE: HOSTILE}},
    )  # fmt: skip
    page = report(run_dir)
    assert list(figures(page)) == FIGURES
    assert not parse(page).all("script")
    assert "\u202e" not in page and "\x00" not in page


def test_a_failed_write_leaves_the_old_report_and_no_litter(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = report(run_dir)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_report(run_dir)
    assert (run_dir / "report.html").read_text(encoding="utf-8") == before
    assert not list(run_dir.glob(".report*"))


def fronts(figure: Tag) -> list[str]:
    """What hovering says over the dots of the Pareto front."""
    return [c.text for c in figure.all("circle") if c.attributes.get("fill") == "var(--c2)"]


def test_a_big_run_is_drawn_fast_and_stays_small(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    rng = random.Random(1)
    make_run.lines(run_dir / "candidates.jsonl", make_run.candidates(rng, 5000))
    monkeypatch.setattr("assembler.report.plots.MOST_DOTS", 10**6)
    before = fronts(figures(report(run_dir))["candidates"])
    monkeypatch.undo()
    rows = [{"slot": f"stage.{i % 4}", "variant": f"v{i}", "seed": s, "score": rng.random(), "params": i}
            for i in range(200) for s in range(10)]  # fmt: skip
    make_run.lines(run_dir / "parts.jsonl", rows)
    points = [{"task": f"{i}", "phase": "incubate", "seed": s, "label": f"v{i}", "epoch": e, "validation": rng.random()}
              for i in range(200) for s in range(3) for e in range(40)]  # fmt: skip
    make_run.lines(run_dir / "metrics.jsonl", points)
    nodes = {f"step{i}": Node("relu", (), (("0", f"step{i - 1}" if i else "x"),)) for i in range(2000)}
    graph = Graph((("x", TensorType((1, 8))),), nodes, (("y", "step1999"),))
    (run_dir / "graph.txt").write_text(to_text(graph))
    start = time.process_time()
    page = report(run_dir)
    assert time.process_time() - start < 8
    assert len(page) < 3_000_000
    found = figures(page)
    assert "1,200 of them are drawn" in found["candidates"].text
    assert fronts(found["candidates"]) == before
    assert "60 others in grey" in found["curves"].text
    assert "26 variants more, in parts.jsonl" in found["parts"].text
    assert "more steps" in found["graph"].text
