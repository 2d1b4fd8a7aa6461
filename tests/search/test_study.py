"""The search loop: states of trials, replay of duplicates, resuming, limits, and what is said when nothing works."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import pytest

from assembler.errors import InputError, ShapeError, TaskError
from assembler.recipe.choices import Choice, Pick
from assembler.search import BudgetError, Direction, Sampler, SearchSpec, Trial, Values, make, run
from assembler.search.exact import Additive
from assembler.search.watch import Watch
from assembler.testing.spaces import FLAT, NESTED, NUMBERS, flat, nested, numbers, slots


def params(choice: Choice) -> dict[str, float]:
    return {"params": sum(1000.0 * int(v) for v in choice.values() if not isinstance(v, tuple))}


def test_finds_the_best_and_counts() -> None:
    seen: list[Trial] = []
    study = run(FLAT, flat, make("random", SearchSpec(FLAT)), 81, on_trial=seen.append)
    assert (study.evaluated, study.space_size, study.stopped) == (81, 81, "trials")
    assert study.best is not None
    assert study.best.value == 1.0
    assert study.best.choice == dict.fromkeys(study.best.choice, 2)
    assert tuple(seen) == study.trials
    assert [t.number for t in seen] == list(range(81))


def test_minimises_when_told_to() -> None:
    study = run(
        NUMBERS, lambda c: 1 - numbers(c), make("evolution", SearchSpec(NUMBERS)), 120, directions=("minimize",)
    )
    assert study.best is not None
    assert study.best.value == min(t.value for t in study.trials if t.value is not None)
    assert study.best.value < 0.2


class Listening(Sampler):
    """Asks three choices and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(SearchSpec(FLAT))
        self.left = [dict.fromkeys((d.name for d in FLAT.decisions), v) for v in range(3)]
        self.told: list[Values | None] = []

    def ask(self) -> Choice | None:
        return {**self.left.pop()} if self.left else None

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self.told.append(values)


def test_a_sampler_is_told_that_more_is_better_and_nothing_of_failures() -> None:
    directions: tuple[Direction, ...] = ("maximize", "minimize")
    for direction, sign in zip(directions, (1, -1), strict=True):
        sampler = Listening()
        study = run(FLAT, lambda c: 2.0 / int(str(c["stage.0"])), sampler, 9, directions=(direction,))
        assert sampler.told == [(sign * 1.0,), (sign * 2.0,), None]
        assert study.best is not None
        assert study.best.value == (2.0 if sign == 1 else 1.0)
        assert study.trials[-1].reason.startswith("ZeroDivisionError: float division by zero (test_study.py:")


def test_stops_when_the_space_is_exhausted() -> None:
    for sampler in ("random", "tpe"):
        study = run(slots(2, 2), flat, make(sampler, SearchSpec(slots(2, 2))), 50)
        assert (study.evaluated, study.stopped) == (4, "exhausted")


def test_what_is_over_the_budget_is_not_evaluated() -> None:
    evaluated: list[Choice] = []

    def evaluate(choice: Choice) -> float:
        evaluated.append(choice)
        return flat(choice)

    study = run(FLAT, evaluate, make("random", SearchSpec(FLAT)), 100, cost=params, budget={"params": 3000})
    assert all(params(c)["params"] <= 3000 for c in evaluated)
    over = [t for t in study.trials if t.state == "infeasible"]
    assert len(over) + len(evaluated) == 81
    assert over[0].reason == f"params {over[0].costs['params']:,.0f} > 3,000"
    assert over[0].value is None
    assert study.best is not None
    assert study.best.costs == {"params": 3000.0}


def test_architectures_that_are_the_same_are_evaluated_once() -> None:
    calls: Counter[str] = Counter()

    def key(choice: Choice) -> str:
        return "-".join(sorted(map(str, choice.values())))

    def evaluate(choice: Choice) -> float:
        calls[key(choice)] += 1
        return flat(choice)

    study = run(FLAT, evaluate, make("random", SearchSpec(FLAT)), 81, key=key)
    assert set(calls.values()) == {1}
    assert study.evaluated == len(calls) == 15
    again = [t for t in study.trials if t.state == "duplicate"]
    assert len(again) == 81 - 15
    assert all(t.value == flat(t.choice) for t in again)
    assert again[0].reason.startswith("same as trial ")


def test_a_failing_evaluation_fails_that_trial_alone() -> None:
    def evaluate(choice: Choice) -> float:
        if choice["stage.0"] == 0:
            raise ValueError(f"bad {choice['stage.1']}")
        return math.nan if choice["stage.0"] == 1 else flat(choice)

    study = run(FLAT, evaluate, make("evolution", SearchSpec(FLAT)), 60)
    by_first = {v: {t.state for t in study.trials if t.choice["stage.0"] == v} for v in range(3)}
    assert by_first == {0: {"failed"}, 1: {"failed"}, 2: {"complete"}}
    reasons = {t.reason.partition(" (test_study.py:")[0] for t in study.trials}
    assert {"ValueError: bad 1", "the value is nan", ""} <= reasons
    assert "ValueError: bad 1" not in {t.reason for t in study.trials}  # the place is told as well
    assert study.evaluated == 60


def test_an_interruption_passes() -> None:
    def evaluate(choice: Choice) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(FLAT, evaluate, make("random", SearchSpec(FLAT)), 5)


def test_a_candidate_that_is_no_valid_architecture_is_infeasible_with_the_reason() -> None:
    def cost(choice: Choice) -> dict[str, float]:
        if choice["mix"] == 1:
            raise ShapeError("heads do not divide 10")
        return {"params": 1.0}

    study = run(NESTED, nested, make("random", SearchSpec(NESTED)), 100, cost=cost)
    bad = [t for t in study.trials if t.choice["mix"] == 1]
    assert bad
    assert {(t.state, t.reason) for t in bad} == {("infeasible", "error: heads do not divide 10")}
    assert study.evaluated == 100 - len(bad) or study.stopped == "exhausted"


