"""The benches on NAS-Bench-201, on a small table of its form: they say what searches of it say."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from assembler.errors import InputError
from assembler.recipe.choices import Decision, Space
from assembler.search import SearchSpec
from benchmarks import evolution, nas201, nas201_optimum, nas201_table
from benchmarks.nas201_table import Bench, enough, mean
from benchmarks.reinforce import Reinforce


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell; what it is worth grows with the numbers of its operations, so that the last cell is best."""
    ops = np.array(list(itertools.product(range(5), repeat=6)), dtype=np.uint8)
    worth = ops.sum(1) + 1e-6 * np.arange(len(ops))
    names = [f"{d}_{s}_e{e}" for d in nas201_table.SETS for s in ("val", "test") for e in (12, 200)]
    (tmp_path / "nas_bench_201").mkdir()
    np.savez(
        tmp_path / "nas_bench_201" / "nasbench201.npz",
        ops=ops, params=worth, mflops=worth, **{name: worth - 2 * ("test" in name) for name in names},
    )  # fmt: skip
    monkeypatch.setenv("ASSEMBLER_DATA", str(tmp_path))


def test_test_accuracies_after_some_queries_with_their_spread_and_curve(
    table: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas201, "OURS", "evolution")
    monkeypatch.setattr(nas201, "QUERIES", 20)
    monkeypatch.setattr(nas201, "SETS", {"c100": "CIFAR-100"})
    monkeypatch.setattr(nas201, "PEERS", {"Optuna TPE": {"name": "optuna"}, "random": "random"})
    ours, tpe, gap, by_chance = nas201.figures(quick=True)
    bench = Bench()
    ends = [bench.play("random", "c100_val_e12", 20, seed, report="c100_test_e200").reported[-1] for seed in range(10)]
    assert (by_chance.name, by_chance.value) == ("CIFAR-100: test %, random", pytest.approx(np.mean(ends)))
    assert by_chance.spread == pytest.approx(np.std(ends, ddof=1))
    assert (ours.goal, ours.holds, ours.runs, len(ours.curve)) == ("> 72.23", False, 10, 4)
    assert list(ours.curve) == sorted(ours.curve) and ours.curve[-1] == pytest.approx(ours.value, abs=1e-3)
    assert gap.value == pytest.approx(ours.value - tpe.value)


def test_queries_to_the_best_cell_end_where_it_is_found(table: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas201_optimum, "OURS", "evolution")
    monkeypatch.setattr(nas201_optimum, "SETS", {"in16": "ImageNet16-120"})
    monkeypatch.setattr(nas201_optimum, "PEERS", {"our local search": ("local", 15_625)})
    ours, local = nas201_optimum.figures(quick=True)
    assert ours.goal == "<= 110" and 10 < ours.value < 300
    assert 10 < local.value < 300 and local.peer == "evolution"


def test_evolution_is_held_against_pyglove_in_turns(table: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evolution, "TRIALS", 60)
    faster, ours, peer, gap = evolution.figures(quick=True)
    assert faster.value > 10
    assert (ours.runs, peer.runs) == (2, 2)
    assert gap.value == pytest.approx(ours.value - peer.value)


def test_a_peer_is_run_until_its_error_is_a_third_of_the_gap() -> None:
    rng = np.random.default_rng(0)
    ours = mean([10.0] * 5)
    assert enough(lambda seed: float(rng.normal(0, 1)), ours, 200).runs == 20
    assert enough(lambda seed: float(rng.normal(9.9, 1)), ours, 100).runs == 100


def test_reinforce_learns() -> None:
    space = Space(tuple(Decision(f"s{i}", "oneof", tuple("abcd")) for i in range(4)))
    sampler, values = Reinforce(SearchSpec(space, seed=1), rate=0.1), []
    for _ in range(200):
        choice = sampler.ask()
        values.append(float(sum(pick == 2 for pick in choice.values())))
        sampler.tell(choice, (values[-1],))
    assert sum(values[150:]) / 50 > 3.5 > 2 > sum(values[:20]) / 20


def test_a_bench_without_its_table_says_where_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSEMBLER_DATA", raising=False)
    with pytest.raises(InputError, match=r"needs the file nasbench201.npz\n.*set ASSEMBLER_DATA"):
        nas201.figures(quick=True)
