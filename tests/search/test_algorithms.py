"""What each algorithm and each wrapper does beyond the contract."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest

from assembler.errors import AssemblerError, InputError, RecipeError
from assembler.graph import Graph
from assembler.recipe.choices import Choice, Decision, Space, decide
from assembler.recipe.choices import space as choices
from assembler.recipe.document import parse
from assembler.search import SearchSpec, make, run
from assembler.search.moves import frozen
from assembler.search.samplers.mcts import Mcts
from assembler.testing.spaces import FLAT, NUMBERS, flat, numbers, slots
from assembler.wiring.build import build


def asked(sampler: Any, objective: Any, count: int) -> list[Choice]:
    found = []
    for _ in range(count):
        choice = sampler.ask()
        if choice is None:
            break
        found.append(choice)
        value = objective(choice)
        sampler.tell(choice, None if value is None else (value,))
    return found


RUGGED = slots(10, 4)


def rugged(choice: Choice) -> float:
    """Candidate 2 everywhere is best; pairs of neighbours that agree help too."""
    picks = [choice[f"stage.{i}"] for i in range(10)]
    return sum(p == 2 for p in picks) + 0.5 * sum(a == b for a, b in itertools.pairwise(picks))


@pytest.mark.parametrize(("name", "queries"), [("bayes", 60), ("local", 150), ("smbo", 150), ("mcts", 300)])
def test_it_beats_random_search_by_far(name: str, queries: int) -> None:
    def best(name: str, seed: int) -> float:
        return max(map(rugged, asked(make(name, SearchSpec(RUGGED, seed=seed)), rugged, queries)))

    gains = [best(name, seed) - best("random", seed) for seed in range(3)]
    assert sum(gains) / len(gains) > 1.5
    assert min(gains) >= 0


def test_bayes_asks_around_what_failed_no_more() -> None:
    def objective(choice: Choice) -> float | None:
        return None if choice["stage.0"] == 2 else rugged(choice)

    failed = Counter[bool]()
    for seed in range(4):
        found = asked(make("bayes", SearchSpec(RUGGED, seed=seed)), objective, 50)
        failed.update(choice["stage.0"] == 2 for choice in found[25:])
    assert failed[True] < 0.2 * failed.total()


def test_bayes_spreads_choices_that_are_open_together() -> None:
    sampler = make("bayes", SearchSpec(NUMBERS, seed=0))
    asked(sampler, numbers, 15)
    batch = [sampler.ask() for _ in range(6)]
    assert len({frozen(choice) for choice in batch if choice}) == 6
    again = make("bayes", SearchSpec(NUMBERS, seed=0))
    asked(again, numbers, 15)
    assert again.ask() == batch[0]


def test_bayes_looks_at_the_architectures_of_what_it_weighs() -> None:
    text = (
        "kind: model\ninputs: {x: [B, 4]}\ngraph: {a: {$oneof: [relu, gelu, silu]}, b: {$oneof: [silu, relu, gelu]}}\n"
    )
    document = parse(text)
    space, looked = choices(document.model), set()

    def graph(choice: Choice) -> Graph:
        looked.add(frozen(choice))
        return build(decide(document.model, choice))

    def objective(choice: Choice) -> float:
        return sum(node.op == "gelu" for _, node in graph(choice))

    sampler = make({"name": "bayes", "startup": 3}, SearchSpec(space, graph=graph))
    asked(sampler, objective, 3)
    looked.clear()
    choice = sampler.ask()
    assert len(looked) == 6 and frozen(choice or {}) in looked


def test_bayes_keeps_the_constraints_of_a_space_and_skips_what_cannot_be_built() -> None:
    def graph(choice: Choice) -> Any:
        if choice["stage.1"] == 0:
            raise RecipeError("no such thing")
        return build(parse("kind: model\ninputs: {x: [B, 4]}\ngraph: {a: relu}").model)

    found = asked(make("bayes", SearchSpec(FLAT, graph=graph)), lambda c: None if c["stage.1"] == 0 else flat(c), 30)
    assert all(choice["stage.1"] != 0 for choice in found[10:])


def test_bayes_finds_the_front_of_two_objectives() -> None:
    def objective(choice: Choice) -> tuple[float, float]:
        ones, twos = (sum(p == i for p in choice.values()) for i in (1, 2))
        return float(ones), float(twos)

    space = slots(6, 4)

    def fronts(name: str, seed: int) -> int:
        sampler = make(name, SearchSpec(space, seed=seed, objectives=2))
        study = run(space, objective, sampler, 80, directions=("maximize", "maximize"))
        return len({t.values for t in study.front if sum(t.values or ()) == 6})

    assert sum(fronts("bayes", seed) for seed in range(3)) >= 12 > 2 * sum(fronts("random", seed) for seed in range(3))


def test_local_search_climbs_by_the_best_neighbour_and_starts_anew_at_the_top() -> None:
    space = Space((Decision("x", "int", low=0, high=9), Decision("y", "oneof", ("a", "b"))))

    def objective(choice: Choice) -> float:
        return float(choice["x"] if choice["y"] == 0 else 0.5 * choice["x"])

    found = asked(make({"name": "local", "starts": 1}, SearchSpec(space, seed=4)), objective, 20)
    assert len({frozen(c) for c in found}) == len(found) == 20
    top = max(range(20), key=lambda i: objective(found[i]))
    assert found[top] == {"x": 9, "y": 0} and top < 14
    with pytest.raises(InputError, match="local search starts at 1 random choice or more, not 0"):
        make({"name": "local", "starts": 0}, SearchSpec(space))


def test_a_tree_search_visits_the_better_branch_more_and_more() -> None:
    space, sampler = slots(8, 3), make("mcts", SearchSpec(slots(8, 3), seed=1))
    found = asked(sampler, lambda c: float(c["stage.0"] == 1) + 0.1 * flat(c), 200)
    assert space.size == 6561
    later = [choice["stage.0"] == 1 for choice in found[100:]]
    assert sum(later) > 70


def test_visits_of_a_tree_search_add_up() -> None:
    space = slots(4, 3)
    sampler = make("mcts", SearchSpec(space, seed=0))
    assert isinstance(sampler, Mcts)
    for step in range(40):
        choice = sampler.ask()
        assert choice is not None
        sampler.tell(choice, (step % 7,))
    nodes = [sampler._root]
    while nodes:
        node = nodes.pop()
        below = sum(child.visits for child in node.below.values())
        made = node is not sampler._root  # by a visit that ended there
        assert node.visits == below + made or not node.below
        nodes += node.below.values()
    assert sampler._root.visits >= 40


# -- wrappers ----------------------------------------------------------------------------------------------------------


def test_patience_ends_a_search_that_finds_nothing_better() -> None:
    sampler = make({"name": "patience", "trials": 7, "of": "random"}, SearchSpec(FLAT, seed=2))
    values = [flat(choice) for choice in asked(sampler, flat, 81)]
    assert sampler.ask() is None
    last = max(range(len(values)), key=lambda i: (values[i], -i))
    assert len(values) == last + 8


def test_patience_with_several_objectives_waits_for_the_front() -> None:
    sampler = make({"name": "patience", "trials": 2, "of": "random"}, SearchSpec(FLAT, objectives=2))
    for values in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.5, 0.5)):
        choice = sampler.ask()
        assert choice is not None
        sampler.tell(choice, values)
    choice = sampler.ask()
    assert choice is not None
    sampler.tell(choice, (0.1, 0.1))
    assert sampler.ask() is None


def test_repeat_evaluates_each_choice_anew_in_a_study_and_tells_the_mean() -> None:
    noise, told = random.Random(0), []

    sampler = make({"name": "repeat", "times": 3, "of": "random"}, SearchSpec(FLAT))
    inner = sampler.inner  # type: ignore[attr-defined]
    inner.tell = lambda choice, values: told.append((frozen(choice), values))
    study = run(FLAT, lambda c: flat(c) + noise.gauss(0, 0.1), sampler, 30)
    assert study.evaluated == 30 and {t.state for t in study.trials} == {"complete"}
    by_choice: dict[Any, list[float]] = {}
    for trial in study.trials:
        by_choice.setdefault(frozen(trial.choice), []).append(trial.value or 0.0)
    assert [len(set(values)) for values in by_choice.values()] == [3] * 10
    assert told == [(key, (pytest.approx(sum(values) / 3),)) for key, values in by_choice.items()]


def test_retry_gives_a_failure_another_chance_and_no_more() -> None:
    tries: Counter[Any] = Counter()

    def objective(choice: Choice) -> float:
        tries[frozen(choice)] += 1
        if choice["stage.0"] == 0 or (choice["stage.0"] == 1 and tries[frozen(choice)] == 1):
            raise OSError("the network is gone")
        return flat(choice)

    study = run(FLAT, objective, make({"name": "retry", "times": 2, "of": "random"}, SearchSpec(FLAT)), 30)
    assert study.evaluated == 30
    by_first = {pick: {n for key, n in tries.items() if dict(key)["stage.0"] == pick} for pick in range(3)}
    assert by_first[1] == {2} and by_first[2] == {1} and max(by_first[0]) == 3
    assert any(t.state == "complete" and t.choice["stage.0"] == 1 for t in study.trials)


def test_distinct_asks_for_each_architecture_once() -> None:
    graphs = [build(parse(f"kind: model\ninputs: {{x: [B, {n}]}}\ngraph: {{a: relu}}").model) for n in (4, 5, 6)]

    def graph(choice: Choice) -> Any:
        return graphs[sum(int(p) for p in choice.values() if isinstance(p, int)) % 3]

    sampler = make({"name": "distinct", "of": "tpe"}, SearchSpec(FLAT, graph=graph))
    found = asked(sampler, flat, 10)
    assert len(found) == 3 == len({graph(choice).fingerprint for choice in found})
    assert sampler.ask() is None


def test_a_filter_lets_through_what_meets_the_expressions() -> None:
    where = ["mlp != 'v0' or depth >= 3", "depth <= 5"]
    space = Space((Decision("mlp", "oneof", ("v0", "v1")), Decision("depth", "int", low=1, high=6)))
    found = asked(make({"name": "filter", "where": where, "of": "random"}, SearchSpec(space)), lambda c: 0.0, 20)
    assert {(c["mlp"], c["depth"]) for c in found} == {(0, 3), (0, 4), (0, 5), *((1, d) for d in range(1, 6))}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            {"name": "filter", "where": "dept > 3"},
            "there is no decision or cost 'dept'\n    hint: did you mean 'depth'",
        ),
        ({"name": "filter", "where": "params < 1e6"}, "a filter cannot look at params"),
        ({"name": "patience", "trials": 0}, "'trials' of sampler 'patience' is at least 1, not 0"),
        ({"name": "patience", "of": "evolutoin"}, "unknown sampler 'evolutoin'"),
        ({"name": "retry", "of": {"name": "local", "start": 3}}, "sampler 'local' has no option 'start'"),
        ({"name": "bayes", "startup": 1}, "bayes begins with 2 random choices or more, not 1"),
        ({"name": "smbo", "pool": 0}, "smbo needs a pool and a startup of at least 1, not 0 and 10"),
    ],
)
def test_wrong_options_are_told(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(AssemblerError) as error:
        make(wanted, SearchSpec(NUMBERS))
    assert message in str(error.value)


def test_wrappers_nest_and_keep_to_the_objectives_of_the_innermost() -> None:
    wanted = {"name": "patience", "of": {"name": "retry", "of": {"name": "distinct", "of": "evolution"}}}
    assert asked(make(wanted, SearchSpec(FLAT)), flat, 10)
    with pytest.raises(InputError, match="sampler 'evolution' follows one objective, not 2"):
        make(wanted, SearchSpec(FLAT, objectives=2))
