"""Every registered sampler keeps the contract; what each adds to it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler import registry
from assembler.errors import AssemblerError, InputError
from assembler.recipe.choices import Decision, Space
from assembler.search import Additive, Sampler, SearchSpec, make
from assembler.search.moves import every, frozen, mutate
from assembler.testing import SamplerContract
from assembler.testing.spaces import FLAT, MANY, NESTED, NUMBERS, OBJECTIVES, SPACES


class TestRandom(SamplerContract):
    name = "random"


class TestGrid(SamplerContract):
    name = "grid"
    budget = 8 * 505 * 9
    options: ClassVar = {"steps": 3}
    spaces = ("flat", "nested", "many")


class TestEvolution(SamplerContract):
    name = "evolution"
    options: ClassVar = {"population_size": 10, "tournament_size": 3}
    reach = 0.75


class TestLocal(SamplerContract):
    name = "local"
    reach = 0.75


class TestMcts(SamplerContract):
    name = "mcts"
    budget = 80


class TestSmbo(SamplerContract):
    name = "smbo"
    reach = 0.75


class TestBayes(SamplerContract):
    name = "bayes"
    reach = 0.85


class TestPatience(SamplerContract):
    name = "patience"
    options: ClassVar = {"trials": 40, "of": "local"}


class TestRepeat(SamplerContract):
    name = "repeat"
    options: ClassVar = {"times": 2, "of": {"name": "evolution", "population_size": 5}}
    budget = 100


class TestRetry(SamplerContract):
    name = "retry"
    options: ClassVar = {"of": "evolution"}


class TestDistinct(SamplerContract):
    name = "distinct"
    options: ClassVar = {"of": "tpe"}


class TestFilter(SamplerContract):
    name = "filter"
    options: ClassVar = {"of": "local", "where": "3 > 2"}


class TestNested(SamplerContract):
    name = "nested"
    budget = 80

    def sampler(self, space: Space, seed: int = 0) -> Sampler:
        wanted = {"name": "nested", "over": space.decisions[0].name, "outer": "random", "trials": 8}
        return make(wanted, SearchSpec(space, seed=seed))


class TestExact(SamplerContract):
    name = "exact"
    spaces = ("flat",)
    options: ClassVar = {"pool": 40}
    reach = 1.0

    def additive(self, space: Space) -> Additive:
        return Additive({d.name: tuple(-float(i) for i in range(len(d.labels))) for d in space.decisions})


class TestTpe(SamplerContract):
    name = "tpe"


class TestOptunaNsga(SamplerContract):
    name = "optuna"
    options: ClassVar = {"algorithm": "NSGAIISampler", "options": {"population_size": 10}}


class TestPyGlove(SamplerContract):
    name = "pyglove"
    options: ClassVar = {"population_size": 10, "tournament_size": 3}


class TestPyGloveRandom(SamplerContract):
    name = "pyglove"
    options: ClassVar = {"algorithm": "random"}


def test_every_registered_sampler_has_its_contract_test() -> None:
    tested = {cls.name for cls in SamplerContract.__subclasses__()}
    assert tested == set(registry.names("sampler"))


@pytest.mark.parametrize("name", SPACES)
def test_most_choices_are_not_what_the_contract_calls_good(name: str) -> None:
    rng = random.Random(0)
    scores = [OBJECTIVES[name](SPACES[name].sample(rng)) for _ in range(500)]
    assert sum(score >= SamplerContract.reach for score in scores) < 250
    assert max(scores) < 1 + 1e-9


@pytest.mark.parametrize("name", ["random", "grid", "evolution"])
@pytest.mark.parametrize("space", [FLAT, NESTED, MANY], ids=["flat", "nested", "many"])
def test_each_choice_of_a_finite_space_comes_once(name: str, space: Space) -> None:
    sampler, found = make(name, SearchSpec(space, seed=1)), []
    while (choice := sampler.ask()) is not None:
        found.append(frozen(choice))
        sampler.tell(choice, (random.Random(str(choice)).random(),))
    assert len(found) == len(set(found)) == space.size


def test_random_choices_are_spread_evenly() -> None:
    firsts = Counter(str(make("random", SearchSpec(FLAT, seed=s)).ask()) for s in range(810))
    assert len(firsts) == 81
    assert max(firsts.values()) < 30


def test_random_resumes_without_repeating_what_it_is_told() -> None:
    first, second = make("random", SearchSpec(FLAT, seed=2)), make("random", SearchSpec(FLAT, seed=2))
    known = [choice for _ in range(50) if (choice := first.ask()) is not None]
    for choice in known:
        second.tell(choice, (0.0,))
    rest = [choice for _ in range(40) if (choice := second.ask()) is not None]
    assert len(rest) == 31
    assert not {frozen(c) for c in rest} & {frozen(c) for c in known}


def test_grid_covers_float_ranges_from_end_to_end() -> None:
    space = Space(
        (Decision("rate", "float", low=1e-4, high=1.0, log=True), Decision("drop", "float", low=0.0, high=0.5))
    )
    found = list(every(space, 3))
    assert [c["rate"] for c in found[::3]] == pytest.approx([1e-4, 1e-2, 1.0])
    assert [c["drop"] for c in found[:3]] == [0.0, 0.25, 0.5]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32))
def test_a_mutation_is_valid_and_changes_one_decision(name: str, seed: int) -> None:
    rng, space = random.Random(seed), SPACES[name]
    parent = space.sample(rng)
    child = mutate(space, parent, rng)
    space.check(child)
    changed = [d for d in space.decisions if d.name in parent and d.name in child and parent[d.name] != child[d.name]]
    assert len(changed) == 1
    below = {d.name for d in space.decisions if changed[0].name in dict(d.when)}
    assert all(parent.get(n) == child.get(n) for n in set(parent) | set(child) if n not in below | {changed[0].name})


def test_evolution_beats_random_search_on_average() -> None:
    space = Space(tuple(Decision(f"s{i}", "oneof", tuple("abcd")) for i in range(12)))

    def best(name: str, seed: int) -> float:
        sampler, top = make(name, SearchSpec(space, seed=seed)), 0.0
        for _ in range(150):
            choice = sampler.ask()
            assert choice is not None
            value = sum(v == 2 for v in choice.values()) / 12
            sampler.tell(choice, (value,))
            top = max(top, value)
        return top

    seeds = range(10)
    assert sum(best("evolution", s) for s in seeds) > sum(best("random", s) for s in seeds) + 1.5


def test_pyglove_evolution_moves_permutations() -> None:
    orders = Decision("order", "permutate", tuple("abcdef"))
    space = Space((orders, Decision("x", "oneof", ("0", "1"))))
    sampler, seen = make({"name": "pyglove", "population_size": 2, "tournament_size": 2}, SearchSpec(space)), set()
    for _ in range(40):
        choice = sampler.ask()
        assert choice is not None
        seen.add(choice["order"])
        sampler.tell(choice, (0.0,))
    assert len(seen) > 5


@pytest.mark.parametrize("name", ["tpe", "evolution"])
def test_learns_from_a_history(name: str) -> None:
    sampler, rng = make(name, SearchSpec(NUMBERS, seed=0)), random.Random(0)
    for _ in range(200):
        choice = NUMBERS.sample(rng)
        sampler.tell(choice, (OBJECTIVES["numbers"](choice),))
    asked = [choice for _ in range(20) if (choice := sampler.ask()) is not None]
    mean = sum(OBJECTIVES["numbers"](c) for c in asked) / len(asked)
    assert mean > sum(OBJECTIVES["numbers"](NUMBERS.sample(rng)) for _ in range(200)) / 200 + 0.05


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("evolutoin", "unknown sampler 'evolutoin'\n    hint: did you mean 'evolution'?"),
        ({"name": "grid", "step": 3}, "sampler 'grid' has no option 'step'\n    hint: did you mean 'steps'?"),
        ({"name": "grid", "steps": "3"}, "'steps' of sampler 'grid' must be an integer, not '3'"),
        ({"steps": 3}, "a sampler needs a 'name'"),
        (
            {"name": "evolution", "population_size": 3, "tournament_size": 5},
            "evolution needs 1 <= tournament_size <= population_size, not tournament_size 5, population_size 3",
        ),
        ("exact", "the exact sampler needs additive scores of the parts"),
        ({"name": "optuna", "algorithm": "nsga"}, "Optuna has no sampler 'nsga' that can be used here"),
        ({"name": "optuna", "algorithm": "grid"}, "hint: use the sampler 'grid'"),
        ({"name": "optuna", "options": {"n_startup": 3}}, "Optuna's TPESampler takes no 'n_startup'"),
        ({"name": "pyglove", "population_size": 3}, "pyglove needs 2 <= tournament_size <= population_size"),
    ],
)
def test_wrong_names_and_options_are_told(wanted: object, message: str) -> None:
    with pytest.raises(AssemblerError) as error:
        make(wanted, SearchSpec(FLAT))  # type: ignore[arg-type]
    assert message in str(error.value)


@pytest.mark.parametrize("decision", [Decision("x", "int", low=1, high=2), MANY.decisions[0]])
def test_exact_refuses_what_is_not_a_slot(decision: Decision) -> None:
    with pytest.raises(InputError, match=f"needs independent oneof slots, but '{decision.name}' is {decision.kind}"):
        make("exact", SearchSpec(Space((decision,)), additive=Additive({decision.name: (0.0, 1.0)})))


def test_an_optuna_sampler_whose_package_is_missing_says_which() -> None:
    pytest.importorskip("optuna")
    try:
        import cmaes  # noqa: F401
    except ImportError:
        sampler = make({"name": "optuna", "algorithm": "cmaes"}, SearchSpec(NUMBERS))
        with pytest.raises(InputError, match="Optuna's sampler 'cmaes' needs the package 'cmaes'"):
            for _ in range(5):
                choice = sampler.ask()
                assert choice is not None
                sampler.tell(choice, (0.0,))


def test_importing_search_imports_neither_optuna_nor_pyglove() -> None:
    code = "import sys, assembler.search; print({'optuna', 'pyglove', 'torch', 'highspy'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
