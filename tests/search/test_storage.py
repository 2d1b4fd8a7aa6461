"""Studies in Optuna storages: what is written is read back, a re-run goes on, bad URLs are told."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Decision, Space, space
from assembler.recipe.document import parse
from assembler.search import SearchSpec, Study, Trial, load_study, make, open_study, run
from assembler.search.steering import BANS, STOP, TRIALS, stop_sign
from assembler.testing.spaces import FLAT, MANY, NESTED, OBJECTIVES, SPACES, flat

URLS = ["journal:///{}/deep/study.log", "sqlite:///{}/deep/study.db"]


def cost(choice: Choice) -> dict[str, float]:
    return {"params": float(len(choice))}


def searched(url: str, space: Space, objective: Any, trials: int, sampler: str = "evolution", **more: Any) -> Study:
    """A search whose trials are kept."""
    with open_study(url, "s").join(space) as log:
        return run(space, objective, make(sampler, SearchSpec(space)), trials, log=log, **more)


@pytest.mark.parametrize("url", URLS, ids=["journal", "sqlite"])
@pytest.mark.parametrize("name", list(SPACES))
def test_trials_come_back_as_they_were(url: str, name: str, tmp_path: Path) -> None:
    space, place = SPACES[name], url.format(tmp_path)
    study = searched(place, space, OBJECTIVES[name], 8, cost=cost)
    assert open_study(place, "s").history(space) == list(study.trials)
    assert open_study(place, "another").history(space) == []


def test_every_state_comes_back_and_is_seen_by_optuna(tmp_path: Path) -> None:
    choice: Choice = {"mix": 1, "mix[attention].heads": 2, "mix[attention].heads[4].bias": 0, "mlp": 1}
    open_ = Trial(-1, choice, None, "running", {"params": 3.0}, 1.5, "", "k", NESTED.named(choice))
    ends: list[Trial] = [
        replace(open_, state="complete", values=(0.5,)),
        replace(open_, state="duplicate", values=(0.5,), reason="same as trial 0"),
        replace(open_, state="infeasible", reason="params 3 > 2"),
        replace(open_, state="failed", reason="ValueError: no", repeat=1),
        replace(open_, state="duplicate", reason="same as trial 3: ValueError: no"),
        replace(open_, state="pruned", reason="worse than the median"),
    ]
    log = open_study(f"sqlite:///{tmp_path}/s.db", "s", ("minimize",))
    kept = []
    with log.join(NESTED) as shared:
        for end in ends:
            begun = shared.start(open_)
            assert begun
            kept.append(replace(end, number=begun.number))
            assert shared.end(kept[-1])
        at_once = shared.start(ends[2])
        assert at_once
    assert log.history(NESTED) == [*kept, at_once]
    plain = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s.db")
    states = ["COMPLETE", "COMPLETE", "PRUNED", "FAIL", "FAIL", "PRUNED", "PRUNED"]
    assert [t.state.name for t in plain.trials] == states
    assert plain.best_trial.params == {
        "mix": "attention",
        "mix[attention].heads": "4",
        "mix[attention].heads[4].bias": "no",
        "mlp": "4",
    }


def test_a_trial_is_there_while_it_runs_with_what_rebuilds_it(tmp_path: Path) -> None:
    url, seen = f"journal:///{tmp_path}/s.log", []

    def evaluate(choice: Choice) -> float:
        seen.append(open_study(url, "s").trials[-1])
        return flat(choice)

    with open_study(url, "s").join(FLAT, recipe=lambda choice: f"recipe of {choice['stage.0']}") as log:
        run(FLAT, evaluate, make("random", SearchSpec(FLAT)), 2, log=log, key=lambda c: f"print {c['stage.1']}")
    for trial in seen:
        picks = {name: FLAT.decisions[0].labels.index(label) for name, label in trial.params.items()}
        kept = trial.user_attrs["trial"]
        assert trial.state.name == "RUNNING" and kept["recipe"] == f"recipe of {picks['stage.0']}"
        assert kept["key"] == f"print {picks['stage.1']}" and kept["worker"]


def test_an_interrupted_search_goes_on_with_the_trial_that_it_was_at(tmp_path: Path) -> None:
    url, calls = f"journal:///{tmp_path}/s.log", []

    def evaluate(choice: Choice) -> float:
        calls.append(choice)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return flat(choice)

    with pytest.raises(KeyboardInterrupt):
        searched(url, FLAT, evaluate, 12, "tpe")
    again = searched(url, FLAT, evaluate, 12, "tpe")
    assert again.evaluated == 12 and len(calls) == 13 and calls[8] == calls[7]
    dropped = [t for t in again.trials if t.again]
    assert [(t.state, t.reason) for t in dropped] == [("failed", "it was interrupted")]
    assert searched(url, FLAT, evaluate, 12, "tpe").evaluated == 12 and len(calls) == 13


def test_what_a_killed_process_was_at_is_begun_again(tmp_path: Path) -> None:
    url = f"journal:///{tmp_path}/s.log"
    script = tmp_path / "searches.py"
    script.write_text(f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from assembler.testing.spaces import FLAT, flat
from assembler.search import SearchSpec, make, open_study, run
def evaluate(choice):
    calls.append(choice)
    if len(calls) == 4:
        os.kill(os.getpid(), 9)
    return flat(choice)
calls = []
with open_study({url!r}, "s").join(FLAT) as log:
    run(FLAT, evaluate, make("random", SearchSpec(FLAT)), 10, log=log)
""")
    for _ in range(2):
        assert subprocess.run([sys.executable, str(script)], check=False).returncode == -9
    study = searched(url, FLAT, flat, 10)
    lost = [t for t in study.trials if t.again]
    assert [t.reason for t in lost] == ["its worker died", "its worker died"]
    assert study.evaluated == 10 and Counter(t.state for t in study.trials) == {"complete": 10, "failed": 2}
    states = Counter(t.state.name for t in open_study(url, "s").trials)
    assert states == {"COMPLETE": 10, "FAIL": 2}, "every trial that began has ended, once"
    assert all(any(t.choice == one.choice for t in study.trials if t.state == "complete") for one in lost)


