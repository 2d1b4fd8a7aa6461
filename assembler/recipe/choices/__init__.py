"""Choices in a recipe: the decisions that a search makes, their stable names, and the recipe that a decision gives.

    mixer: {$oneof: [pool, attention, {op: dwconv, kernel_size: 5}]}
    depth: {$int: [1, 6]}
    rate:  {$float: [1e-4, 1e-1], log: true}
    taps:  {$manyof: [0, 1, 2, 3], k: 2, sorted: true}
    order: {$permutate: [norm, mix, mlp]}

A decision is named by the recipe path that it fills; one inside a candidate by the path, the candidate's label in
brackets, and the rest (`stage.block.mixer[attention].num_heads`; inside the second pick of a `$manyof`,
`taps.1[conv].kernel_size`). Names hold no numbers of candidates, so a candidate can be added to a space without
renaming anything.
"""

from assembler.recipe.choices.decide import decide
from assembler.recipe.choices.decision import At, Choice, Decision, Kind, Pick
from assembler.recipe.choices.read import TRAINED, first, score, space
from assembler.recipe.choices.space import Space

__all__ = ["TRAINED", "At", "Choice", "Decision", "Kind", "Pick", "Space", "decide", "first", "score", "space"]
