"""Studies in Optuna storages: what is written is read back, a re-run goes on, bad URLs are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from search_spaces import FLAT, MANY, NESTED, OBJECTIVES, SPACES, flat

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Decision, Space
from assembler.search import SearchSpec, Trial, make, open_study, run

URLS = ["journal:///{}/deep/study.log", "sqlite:///{}/deep/study.db"]


def cost(choice: Choice) -> dict[str, float]:
    return {"params": float(len(choice))}


@pytest.mark.parametrize("url", URLS, ids=["journal", "sqlite"])
@pytest.mark.parametrize("name", list(SPACES))
def test_trials_come_back_as_they_were(url: str, name: str, tmp_path: Path) -> None:
    space, place = SPACES[name], url.format(tmp_path)
    log = open_study(place, "s")
    study = run(
        space,
        OBJECTIVES[name],
        make("evolution", SearchSpec(space)),
        8,
        cost=cost,
        on_trial=lambda trial: log.add(space, trial),
    )
    assert open_study(place, "s").history(space) == list(study.trials)
    assert open_study(place, "another").history(space) == []


def test_every_state_comes_back_and_is_seen_by_optuna(tmp_path: Path) -> None:
    choice: Choice = {"mix": 1, "mix[attention].heads": 2, "mix[attention].heads[4].bias": 0, "mlp": 1}
    done = Trial(0, choice, (0.5,), "complete", {"params": 3.0}, 1.5, "", "k", NESTED.named(choice))
    trials = [
        done,
        replace(done, number=1, state="duplicate", reason="same as trial 0"),
        replace(done, number=2, values=None, state="infeasible", reason="params 3 > 2"),
        replace(done, number=3, values=None, state="failed", reason="ValueError: no"),
        replace(done, number=4, values=None, state="duplicate", reason="same as trial 3: ValueError: no"),
    ]
    log = open_study(f"sqlite:///{tmp_path}/s.db", "s", ("minimize",))
    for trial in trials:
        log.add(NESTED, trial)
    assert log.history(NESTED) == trials
    plain = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s.db")
    assert [t.state.name for t in plain.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL", "FAIL"]
    assert plain.best_trial.params == choice


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    url, calls = f"journal:///{tmp_path}/s.log", 0

    def evaluate(choice: Choice) -> float:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return flat(choice)

    def search() -> int:
        log = open_study(url, "s")
        history = log.history(FLAT)
        study = run(
            FLAT, evaluate, make("tpe", SearchSpec(FLAT)), 12, history=history, on_trial=lambda t: log.add(FLAT, t)
        )
        return study.evaluated

    with pytest.raises(KeyboardInterrupt):
        search()
    assert search() == 12
    assert calls == 13
    assert search() == 12
    assert calls == 13


def test_half_a_line_that_a_killed_writer_left_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    log = open_study(f"journal:///{path}", "s")
    run(FLAT, flat, make("random", SearchSpec(FLAT)), 4, on_trial=lambda t: log.add(FLAT, t))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    again = open_study(f"journal:///{path}", "s")
    kept = again.history(FLAT)
    assert len(kept) == 3
    again.add(FLAT, replace(kept[0], number=3))
    assert len(open_study(f"journal:///{path}", "s").history(FLAT)) == 4


def test_candidates_may_move_and_what_is_gone_is_left_out(tmp_path: Path) -> None:
    log = open_study(f"journal:///{tmp_path}/s.log", "s")
    before = Space((Decision("mix", "oneof", ("pool", "conv", "attention")),))
    after = Space((Decision("mix", "oneof", ("attention", "pool", "mlp")),))
    run(
        before,
        lambda c: float(str(c["mix"])),
        make("grid", SearchSpec(before)),
        3,
        on_trial=lambda t: log.add(before, t),
    )
    assert [(t.choice, t.value) for t in log.history(after)] == [({"mix": 1}, 0.0), ({"mix": 0}, 2.0)]
    assert log.history(MANY) == []


def test_another_space_under_the_same_name_is_refused(tmp_path: Path) -> None:
    log = open_study(f"sqlite:///{tmp_path}/s.db", "s")
    for labels in (("a", "b"), ("a", "b", "c")):
        space, trial = Space((Decision("mix", "oneof", labels),)), Trial(0, {"mix": 1}, (0.0,), "complete")
        if len(labels) == 2:
            log.add(space, trial)
            continue
        with pytest.raises(InputError, match=r"study 's' in sqlite:.* was made for another space: (.|\n)*another name"):
            log.add(space, trial)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("study.log", "'study.log' is no storage URL\n    hint: use journal:///study.log, sqlite:///study.db"),
        ("redis://host/0", "'redis://host/0' is no storage URL"),
        ("journal://study.log", "'journal://study.log' is no storage URL"),
        ("postgresql://nobody@127.0.0.1:1/none", "postgresql://nobody@127.0.0.1:1/none"),
        ("journal:////proc/none/s.log", "cannot make the folder /proc/none: "),
        ("sqlite:////proc/none/s.db", "cannot make the folder /proc/none: "),
    ],
)
def test_a_bad_url_is_told(url: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        open_study(url, "s")
    assert message in str(error.value)


def test_sqlite_is_for_one_worker(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        open_study("sqlite:///runs/study.db", "s", workers=4)
    assert str(error.value) == (
        "error: SQLite is for one worker, not for 4: sqlite:///runs/study.db\n    hint: use journal:///runs/study.log"
    )
    open_study(f"journal:///{tmp_path}/s.log", "s", workers=4)


def test_the_other_direction_is_refused(tmp_path: Path) -> None:
    url = f"journal:///{tmp_path}/s.log"
    open_study(url, "s", ("maximize",))
    with pytest.raises(InputError, match=r"study 's' in journal:.* is there to maximize, not to minimize"):
        open_study(url, "s", ("minimize",))
