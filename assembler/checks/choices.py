"""What holds of a recipe's choices: how many there are, that they are PyGlove's, and that they change nothing else."""

from __future__ import annotations

import itertools
from typing import Literal

from assembler.checks.subject import Subject
from assembler.registry import check
from assembler.symbolic.recipe import Coder, symbolic, tree
from assembler.wiring.build import build


@check(choices=True)
def choices(model: Subject, *, by: Literal["product", "list", "pyglove"] = "product") -> int:
    """How many choices the recipe has: counted, listed one after the other, or as PyGlove's `dna_spec` says.

    Constraints (`where:`) leave out what is listed alone.
    """
    space = model.openings.space
    if by == "pyglove":
        return Coder(symbolic(model.openings.document)).size
    return sum(1 for _ in space.every()) if by == "list" else space.size if space.size is not None else -1


@check(choices=True)
def lost_choices(model: Subject, *, most: int = 1000, made: int = 30) -> int:
    """How many choices, of the first `most`, are another one after they were made PyGlove's DNA and back.

    Of `made` of them PyGlove's candidate is made too: that must be our graph, and encode to the same choice.
    """
    recipe = symbolic(model.openings.document)
    coder, every = Coder(recipe), [*itertools.islice(model.openings.space.every(), most)]
    lost = [choice for choice in every if coder.choice(coder.dna(choice)) != choice]
    for choice in every[:: max(1, len(every) // made)]:
        candidate = coder.candidate(coder.dna(choice))
        ours, theirs = (build(tree(one), name="candidate") for one in (recipe.decided(choice), candidate))
        lost += [choice] * (ours != theirs or coder.choice_of(candidate) != choice)
    return len(lost)


@check(choices=True)
def strays(model: Subject, *, most: int = 50) -> int:
    """How many values of candidates differ (`pg.diff`) from the recipe's first candidate where no decision differs.

    It looks at `most` choices that are drawn with the claim's seed.
    """
    space, recipe = model.openings.space, symbolic(model.openings.document)
    source = model.random()
    return sum(len(recipe.strays(space.first, space.sample(source))) for _ in range(most))
