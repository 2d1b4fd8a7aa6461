"""The report of a search by trials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from make_search import make_search, trials
from page import figures, parse

from assembler.report.data import read_run
from assembler.report.html import render, write_report

FIGURES = ["front", "history", "importance", "lineage"]


@pytest.fixture
def page(tmp_path: Path) -> str:
    return render(read_run(make_search(tmp_path)))


def test_a_search_has_its_own_figures(page: str) -> None:
    assert list(figures(page)) == FIGURES
    assert "35 trials of 9 candidates were evaluated; the search ended: trials." in parse(page).text
    assert "failed, 4 times: the value is <nan>" in parse(page).text and "<nan>" not in page
    assert "kind: model\nname: mixers" in parse(page).text and "is missing" not in parse(page).text


def test_every_finished_trial_is_a_dot_and_the_best_is_ringed(page: str) -> None:
    done = sum(bool(row["values"]) for row in trials())
    for name in ("front", "history"):
        wide = figures(page)[name].all("svg")[0]
        rings = [c for c in wide.all("circle") if c.attributes["r"] == "8"]
        assert len(wide.all("circle")) - len(rings) == done
        assert len(rings) == (name == "front")
    tips = [t.text for t in figures(page)["front"].all("title")]
    assert any(tip.startswith("trial 0; validation ") and "stage.block.mixer = " in tip for tip in tips)


@pytest.mark.parametrize(("size", "said"), [(None, "countless"), (3.0, "1,000"), (12.3, "10^12"), (4000, "10^4000")])
def test_sizes_that_nobody_can_write_down_are_told_too(tmp_path: Path, size: float | None, said: str) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"study": {"best": None, "log10_size": size}}), encoding="utf-8")
    assert f"0 trials of {said} candidates were evaluated" in parse(render(read_run(tmp_path))).text


def test_the_line_of_history_never_falls(page: str) -> None:
    [line] = figures(page)["history"].all("svg")[0].all("polyline")
    heights = [float(p.split(",")[1]) for p in line.attributes["points"].split()]
    assert heights == sorted(heights, reverse=True) and len(set(heights)) > 1


def test_of_a_loss_the_lowest_so_far_is_drawn(tmp_path: Path) -> None:
    page = render(read_run(make_search(tmp_path, {"loss": "minimize"})))
    [line] = figures(page)["history"].all("svg")[0].all("polyline")
    heights = [float(p.split(",")[1]) for p in line.attributes["points"].split()]
    assert heights == sorted(heights)


def test_importance_and_lineage_are_tables(page: str) -> None:
    rows = [[cell.text for cell in row.all("td")] for row in figures(page)["importance"].all("tr")[1:]]
    assert rows == [["vars.dim", "", "62 %"], ["stage.block.mixer", "", "25 %"]]
    assert figures(page)["importance"].all("i")[0].attributes["style"] == "width:62.5%"
    chain = [[cell.text for cell in row.all("td")] for row in figures(page)["lineage"].all("tr")[1:]]
    assert chain[0] == ["all first candidates", "seed", "", ""]
    assert chain[1] == ["vars.dim: 8 -> 16mid = <b>", "0", "50 %", "10.2 k"]
    assert chain[2][0] == "vars.dim: 16 -> 32" and chain[2][2] == "failed"


def test_two_objectives_are_drawn_over_each_other(tmp_path: Path) -> None:
    page = render(read_run(make_search(tmp_path, {"validation": "maximize", "loss": "minimize"})))
    assert "trials by validation and loss; the line joins" in parse(page).text


def test_a_search_of_which_little_is_left_is_shown_too(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"study": {"best": None}}), encoding="utf-8")
    found = figures(write_report(tmp_path).read_text(encoding="utf-8"))
    assert {name: figure.all("figcaption")[0].attributes["class"] for name, figure in found.items()} == {
        name: "missing" for name in FIGURES
    }
