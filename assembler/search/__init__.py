"""Search over the choices of a recipe: samplers, the study loop, exact assembly under budgets, Pareto fronts.

Optuna and PyGlove are imported only by the samplers that need them, and Optuna by storages.
"""

from assembler.search.exact import Additive, BudgetError, Solution, solutions, solve
from assembler.search.pareto import Direction, front, hypervolume
from assembler.search.samplers import Sampler, SearchSpec, Values, make
from assembler.search.shared import StudyLog
from assembler.search.storage import load_study, open_study
from assembler.search.study import Study, Trial, run

__all__ = [
    "Additive",
    "BudgetError",
    "Direction",
    "Sampler",
    "SearchSpec",
    "Solution",
    "Study",
    "StudyLog",
    "Trial",
    "Values",
    "front",
    "hypervolume",
    "load_study",
    "make",
    "open_study",
    "run",
    "solutions",
    "solve",
]