@pytest.mark.parametrize(("apart", "times"), [(False, 3), (True, 10)])
def test_a_choice_that_kills_every_process_fails_in_the_end(tmp_path: Path, apart: bool, times: int) -> None:
    log = open_study(f"journal:///{tmp_path}/s.log", "s", apart=apart)
    choice = dict.fromkeys((d.name for d in FLAT.decisions), 0)
    open_ = Trial(-1, choice, None, "running", key="k", labels=FLAT.named(choice))
    for attempt in range(times):
        with log.join(FLAT) as shared:
            queued = shared.news().queued
            assert len(queued) == (attempt > 0) and shared.start(open_, queued[0] if queued else None)
            shared._mine.clear()  # it is gone without a word: `leave` says that nobody is at the trial
    with log.join(FLAT) as shared:
        found = shared.news()
        found = replace(found, ended=(*found.ended, *shared.news().ended))
    assert [(t.state, t.reason, t.again) for t in found.ended] == [
        *[("failed", "its worker died", True)] * (times - 1),
        ("failed", f"its worker died {times} times", False),
    ]
    assert not shared.news().queued


def test_who_has_said_nothing_for_long_is_dead_and_ends_nothing_any_more(tmp_path: Path) -> None:
    study = open_study(f"journal:///{tmp_path}/s.log", "s", grace=0.6)
    choice = dict.fromkeys((d.name for d in FLAT.decisions), 0)
    open_ = Trial(-1, choice, None, "running", key="k", labels=FLAT.named(choice))
    elsewhere = {"host": "other", "machine": "another machine", "pid": 1, "start": "1", "beat": 7, "left": False}
    with study.join(FLAT) as first, study.join(FLAT) as second:
        first.member._over.set()  # it says nothing any more
        study.write(f"assembler:worker:{first.member.name}", elsewhere)
        begun = first.start(open_)
        assert begun and [t.number for t in second.news().running] == [0]
        end = time.monotonic() + 10
        while not (found := second.news()).queued and time.monotonic() < end:
            time.sleep(0.1)
        assert [q.choice for q in found.queued] == [choice]
        assert not first.end(replace(begun, state="complete", values=(1.0,))), "it was ended by the other"
        assert [(t.reason, t.again) for t in first.news().ended] == [("its worker died", True)]


