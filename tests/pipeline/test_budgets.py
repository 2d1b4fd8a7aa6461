"""Budgets of assemblies: what may be bounded, what binds, and that another budget trains nothing again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_runs import changed, run_tiny

from assembler.errors import AssemblerError

BUDGET = "budget: {params: =0.97 * teacher}"


def text(budget: str, sampler: str = "exact") -> str:
    return changed((BUDGET, budget), ("  compare: {}\n", ""), ("sampler: exact", f"sampler: {sampler}"))


@pytest.mark.parametrize(
    ("budget", "binds"),
    [
        ("budget: {params: =0.97 * teacher}", {"params"}),
        ("budget: {params: =2 * teacher, memory: =2 * teacher}", set()),
        ("budget: {memory: =1 * teacher, latency: =5 * teacher}", {"memory"}),
    ],
)
def test_what_binds_is_told(budget: str, binds: set[str], places: Path) -> None:
    found = run_tiny("seeds=[0]", home=places / "home", text=text(budget))
    search = found.summary["search"]
    assert found.summary["failures"] == [] and set(search["binding"]) <= binds
    for name, most in search["budget"].items():
        rows = [row for row in found.rows("candidates.jsonl") if row.get("score") is not None]
        assert rows and all(row[name] <= most for row in rows if name in row)
    said = (found.folder / "report.html").read_text()
    assert ("which binds" in said) is bool(search["binding"])
    units = {"params": "parameters", "memory": "bytes of values", "latency": "ms"}
    assert all(re.search(f"at most [0-9.]+( [kM])? {units[name]}", said) for name in search["budget"])


def test_another_budget_trains_no_part_again(places: Path) -> None:
    run_tiny("seeds=[0]", home=places / "home", text=text("budget: {params: =0.97 * teacher}"))
    again = run_tiny(
        "seeds=[0]", home=places / "home", text=text("budget: {latency: =3 * teacher, flops: =1 * teacher}")
    )
    assert not again.made["teacher"] and not again.made["incubate"]


def test_assemblies_of_a_diverse_pool_differ_in_as_many_slots(places: Path) -> None:
    found = run_tiny("seeds=[0]", home=places / "home", text=text("budget: {}", "{name: exact, apart: 2}"))
    rows = [row for row in found.rows("candidates.jsonl") if row.get("score") is not None]
    assert len(rows) == 3  # of two slots with three parts each


def test_a_budget_of_something_else_names_what_there_is(places: Path) -> None:
    with pytest.raises(AssemblerError) as caught:
        run_tiny(home=places / "home", text=text("budget: {lattency: 3}"))
    assert "there is no budget for 'lattency'" in str(caught.value) and "did you mean 'latency'?" in str(caught.value)


def test_a_latency_that_nothing_meets_is_told_before_anything_is_trained(places: Path) -> None:
    with pytest.raises(
        AssemblerError, match=r"no assembly fits latency <= 1e-09: the cheapest needs [\d.e-]+ \("
    ) as caught:
        run_tiny("seeds=[0]", home=places / "home", text=text("budget: {latency: 1e-9}"))
    assert caught.value.problems[0].span is not None
    assert not list((places / "home").rglob("*.safetensors"))


def test_a_budget_that_looks_like_a_share_is_taken_for_one(places: Path) -> None:
    with pytest.raises(AssemblerError) as caught:
        run_tiny(home=places / "home", text=text("budget: {params: 0.6}"))
    assert caught.value.problems[0].hint == "did you mean params: =0.6 * teacher?"
