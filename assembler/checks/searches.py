"""What a search does among a recipe's choices: how good what it finds is, and that the recipe stays as it was."""

from __future__ import annotations

import math
import statistics
from contextlib import suppress
from typing import Literal

from assembler.checks.openings import Score
from assembler.checks.subject import Subject
from assembler.errors import RecipeError, TaskError
from assembler.recipe.choices import Space
from assembler.recipe.document import beside
from assembler.recipe.values import Leaf
from assembler.recipe.write import to_yaml
from assembler.registry import check
from assembler.search.moves import mutate
from assembler.symbolic.recipe import sampled, symbolic


@check(choices=True, objectives=("objective",))
def found(
    model: Subject, *, objective: str, trials: int = 60, figure: Literal["best", "mean", "regret"] = "best"
) -> float:
    """The best value of an objective that a search with the recipe's sampler finds in so many trials.

    The objective is an expression over decisions, by path, and costs, as in `where:`, and nothing is trained; as the
    metric of arms it may be `validation`, for which every choice is trained once as `search:` says. Other figures are
    the mean of all that was tried, and the regret: what the best of all choices is better by. The claim's seed is the
    sampler's.
    """
    openings = model.openings
    value = openings.objective(objective)
    tried = [t.value for t in openings.search(value, trials, model.seed).trials if t.value is not None]
    if not tried:
        raise RecipeError("the search found no candidate")
    if figure == "mean":
        return statistics.fmean(tried)
    return _best(value, openings.space) - max(tried) if figure == "regret" else max(tried)


def _best(value: Score, space: Space) -> float:
    """The best of all choices that have a value."""
    found = -math.inf
    for choice in space.every():
        with suppress(TaskError):
            found = max(found, value(choice))
    return found


@check(choices=True, objectives=("objective",))
def locality(model: Subject, *, objective: str, pairs: int = 1000) -> float:
    """The correlation of an objective's values between choices of which one decision differs.

    It is 1 where such neighbours are worth the same, 0 where they tell nothing of each other.
    """
    value, space, source = model.openings.objective(objective), model.openings.space, model.random()
    firsts = [space.uniform(source) for _ in range(pairs)]
    seconds = [mutate(space, choice, source) for choice in firsts]
    return statistics.correlation([*map(value, firsts)], [*map(value, seconds)])


@check(choices=True, objectives=("objective",))
def changed_by_search(model: Subject, *, objective: str, trials: int = 20) -> int:
    """How many things are others after searches than before: the recipe, its child in PyGlove's hands, their files.

    One search is with the recipe's sampler, one `pg.sample` of the symbolic recipe.
    """
    openings = model.openings
    document, child, base = openings.document, symbolic(openings.document), openings.document.tree.get("base")
    named = [document, *([beside(document, base)] if isinstance(base, Leaf) else [])]
    files = [one.file for one in named if one.file]
    before = to_yaml(document.model), child.clone(deep=True), *(file.read_bytes() for file in files)
    value = openings.objective(objective)
    openings.search(value, trials, model.seed)
    sampled(child, value, trials, model.seed)
    after = to_yaml(document.model), child, *(file.read_bytes() for file in files)
    return sum(one != other for one, other in zip(before, after, strict=True))