def test_when_all_fail_the_most_frequent_reason_is_told() -> None:
    def evaluate(choice: Choice) -> float:
        raise RuntimeError(f"out of memory: {sum(map(hash, choice))} bytes" if choice["stage.0"] else "odd one")

    with pytest.raises(TaskError, match=r"all 81 evaluations failed; 54 of them with: RuntimeError: out of memory: "):
        run(FLAT, evaluate, make("random", SearchSpec(FLAT)), 81)


def test_when_nothing_fits_the_nearest_candidate_is_told() -> None:
    def cost(choice: Choice) -> dict[str, float]:
        return {"params": params(choice)["params"] + 5000}

    with pytest.raises(BudgetError) as error:
        run(FLAT, flat, make("random", SearchSpec(FLAT)), 10, cost=cost, budget={"params": 4000})
    message = "error: none of 81 candidates fits the budget; the nearest has params 5,000 > 4,000"
    assert str(error.value) == message


def test_a_search_that_finds_nothing_that_fits_gives_up() -> None:
    with pytest.raises(BudgetError, match="none of 1000 candidates"):
        run(
            NUMBERS,
            numbers,
            make("random", SearchSpec(NUMBERS)),
            10,
            cost=lambda c: {"flops": 2.0},
            budget={"flops": 1.0},
        )


def test_a_budget_for_an_unknown_cost_is_refused() -> None:
    with pytest.raises(InputError, match=r"the budget names 'param', which is no cost\n.*did you mean 'params'\?"):
        run(FLAT, flat, make("random", SearchSpec(FLAT)), 5, cost=params, budget={"param": 3})
    with pytest.raises(InputError, match="a budget needs costs"):
        run(FLAT, flat, make("random", SearchSpec(FLAT)), 5, budget={"params": 3})


@pytest.mark.parametrize("sampler", ["random", "evolution", "tpe", "pyglove", "grid"])
def test_goes_on_from_a_history(sampler: str) -> None:
    first = run(FLAT, flat, make(sampler, SearchSpec(FLAT)), 15)
    calls: list[Choice] = []

    def evaluate(choice: Choice) -> float:
        calls.append(choice)
        return flat(choice)

    second = run(FLAT, evaluate, make(sampler, SearchSpec(FLAT)), 25, history=first.trials)
    assert len(calls) == 10
    assert second.evaluated == 25
    assert second.trials[: len(first.trials)] == first.trials
    assert [t.number for t in second.trials] == list(range(len(second.trials)))
    known = {t.key for t in first.trials}
    assert not any(t.key in known for t in second.trials[len(first.trials) :] if t.state == "complete")


def test_a_finished_history_evaluates_nothing() -> None:
    first = run(FLAT, flat, make("random", SearchSpec(FLAT)), 10)
    second = run(FLAT, lambda c: 1 / 0, make("random", SearchSpec(FLAT)), 10, history=first.trials)
    assert second.trials == first.trials
    assert second.best == first.best


def test_stops_at_the_time_limit() -> None:
    study = run(NUMBERS, numbers, make("random", SearchSpec(NUMBERS)), 10**9, timeout=0.2)
    assert study.stopped == "timeout"
    assert study.best is not None
    none = run(NUMBERS, numbers, make("random", SearchSpec(NUMBERS)), 10, timeout=0.0)
    assert (none.best, none.evaluated, none.trials) == (None, 0, ())


def test_several_objectives_have_a_front() -> None:
    def both(choice: Choice) -> tuple[float, float]:
        return flat(choice), float(int(str(choice["stage.0"])))

    spec = SearchSpec(FLAT, objectives=2)
    study = run(FLAT, both, make("random", spec), 81, directions=("maximize", "minimize"))
    assert {t.values for t in study.front} == {((i + 6) / 8, float(i)) for i in range(3)}
    with pytest.raises(InputError, match="sampler 'evolution' follows one objective, not 2"):
        make("evolution", spec)
    with pytest.raises(InputError, match="the objective gave 1 values"):
        run(FLAT, flat, make("random", spec), 3, directions=("maximize", "minimize"))


def test_of_equals_in_the_first_objective_the_best_is_one_that_nothing_dominates() -> None:
    def score(choice: Choice) -> tuple[float, float]:
        return 1.0, 9.0 - sum(int(v) for v in choice.values() if not isinstance(v, tuple))

    sampler = make("grid", SearchSpec(FLAT, objectives=2))
    study = run(FLAT, score, sampler, 81, directions=("maximize", "minimize"))
    assert study.best is not None and study.best.values == (1.0, 1.0) and study.front == (study.best,)


@pytest.mark.parametrize(
    ("sampler", "trials", "most"),
    [
        ("random", 500, 81),
        ("random", 50, 50),
        ({"name": "exact", "pool": 7}, 64, 7),
        ({"name": "repeat", "times": 2, "of": {"name": "exact", "pool": 7}}, 64, 14),
    ],
)
def test_who_looks_on_is_told_how_many_evaluations_there_can_be(sampler: object, trials: int, most: int) -> None:
    class Looker(Watch):
        told = 0

        def wanted(self, trials: int) -> None:
            self.told = trials

    scores = Additive({d.name: tuple(map(float, range(len(d.labels)))) for d in FLAT.decisions})
    looker = Looker()
    study = run(FLAT, flat, make(sampler, SearchSpec(FLAT, additive=scores)), trials, on_trial=looker)  # type: ignore[arg-type]
    assert looker.told == most == study.evaluated
