"""What is wrong with a `search:`: who asks for trials, and what makes them cheaper (screen, pruner, supernet)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from assembler import registry
from assembler.errors import Problem, RecipeError, near
from assembler.pipeline.checking.given import arguments, registered, training
from assembler.pipeline.checking.limits import ADDED, costs
from assembler.recipe.choices import Space
from assembler.recipe.choices.where import COSTS
from assembler.recipe.scope import Scope
from assembler.recipe.values import Leaf, Map, Value, plain

USUAL = {"parts": "exact"}
"""The sampler of a mode where none is said; of others it is tpe."""
MEASURED = ("validation", "loss", "train_flops", "steps")
"""What a training gives that a search may be about, beside the costs."""
RECKONED = tuple(name for name in COSTS if name not in MEASURED)
"""The costs that an objective may be of: `steps` are those of its training, not of the graph."""
PARTS = "a run has them: split: [stage.*], and phases: {meta: {}, incubate: {}, search: {mode: parts}}"


def section(value: Value, decisions: Space, names: Scope) -> Iterator[Problem]:
    """What is wrong with a space's `search:` section; `names` are the vars of its first candidate."""
    if not isinstance(value, Map):
        yield Problem("'search' must be a mapping", value.span, hint="for instance {data: digits, trials: 20}")
        return
    yield from arguments(registry.settings("search"), value, value.span)
    if "data" in value:
        yield from registered("dataset", value.get("data"), "name")
    yield from asked(value, decisions)
    yield from training(value.get("train"), names)
    if any(key in value for key in ("mode", "screen", "prune", "supernet", "objectives")):
        yield from cheaper(value)
    yield from costs(value.get("budget"))


def asked(search: Map, space: Space, default: str = "trials") -> Iterator[Problem]:
    """The problems of who asks for trials and of how many; `default` is the mode if none is written."""
    from assembler.pipeline.checking import making  # what a recipe does not have is not imported

    for key, said in numbers({key: plain(value) for key, value in search}):
        yield Problem(said, search.get(key).span)
    mode = str(plain(search.get("mode") or Leaf(default)))
    goals = plain(search.get("objectives") or Map())
    sampler = _given(search, "sampler") or Leaf(USUAL.get(mode, "tpe"), search.span)
    objectives = len(goals) if isinstance(goals, dict) else 1
    yield from making.sampler(sampler, space, objectives or 1, parts=mode == "parts")


def numbers(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings of a search that are numbers out of range, and what is wrong with each."""
    trials, seed = given.get("trials"), given.get("seed")
    if type(trials) is int and trials < 1:
        yield "trials", f"a search needs a trial, not {trials}"
    if type(seed) is int and seed < 0:
        yield "seed", f"'seed' of a search is at least 0, not {seed}"


def cheaper(search: Map, default: str = "trials") -> Iterator[Problem]:
    """The problems of what makes trials cheaper, each at its place; `default` is the mode if none is written."""
    if (screen := _given(search, "screen")) is not None:
        yield from _screen(screen)
    if (prune := _given(search, "prune")) is not None:
        from assembler.pipeline.checking import making  # as above

        yield from making.pruner(prune)
        yield from _objectives(search, prune)
    mode = plain(search.get("mode") or Leaf(default))
    if (supernet := _given(search, "supernet")) is not None:
        from assembler.train.supernet import SupernetSpec  # what a recipe does not have is not imported

        yield from _section("supernet", supernet, lambda given: SupernetSpec(**given), "{train: spos, epochs: 10}")
        if mode in ("trials", "inherit", "parts"):
            hint = "write mode: supernet beside it"
            yield Problem(f"'supernet' is for mode: supernet, not {mode}", search.key_span("supernet"), hint=hint)
    if mode == "parts" and default != "parts":
        yield Problem("a space has no slots with trained parts to search", search.get("mode").span, hint=PARTS)
        return
    for key in {"supernet": ("prune",), "parts": ("prune", "screen", "train")}.get(str(mode), ()):
        if _given(search, key) is not None:
            yield Problem(f"with mode: {mode} no trial is trained, so that {_NOTHING[key]}", search.key_span(key))

    goals = search.get("objectives")
    measured = ("loss", "validation") if mode == "parts" else MEASURED
    reckoned = ADDED if mode == "parts" else RECKONED
    for name, goal in goals if isinstance(goals, Map) else ():
        for problem in goal_problems(name, plain(goal), measured, reckoned):
            yield replace(problem, span=goals.key_span(name), path="")


def goal_problems(
    name: str, goal: object, measured: Sequence[str] | None = MEASURED, reckoned: Sequence[str] = RECKONED
) -> Iterator[Problem]:
    """What is wrong with an objective: costs that are `reckoned` and what is `measured` are known.

    Where `measured` is None a function measures anything.
    """
    path, known = f"search.objectives.{name}", (*(measured or ()), *reckoned)
    if measured is not None and name not in known:
        hint = near(name, known) or f"metrics and costs: {', '.join(known)}"
        yield Problem(f"there is no metric '{name}'", path=path, hint=hint)
    if goal not in ("maximize", "minimize"):
        yield Problem(f"'{name}' is to maximize or to minimize, not to '{goal}'", path=path)


def _given(search: Map, key: str) -> Value | None:
    value = search.get(key)
    return None if value is None or plain(value) is None else value


_NOTHING = {
    "prune": "none can be pruned",
    "screen": "a screen spares nothing",
    "train": "there is nothing to say of trainings",
}


def _screen(screen: Value) -> Iterator[Problem]:
    from assembler.search.screenspec import PREDICTOR, ScreenSpec  # as above

    yield from _section("screen", screen, lambda given: ScreenSpec(**{"by": "", **given}), "{by: synflow, keep: 0.25}")
    by = screen.get("by") if isinstance(screen, Map) else None
    if by is not None and plain(by) != PREDICTOR:
        yield from registered("proxy", by, "name")


def _section(name: str, value: Value, make: Callable[[dict[str, Any]], object], example: str) -> Iterator[Problem]:
    """The problems of a mapping of settings: of its keys and types, then of each value by itself."""
    if not isinstance(value, Map):
        yield Problem(f"'{name}' must be a mapping", value.span, hint=f"for instance {example}")
        return
    found = list(arguments(registry.settings(name), value, value.span))
    yield from found
    for key, given in value:
        if not any(f"'{key}'" in p.message for p in found):
            try:
                make({key: plain(given)})
            except RecipeError as error:
                yield from error.at(given.span).problems


def _objectives(search: Map, prune: Value) -> Iterator[Problem]:
    """A pruner has to take as many objectives as there are."""
    goals = search.get("objectives")
    name = plain(prune.get("name") or Leaf("")) if isinstance(prune, Map) else plain(prune)
    entry = registry.find("pruner", str(name))
    if entry and isinstance(goals, Map) and len(goals) > 1 and not entry.option("multi", False):
        said = f"pruner '{name}' follows one objective, not {len(goals)}"
        yield Problem(said, search.key_span("prune"), hint="use dominance")
