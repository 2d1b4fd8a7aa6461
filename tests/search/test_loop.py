"""Several trials at a time: all of them begin and end once, equal ones wait for each other, and the set is the same."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Space
from assembler.search import SearchSpec, Trial, make, run
from assembler.search.evaluators import InProcess, Outcome, outcome
from assembler.testing.spaces import FLAT, flat


@dataclass
class Shuffled:
    """Evaluates up to `workers` trials and ends them in random order."""

    workers: int
    seed: int = 0
    open: list[Trial] = field(default_factory=list)
    most: int = 0
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def submit(self, trial: Trial) -> None:
        assert trial.state == "running" and len(self.open) < self.workers
        self.open.append(trial)
        self.most = max(self.most, len(self.open))
        self.calls[trial.key] += 1

    def wait(self, seconds: float | None) -> list[tuple[int, Outcome]]:
        trial = self.open.pop(self._rng.randrange(len(self.open)))
        return [(trial.number, Outcome((flat(trial.choice) + trial.repeat,)))]

    def heard(self, trial: Trial) -> None:
        assert trial.state != "running"


def key(choice: Choice) -> str:
    return "-".join(sorted(map(str, choice.values())))


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_a_fixed_list_has_the_same_results_at_any_number_of_workers(workers: int) -> None:
    evaluator = Shuffled(workers)
    study = run(FLAT, evaluator, make("grid", SearchSpec(FLAT)), 81)
    assert evaluator.most == workers and study.evaluated == 81
    assert {(t.number, t.value, str(t.choice)) for t in study.trials} == {
        (n, flat(c), str(c)) for n, c in enumerate(FLAT.every())
    }


@pytest.mark.parametrize("sampler", ["random", "evolution", "tpe", "local", "grid"])
def test_equal_trials_at_the_same_time_are_evaluated_once(sampler: str) -> None:
    evaluator = Shuffled(4, seed=1)
    study = run(FLAT, evaluator, make(sampler, SearchSpec(FLAT)), 15, key=key)
    assert set(evaluator.calls.values()) == {1} and study.evaluated == len(evaluator.calls) == 15
    assert Counter(t.state for t in study.trials)["complete"] == 15
    assert all(t.value == flat(t.choice) for t in study.trials)
    assert [t.number for t in study.trials] == list(range(len(study.trials)))


def test_what_is_repeated_on_purpose_is_evaluated_again_with_another_seed() -> None:
    evaluator = Shuffled(3)
    spec = {"name": "repeat", "times": 3, "of": "random"}
    study = run(FLAT, evaluator, make(spec, SearchSpec(FLAT)), 12, key=None)
    assert study.evaluated == 12 and set(evaluator.calls.values()) == {3}
    assert Counter(t.repeat for t in study.trials) == {0: 4, 1: 4, 2: 4}


@pytest.mark.parametrize(("of", "workers"), [("grid", 1), ("grid", 2), ("random", 3), ("tpe", 1)])
def test_what_is_repeated_is_so_to_the_end_of_a_space(of: str, workers: int) -> None:
    evaluator = Shuffled(workers)
    little = Space(FLAT.decisions[:1])
    sampler = make({"name": "repeat", "times": 3, "of": of}, SearchSpec(little))
    study = run(little, evaluator, sampler, 50, key=None)
    assert study.stopped == "exhausted" and len(evaluator.calls) == little.size
    assert set(evaluator.calls.values()) == {3} and study.evaluated == 9


def test_a_trial_that_hangs_is_interrupted() -> None:
    def score(trial: Trial) -> float:
        while trial.choice["stage.0"] == 1:
            try:
                time.sleep(0.01)
            except Exception:  # such objectives exist
                continue
        return flat(trial.choice)

    study = run(FLAT, InProcess(score, 0.1), make("random", SearchSpec(FLAT)), 12)
    late = [t for t in study.trials if t.choice["stage.0"] == 1]
    assert late and {(t.state, t.reason) for t in late} == {("failed", "it took longer than 0.1 s and was ended")}
    assert all(t.state == "complete" for t in study.trials if t not in late)


def test_what_is_no_number_fails_the_trial() -> None:
    assert outcome("many").reason == "the objective gave 'many', which is no number"
    assert outcome(None).reason == "the objective gave None, which is no number"
    assert outcome((1, 2.5)).values == (1.0, 2.5)


def test_a_time_limit_needs_the_main_thread() -> None:
    import threading

    caught: list[InputError] = []

    def make_one() -> None:
        try:
            InProcess(lambda trial: 0.0, 1.0)
        except InputError as error:
            caught.append(error)

    thread = threading.Thread(target=make_one)
    thread.start()
    thread.join()
    assert "hint: call it from the main thread, or with several workers" in str(caught[0])