def test_two_at_work_share_numbers_results_and_duplicates(tmp_path: Path) -> None:
    url, calls, studies = f"journal:///{tmp_path}/s.log", Counter[str](), []

    def key(choice: Choice) -> str:
        return "-".join(sorted(map(str, choice.values())))

    def evaluate(choice: Choice) -> float:
        calls[key(choice)] += 1
        time.sleep(0.02)
        return flat(choice)

    def work(seed: int) -> None:
        with open_study(url, "s").join(FLAT) as log:
            studies.append(run(FLAT, evaluate, make("random", SearchSpec(FLAT, seed)), 12, key=key, log=log))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(studies) == 3 and {s.evaluated for s in studies} == {12}
    assert set(calls.values()) == {1} and len(calls) == 12, "equal architectures are evaluated once, whoever has them"
    kept = open_study(url, "s").history(FLAT)
    assert [t.number for t in kept] == list(range(len(kept)))
    assert all(t.value == flat(t.choice) for t in kept if t.state in ("complete", "duplicate"))


def test_half_a_line_that_a_killed_writer_left_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    url = f"journal:///{path}"
    first = searched(url, FLAT, flat, 4)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "worker')
    assert open_study(url, "s").history(FLAT) == list(first.trials)
    assert searched(url, FLAT, flat, 5).evaluated == 5
    assert b'"worker{' not in path.read_bytes() and open_study(url, "s").history(FLAT)[:4] == list(first.trials)


def test_a_full_disk_leaves_the_journal_whole(tmp_path: Path) -> None:
    url, path = f"journal:///{tmp_path}/s.log", tmp_path / "s.log"
    searched(url, FLAT, flat, 2)
    size = path.stat().st_size
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from assembler.testing.spaces import FLAT, flat
from assembler.search import SearchSpec, make, open_study, run
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 3000}, {size + 3000}))
with open_study({url!r}, "s").join(FLAT) as log:
    run(FLAT, flat, make("random", SearchSpec(FLAT, 5)), 60, log=log)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"StoreError: error: cannot write {path}: File too large" in done.stderr
    assert "hint: free some space; what is written is kept, and the same command goes on from there" in done.stderr
    study = searched(url, FLAT, flat, 20)
    assert study.evaluated == 20
    assert {t.state.name for t in open_study(url, "s").trials} <= {"COMPLETE", "FAIL"}


