"""What a recipe's `search:` section says, and how a search is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from assembler.errors import InputError, Problem, RecipeError, Span
from assembler.pipeline.checking.search import MEASURED, RECKONED, goal_problems, numbers
from assembler.pipeline.search.costs import BUDGETED
from assembler.recipe.document import Document
from assembler.recipe.scope import resolve, vars_of
from assembler.recipe.values import Leaf, Map, marked, plain
from assembler.registry import Entry, checks
from assembler.registry.live import describe
from assembler.search.pareto import Direction
from assembler.train.spec import FitSpec, named_data


@dataclass(frozen=True)
class Settings:
    """The `search:` section of a space: data, sampler, number of trials, budget, training settings, seed.

    `objectives` say what is to become of which metric or cost: `{validation: maximize, latency: minimize}`; costs,
    which `budget` bounds, are `params`, `flops`, `memory` (bytes), `latency` (milliseconds), `depth` and `steps`.
    In `mode` "trials" every candidate is trained from the start, with "inherit" from its parent's weights, with
    "supernet" all share weights that are trained once, as `supernet` says; "parts" is for runs, whose slots have
    trained parts.
    Expressions in `train` read the vars of the candidate: settings are chosen together with architectures. Only
    what passes the `screen` is trained, and `prune` names what ends a training early.
    """

    data: str | dict[str, Any] | None = None
    sampler: str | dict[str, Any] = "tpe"
    trials: int = 20
    budget: dict[str, float] | None = None
    train: dict[str, Any] | None = None
    seed: int = 0
    objectives: dict[str, str] | None = None
    mode: Literal["trials", "inherit", "supernet", "parts"] = "trials"
    screen: dict[str, Any] | None = None
    prune: str | dict[str, Any] | None = None
    supernet: dict[str, Any] | None = None

    @property
    def bounded(self) -> tuple[str, ...]:
        """The costs of candidates that are always told, and those of the budget."""
        return tuple(dict.fromkeys((*BUDGETED, *(self.budget or ()))))

    @property
    def reckoned(self) -> tuple[str, ...]:
        """The costs of candidates that are told or bounded or to become less, where trainings give the rest."""
        return tuple(dict.fromkeys((*self.bounded, *(name for name in self.goals if name in RECKONED))))

    @property
    def goals(self) -> dict[str, Direction]:
        """What is to become of what."""
        return dict(self.objectives or {"validation": "maximize"})  # type: ignore[arg-type]

    def data_for(self, why: str) -> Mapping[str, Any]:
        """The data set. Raises RecipeError, with the reason why it is needed, where none is named."""
        if self.data is None:
            raise RecipeError(f"'search' needs 'data': {why}", path="search", hint="for instance data: digits")
        return named_data(self.data)


@dataclass(frozen=True)
class Running:
    """How a search is run, which changes none of its results: how many at a time, on what, kept where.

    `timeout` is in seconds, for one trial; `storage` a URL as in `search.storage`, `study` a name in it. `engine`,
    `address` and `gpus` say where workers are, as in `assemble.engines`.
    """

    workers: int = 1
    device: str = "auto"
    timeout: float | None = None
    storage: str | None = None
    study: str | None = None
    engine: str = "processes"
    address: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"'workers' is how many work at the same time, at least 1, not {self.workers}")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"'timeout' is the seconds that a trial may take, more than 0, not {self.timeout:g}")
        if self.engine != "ray" and (self.address or self.gpus):
            said = "address" if self.address else "gpus"
            raise InputError(f"'{said}' is for workers on a Ray cluster", hint="give the engine too: ray")


def signature() -> Entry:
    """`Settings` as a schema."""
    return describe("search", "", Settings, {})


def settings(document: Document, given: Mapping[str, Any], measured: Sequence[str] | None = MEASURED) -> Settings:
    """The settings of a search: the recipe's `search:` section, with `given` laid over it.

    Objectives are costs and what is `measured`; None: a function of the user's measures what it likes.
    """
    section = document.tree.get("search", Map())
    if not isinstance(section, Map):
        raise RecipeError("'search' must be a mapping of settings", hint="for instance {data: digits, trials: 20}")
    found = {**plain(section), **{k: v for k, v in given.items() if v is not None}}
    problems = list(checks.problems(signature(), found, section.key_span, span=section.span, path="search"))
    written = section.drop(*(key for key, value in given.items() if value is not None))
    for key, said in numbers(found):
        problems.append(_placed(Problem(said, path=f"search.{key}"), written.get(key, Leaf(None)).span))
    if problems:
        raise RecipeError(problems)
    FitSpec.from_spec(filled(found.get("train") or {}, document.default), path="search.train")
    goals = written.get("objectives")
    for name, goal in (found.get("objectives") or {}).items():
        place = goals.key_span(name) if isinstance(goals, Map) else None
        problems += [_placed(p, place) for p in goal_problems(name, goal, measured)]
    if problems:
        raise RecipeError(problems)
    return Settings(**found)


def filled(train: Mapping[str, Any], model: Map) -> dict[str, Any]:
    """Training settings whose expressions read the vars of a model. Raises RecipeError where those are still open."""
    found = resolve(marked(train), vars_of(model))
    assert isinstance(found, dict)
    return found


def _placed(problem: Problem, span: Span | None) -> Problem:
    """A problem at the place in the recipe that it is about, if it is written there."""
    return replace(problem, span=span, path="") if span else problem
