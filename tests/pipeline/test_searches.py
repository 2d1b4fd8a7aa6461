"""The four kinds of search over trained parts, and the budgets that they keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import Done, changed, copy_store, run_tiny

from assembler.errors import AssemblerError, InputError, RecipeError
from assembler.report.data import read_run
from assembler.report.terminal import summary_table

QUICK = ("seeds=[0]", "phases.compare=null", "phases.export.formats=[safetensors]")


@pytest.mark.parametrize("sampler", ["exact", "tpe", "pyglove", "random"])
def test_every_kind_of_search_finds_a_winner_within_the_budget(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    found = run_tiny(f"phases.search.sampler={sampler}", "phases.search.trials=4", *QUICK, home=home)
    limit = found.summary["search"]["budget"]["params"]
    assert found.summary["result"]["params"] <= limit and found.summary["search"]["evaluated"] <= 4
    rows = [r for r in found.rows("candidates.jsonl") if r["score"] is not None]
    assert len({str(r["choice"]) for r in rows}) == found.summary["search"]["evaluated"]
    assert all(r["feasible"] for r in rows)
    assert found.made["incubate"] == 0, "a search trains nothing"


def test_a_budget_that_nothing_meets_names_it_and_the_cheapest(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    for sampler in ("exact", "random"):
        with pytest.raises(InputError) as caught:
            run_tiny("phases.search.budget={params: 100}", f"phases.search.sampler={sampler}", *QUICK, home=home)
        assert caught.value.exit_code == 2
        assert "no assembly fits params <= 100: the cheapest needs 429 (stage.0=pool, stage.1=pool)" in str(
            caught.value
        )


def test_a_budget_that_nothing_meets_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no assembly fits params <= 100"):
        run_tiny("phases.search.budget={params: 100}", *QUICK, home=tmp_path / "home")
    assert not list(tmp_path.rglob("card.json"))


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("{parms: 100}", "there is no budget for 'parms'"),
        ("{params: =0.5 * techer}", "did you mean 'teacher'?"),
        ("{params: -3}", "the budget of 'params' must be a number above 0, not -3"),
        ("{params: =teacher - teacher}", "the budget of 'params' must be a number above 0, not"),
    ],
)
def test_a_wrong_budget_is_refused(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str, message: str
) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    with pytest.raises(AssemblerError) as caught:
        run_tiny(f"phases.search.budget={budget}", *QUICK, home=home)
    assert caught.value.exit_code == 2 and message in str(caught.value)


def test_budgets_may_be_several_and_expressions(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    budget = "phases.search.budget={params: =0.97 * teacher, flops: =teacher}"
    found = run_tiny(budget, *QUICK, home=home)
    teacher = found.summary["models"]["teacher"]
    assert found.summary["search"]["budget"] == {"params": 0.97 * teacher["params"], "flops": teacher["flops"]}


def test_a_search_needs_a_trial(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    with pytest.raises(RecipeError, match="a search needs a trial, not 0"):
        run_tiny("phases.search.trials=0", *QUICK, home=home)


@pytest.mark.parametrize(
    ("sampler", "message"), [("exat", "did you mean 'exact'"), ("{name: exact, pol: 3}", "did you mean 'pool'?")]
)
def test_an_unknown_sampler_or_option_is_refused_before_anything_is_made(
    sampler: str, message: str, places: Path
) -> None:
    with pytest.raises(AssemblerError) as caught:
        run_tiny(f"phases.search.sampler={sampler}", *QUICK, home=places / "home")
    assert caught.value.exit_code == 2 and message in str(caught.value)
    assert not list((places / "home").glob("parts/*"))


def where(*lines: str) -> str:
    """The run with constraints of the space in place of a budget."""
    return changed(
        ("  outputs: {logits: head}\n", f"  outputs: {{logits: head}}\n  where: {list(lines)}\n"),
        ("    budget: {params: =0.97 * teacher}\n", ""),
    )


def test_exact_has_linear_constraints_in_its_program_and_looks_for_what_meets_the_others(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    pool = "phases.search.sampler={name: exact, pool: 2}"
    linear = run_tiny(pool, *QUICK, home=home, text=where("params <= 470")).rows("candidates.jsonl")
    assert len(linear) == 2 and all(r["feasible"] and r["params"] <= 470 for r in linear)
    other = where("stage.0.block.mixer == 'zero' and stage.1.block.mixer == 'zero'")
    rows = run_tiny(pool, *QUICK, home=home, text=other).rows("candidates.jsonl")
    fitting = [r for r in rows if r["feasible"]]
    assert len(rows) == 9 and [set(r["choice"].values()) for r in fitting] == [{"zero"}]


def test_a_run_that_does_not_assemble_says_what_its_model_is(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    text = changed()
    text = text[: text.index("  assemble:")] + "  export: {formats: [safetensors]}\n"
    found = run_tiny("seeds=[0]", home=home, text=text)
    assert found.summary["verdict"].startswith("teacher: test accuracy ")
    assert "parameters" not in found.summary["verdict"]
    assert found.summary["verdict"].endswith(" not assembled: the run has no assemble phase.")
    assert read_run(found.folder).made[0] == "teacher"
    assert [str(cell) for cell in summary_table(found.summary).columns[0].cells] == ["teacher"]
    assert "of the teacher" not in (found.folder / "report.html").read_text()


def test_a_constraint_that_no_assembly_meets_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run_tiny(*QUICK, home=tmp_path / "home", text=where("params <= 100"))
    said = str(caught.value)
    assert ":25:10: error: no assembly fits params <= 100: the cheapest needs 429 (" in said, said
    assert not list(tmp_path.rglob("card.json"))