def test_candidates_may_come_and_go_and_old_trials_keep_counting(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    before = Space((Decision("mix", "oneof", ("pool", "conv", "attention")), Decision("mlp", "oneof", ("2", "4"))))
    after = Space((Decision("mix", "oneof", ("attention", "pool", "mlp")), Decision("norm", "oneof", ("yes", "no"))))

    def value(space: Space) -> Callable[[Choice], float]:
        return lambda choice: float(len(" ".join(space.named(choice).values())))

    first = searched(url, before, value(before), 6, "grid")
    with open_study(url, "s").join(after) as log:
        assert log.changes == (
            "decision 'norm' is new",
            "decision 'mlp' is gone",
            "'mix' can be mlp too",
            "'mix' can no longer be conv",
        )
        second = run(after, value(after), make("grid", SearchSpec(after)), 12, log=log)
    assert second.evaluated == 12 and [t.labels for t in second.trials[:6]] == [t.labels for t in first.trials]
    assert {t.choice == {} for t in second.trials[:6]} == {True}
    optuna_names = {name for t in open_study(url, "s").trials for name in t.params}
    assert optuna_names == {"mix", "mlp", "mix (2)", "norm"}


def test_another_space_or_other_settings_under_the_same_name_are_refused_with_the_difference(tmp_path: Path) -> None:
    url = f"journal:///{tmp_path}/s.log"
    with open_study(url, "s").join(MANY, about={"data": "digits"}):
        pass
    with pytest.raises(InputError) as error, open_study(url, "s").join(FLAT):
        pass
    assert str(error.value) == (
        f"error: study 's' in {url} was made for another space: "
        + "; ".join(f"decision 'stage.{i}' is new" for i in range(4))
        + "; decision 'taps' is gone; decision 'order' is gone; decision 'heads' is gone\n"
        "    hint: give the study another name"
    )
    other = open_study(url, "s").join(MANY, about={"data": "fashion_mnist"})
    with pytest.raises(InputError, match="made with other settings: data: digits there, fashion_mnist here"), other:
        pass


def test_sqlite_refuses_a_second_process_while_one_is_at_work(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    with open_study(url, "s").join(FLAT):
        said = r"process \d+ on .* works on study 's' in sqlite:.*, and SQLite is for one"
        with pytest.raises(InputError, match=said), open_study(url, "s").join(FLAT):
            pass
    with open_study(url, "s").join(FLAT):
        pass


def test_a_study_is_steered_while_it_runs(tmp_path: Path) -> None:
    url = f"journal:///{tmp_path}/s.log"
    done: list[Choice] = []

    def evaluate(choice: Choice) -> float:
        done.append(choice)
        study = load_study(url)
        time.sleep(0.06)  # what is said is heard at the latest so long after
        if len(done) == 2:
            study.enqueue({"stage.0": "v2", "stage.3": "v2"})
            study.enqueue({"stage.0": "v7"})
            study.write(TRIALS, 9)
        if len(done) == 3:
            study.write(BANS, [{"stage.1": "v0"}])
        if len(done) == 8:
            study.write(STOP, stop_sign())
        return flat(choice)

    study = searched(url, FLAT, evaluate, 4, "random")
    assert study.stopped == "stopped" and study.evaluated == 8
    assert (done[2]["stage.0"], done[2]["stage.3"]) == (2, 2), "what is enqueued comes first"
    wrong = next(t for t in study.trials if not t.choice)
    assert wrong.state == "infeasible" and wrong.reason == "decision 'stage.0' cannot be 'v7' (candidates: v0, v1, v2)"
    assert all(c["stage.1"] != 0 for c in done[4:])
    assert {t.reason for t in study.trials if t.state == "infeasible" and t.choice} <= {"banned: stage.1=v0"}
    assert searched(url, FLAT, evaluate, 4, "random").evaluated == 9, "a stop is for those who are at work"


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


def test_what_a_wish_leaves_open_is_drawn_within_the_constraints(tmp_path: Path) -> None:
    base = "{vars: {a: 1, b: 1}, inputs: {x: [B, 4]}, graph: {l: {op: linear, out: =a + b}}}"
    choose = "{vars.a: {$int: [1, 9]}, vars.b: {$int: [1, 9]}}"
    text = f"kind: space\nbase: {base}\nchoose: {choose}\nwhere: vars.b == 2 * vars.a\n"
    there = space(parse(text).model)
    study = open_study(f"journal:///{tmp_path}/s.log", "s")
    for n in range(1, 5):
        study.enqueue({"vars.a": str(n)})
    with study.join(there) as shared:
        assert [dict(q.choice) for q in shared.news().queued] == [{"vars.a": n, "vars.b": 2 * n} for n in range(1, 5)]
