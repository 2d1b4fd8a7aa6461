"""All `weights:` of a model recipe: the model's own and those of its steps, by path."""

from __future__ import annotations

from assembler.recipe.expand import expand
from assembler.recipe.steps import Step
from assembler.recipe.values import Map, holds
from assembler.recipe.weights import Weights, own_weights


def all_weights(tree: Map) -> dict[str, Weights]:
    """The `weights:` of a model (under "") and of its steps, outer ones first.

    Those of a repeated step are the weights of all copies together (`0.norm.weight`). Where an imported model is
    edited, its own are partial: what is new begins as it would without. Raises RecipeError.
    """
    own = own_weights(tree)
    found = {"": own} if own is not None else {}
    if any(holds(tree.get(section), "weights") for section in ("graph", "blocks")):
        _add(expand(tree), found)
    return found


def _add(steps: tuple[Step, ...], found: dict[str, Weights]) -> None:
    for step in steps:
        if step.weights is not None:
            found[step.path] = step.weights
        _add(step.shortcut, found)
        _add(step.body, found)
