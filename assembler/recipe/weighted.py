"""All `weights:` of a model recipe: the model's own and those of its steps, by path."""

from __future__ import annotations

from collections.abc import Iterator

from assembler.errors import Problem, RecipeError
from assembler.recipe.edits import AFTER, EDITS, WEIGHTS, graph_text, is_new, places, text_paths
from assembler.recipe.expand import expand
from assembler.recipe.scope import vars_of
from assembler.recipe.steps import Step
from assembler.recipe.values import Map, Value, holds, is_choice
from assembler.recipe.weights import Weights, own_weights, weights_of_step

_NEW = "new"


def all_weights(tree: Map) -> dict[str, Weights]:
    """The `weights:` of a model (under "") and of its steps, outer ones first.

    Those of a repeated step are the weights of all copies together (`0.norm.weight`). Where an imported model is
    edited, its own are partial: what is new begins as it would without, or with those that its steps name. Raises
    RecipeError.
    """
    own = own_weights(tree)
    found = {"": own} if own is not None else {}
    if not in_steps(tree):
        return found
    if graph_text(tree):
        return found | _of_edits(tree)
    _add(expand(tree), found)
    return found


def in_steps(tree: Map) -> bool:
    """Whether any step of a model recipe names weights, be it one of its candidates."""
    edits = tree.get(EDITS)
    behind = isinstance(edits, Map) and any(path.endswith(f".{WEIGHTS}") for path in edits.keys())
    return behind or any(holds(tree.get(section), WEIGHTS) for section in ("graph", "blocks", EDITS))


def _of_edits(tree: Map) -> dict[str, Weights]:
    """Those of an imported model's edits: of its own steps and containers, and of steps that are new."""
    edits, known = tree.get(EDITS), text_paths(graph_text(tree))
    found: dict[str, Weights] = {}
    problems: list[Problem] = []
    for path, value in edits if isinstance(edits, Map) else ():
        owner, _, last = path.rpartition(".")
        there = places(known, owner) if last == WEIGHTS else []
        said = weights_of_step(Map(((WEIGHTS, value),)), vars_of(tree), problems) if there else None
        found |= dict.fromkeys(there, said) if said is not None else {}
    if problems:
        raise RecipeError(problems)
    for path, value in _new_steps(tree):
        inner: dict[str, Weights] = {}
        _add(expand(tree.drop(EDITS).set("graph", Map(((_NEW, value),)))), inner)
        found |= {f"{path}{name.removeprefix(_NEW)}": weights for name, weights in inner.items()}
    return found


def _new_steps(tree: Map) -> Iterator[tuple[str, Value]]:
    """What stands in an imported model in the place of its own steps, or behind them, by path."""
    edits, known = tree.get(EDITS), text_paths(graph_text(tree))
    for path, value in edits if isinstance(edits, Map) else ():
        if is_new(value) and not is_choice(value):
            step = value.drop(AFTER) if isinstance(value, Map) else value
            yield from ((place, step) for place in places(known, path) or [path])


def _add(steps: tuple[Step, ...], found: dict[str, Weights]) -> None:
    for step in steps:
        if step.weights is not None:
            found[step.path] = step.weights
        _add(step.shortcut, found)
        _add(step.body, found)
