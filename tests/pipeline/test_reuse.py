"""What is finished is read: again, with other workers, after a change of one phase."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import Done, changed, copy_store, prints, run_tiny


def test_a_second_run_makes_nothing_and_says_the_same(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    before = prints(home)
    again = run_tiny(home=home)
    assert again.made == {} and not [e for e in again.events if e.kind == "started"]
    assert again.numbers == done.numbers and prints(home) == before
    assert (again.folder / "model.safetensors").read_bytes() == (done.folder / "model.safetensors").read_bytes()
    assert (again.folder / "candidates.jsonl").read_text() == (done.folder / "candidates.jsonl").read_text()


def test_a_run_under_another_name_makes_nothing(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    again = run_tiny(home=home, text=changed(("name: tiny", "name: other")))
    assert again.made == {} and again.folder.parent.name == "other"
    assert {**again.numbers, "recipe": "tiny"} == done.numbers


def test_one_worker_gives_the_numbers_of_two(done: Done, places: Path) -> None:
    alone = run_tiny(home=places / "home", workers=1)
    assert alone.numbers == done.numbers
    assert sum(alone.made.values()) == sum(done.made.values())


@pytest.mark.parametrize(
    ("override", "made"),
    [
        ("phases.assemble.train.lr=5e-3", {"assemble": 2, "compare": 2, "test": 4}),
        ("phases.search.budget.params==0.99 * teacher", {"search": 2}),
        ("phases.compare.train.lr=5e-3", {"compare": 4, "test": 4}),
        ("doc=Another word.", {}),
    ],
)
def test_a_changed_phase_redoes_what_depends_on_it(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, made: dict[str, int]
) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    found = run_tiny(override, home=home)
    assert {k: found.made[k] for k in ("teacher", "incubate")} == {"teacher": 0, "incubate": 0}
    assert {k: n for k, n in found.made.items() if k in made} == made


def test_another_seed_adds_its_own_path_alone(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    found = run_tiny("seeds=[0, 1, 2]", home=home)
    assert (found.made["teacher"], found.made["incubate"], found.made["search"]) == (1, 6, 1)
    assert found.summary["result"]["test_per_seed"][:2] == done.summary["result"]["test_per_seed"]


def test_the_data_is_part_of_every_key(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = copy_store(done, tmp_path, monkeypatch)
    text = changed(("train: 96,", "train: 64,"), ("seeds: [0, 1]", "seeds: [0]"), ("  compare: {}\n", ""))
    found = run_tiny(home=home, text=text)
    assert (found.made["teacher"], found.made["incubate"]) == (1, 6)
