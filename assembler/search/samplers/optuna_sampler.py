"""Optuna's samplers, asked define-by-run: only active decisions are suggested, under their stable names."""

from __future__ import annotations

import inspect
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from assembler.errors import InputError, near, placed
from assembler.recipe.choices import Choice, Decision, Pick, Space
from assembler.registry import sampler
from assembler.search.least import at_least
from assembler.search.moves import Frozen, frozen, is_active
from assembler.search.samplers.base import Origin, Sampler, SearchSpec, Values
from assembler.search.samplers.origins import Origins

T = TypeVar("T")

_NEED_MORE = {"GridSampler": "use the sampler 'grid'", "PartialFixedSampler": "it wraps another sampler"}
_SEEDS = 2**32  # Optuna's seeds have 32 bits
_DRAWS = ("RandomSampler", "QMCSampler", "BruteForceSampler")
"""Samplers that look at no value."""


@sampler("optuna")
class Optuna(Sampler):
    """Any sampler of Optuna by name: `algorithm` is "tpe", "nsgaii", "cmaes", "gp", ... or its class's name.

    `options` go to the Optuna sampler. A choice without a value counts as pruned, which TPE avoids. "cmaes"
    follows one objective. It needs the package cmaes, "qmc" and "gp" need scipy, which are not installed with this one.
    """

    multi = True

    def __init__(
        self,
        spec: SearchSpec,
        *,
        algorithm: str = "tpe",
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(spec)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._name = algorithm
        made = self._begin(options or {})
        self._open: defaultdict[Frozen, list[Any]] = defaultdict(list)
        self._startup, self._told = _drawn(made, options or {}), 0
        self._origins = Origins(algorithm)

    def _begin(self, options: dict[str, Any]) -> Any:
        """Begin the study; returns Optuna's sampler. Raises InputError where it cannot even ask for a first choice."""
        import optuna

        def study() -> Any:
            made = _make(self._name, self.spec.seed, options)
            self._study = optuna.create_study(sampler=made, directions=["maximize"] * self.spec.objectives)
            return made

        self._guard(study)
        self._guard(self._suggested)
        return self._guard(study)

    def ask(self) -> Choice:
        trial, choice = self._guard(self._suggested)
        self._open[frozen(choice)].append(trial)
        if self._told >= self._startup:
            self._origins.propose(choice)
        return choice

    def _suggested(self) -> tuple[Any, Choice]:
        trial, choice = self._study.ask(), Choice()
        for d in self.space.decisions:
            if is_active(d, choice):
                choice[d.name] = _suggest(trial, d)
        return trial, choice

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        import optuna

        key = frozen(choice)
        self._told += 1
        self._origins.tell(choice, values)
        state = optuna.trial.TrialState.PRUNED if values is None else optuna.trial.TrialState.COMPLETE
        if self._open[key]:
            self._guard(lambda: self._study.tell(self._open[key].pop(0), values, state=state))
            return
        params, distributions = recorded(self.space, choice)
        self._study.add_trial(
            optuna.trial.create_trial(state=state, values=values, params=params, distributions=distributions)
        )

    def origin(self, choice: Mapping[str, Pick]) -> Origin | None:
        return self._origins.of(choice)

    def _guard(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except ImportError as error:
            package = error.name or str(error)
            hint = f"install {package}, or use tpe" if error.name else "use tpe"
            raise InputError(f"Optuna's sampler '{self._name}' needs the package '{package}'", hint=hint) from None
        except ValueError as error:
            raise InputError(f"Optuna's sampler '{self._name}' cannot search this: {error}") from None


@sampler("tpe")
class Tpe(Optuna):
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), random for the first `startup` trials."""

    def __init__(self, spec: SearchSpec, *, startup: int = 10) -> None:
        super().__init__(spec, options={"n_startup_trials": at_least(0, "sampler 'tpe'", "startup", startup)})


def _drawn(made: Any, options: Mapping[str, Any]) -> float:
    """How many trials one of Optuna's samplers draws before it goes by values."""
    if type(made).__name__ in _DRAWS:
        return math.inf
    usual = {n: p.default for n, p in inspect.signature(type(made)).parameters.items()}
    return float(
        sum({**usual, **options}[n] for n in ("n_startup_trials", "population_size") if type(usual.get(n)) is int)
    )


def recorded(space: Space, choice: Mapping[str, Pick]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A choice as Optuna's (parameters, distributions); several picks of one decision are `name[0]`, `name[1]`, ..."""
    params: dict[str, Any] = {}
    distributions: dict[str, Any] = {}
    for d in space.decisions:
        if d.name not in choice or d.kind == "moves":  # Optuna has no such parameter
            continue
        pick = choice[d.name]
        names = [f"{d.name}[{i}]" for i in range(len(pick))] if isinstance(pick, tuple) else [d.name]
        params |= dict(zip(names, pick if isinstance(pick, tuple) else (pick,), strict=True))
        distributions |= dict.fromkeys(names, _distribution(d))
    return params, distributions


def _distribution(d: Decision) -> Any:
    from optuna import distributions

    if d.kind == "float":
        return distributions.FloatDistribution(d.low or 0.0, d.high or 0.0, log=d.log)
    if d.kind == "int":
        return distributions.IntDistribution(int(d.low or 0), int(d.high or 0), log=d.log)
    return distributions.CategoricalDistribution(tuple(range(len(d.labels))))


def _suggest(trial: Any, d: Decision) -> Pick:
    if d.kind == "float":
        return float(trial.suggest_float(d.name, d.low, d.high, log=d.log))
    if d.kind == "int":
        return int(trial.suggest_int(d.name, int(d.low or 0), int(d.high or 0), log=d.log))
    n = len(d.labels)
    if d.kind == "oneof":
        return int(trial.suggest_categorical(d.name, range(n)))
    picks: list[int] = []
    for i in range(n if d.kind == "permutate" else d.k):
        pick = int(trial.suggest_categorical(f"{d.name}[{i}]", range(n)))
        while (d.distinct or d.kind == "permutate") and pick in picks:
            pick = (pick + 1) % n  # a repair: Optuna's domains may not change from trial to trial
        picks.append(pick)
    return tuple(sorted(picks) if d.sorted else picks)


def _make(algorithm: str, seed: int, options: dict[str, Any]) -> Any:
    import optuna

    known = {n: n.removesuffix("Sampler").lower() for n in dir(optuna.samplers) if n.endswith("Sampler")}
    known = {n: short for n, short in known.items() if not n.startswith("Base")}
    wanted = algorithm.lower().replace("-", "").replace("_", "").removesuffix("sampler")
    name = next((n for n, short in known.items() if short == wanted), None)
    if name is None or name in _NEED_MORE:
        usable = sorted(set(known.values()) - {known[n] for n in _NEED_MORE})
        hint = _NEED_MORE.get(name or "") or near(algorithm, usable) or "samplers: " + ", ".join(usable)
        raise InputError(f"Optuna has no sampler '{algorithm}' that can be used here", hint=hint)
    cls = getattr(optuna.samplers, name)
    accepted = [p for p in inspect.signature(cls).parameters if p != "seed"]
    for option, value in options.items():
        if type(value) is int:
            at_least(0, f"Optuna's {name}", option, value)  # all of them count something
        if option not in accepted:
            raise InputError(
                f"Optuna's {name} takes no '{option}'",
                hint=near(option, accepted) or "options: " + ", ".join(accepted),
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return cls(seed=seed % _SEEDS, **options)
        except (TypeError, ValueError) as error:
            raise InputError(f"Optuna's {name} takes no such options: {placed(error)}") from None
