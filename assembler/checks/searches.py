"""What a search does among a recipe's choices: how good what it finds is, and that the recipe stays as it was."""

from __future__ import annotations

import statistics

from assembler.checks.subject import Subject
from assembler.errors import RecipeError
from assembler.recipe.document import beside
from assembler.recipe.values import Leaf
from assembler.recipe.write import to_yaml
from assembler.registry import check
from assembler.search.moves import mutate
from assembler.symbolic.recipe import sampled, symbolic


@check(choices=True, objectives=("objective",))
def found(model: Subject, *, objective: str, trials: int = 60) -> float:
    """The best value of an objective that a search with the recipe's sampler finds in so many trials.

    The objective is an expression over decisions, by path, and costs, as in `where:`; nothing is trained. The claim's
    seed is the sampler's.
    """
    openings = model.openings
    best = openings.search(openings.objective(objective), trials, model.seed).best
    if best is None or best.value is None:
        raise RecipeError("the search found no candidate")
    return best.value


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
