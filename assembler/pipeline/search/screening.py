"""The `screen:` of a search at work: untrained candidates of a recipe, scored on one batch of its data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from assembler.assemble.proxies import Untrained, score
from assembler.errors import RecipeError, TrainingError
from assembler.pipeline.checking.objectives import TASK
from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.choices import Choice
from assembler.search.predictor import Predictor
from assembler.search.samplers import Sampler
from assembler.search.screen import ByScore, Scorer, Screen
from assembler.search.screenspec import PREDICTOR, ScreenSpec
from assembler.train.data.core import load
from assembler.train.objective import Objective


def screened(
    sampler: Sampler,
    said: Mapping[str, Any],
    candidates: Candidates,
    data: Callable[[], Mapping[str, Any]],
    budget: Mapping[str, float] | None = None,
) -> Screen:
    """The sampler behind the screen that a recipe's mapping says; candidates over the budget are not scored.

    `data` are asked for where the screen looks at samples.

    Raises RecipeError for a mapping that is none, AssemblerError for an unknown proxy.
    """
    spec, seed = ScreenSpec.from_spec(said), sampler.spec.seed

    def fits(choice: Choice) -> bool:
        if candidates.space.refusal(choice):
            return False
        try:
            costs = candidates.cost(choice)
        except RecipeError:
            return False
        return not candidates.space.refusal(choice, costs) and all(costs[n] <= m for n, m in (budget or {}).items())

    if spec.name == PREDICTOR:
        learns: Scorer = Predictor(candidates.space, candidates.graph, seed, fits)
        return Screen(sampler, learns, spec.keep, spec.of)
    batch = load(data()).train.head(spec.batch).fields

    def judged(choice: Choice) -> float | None:
        if not fits(choice):
            return None
        graph = candidates.graph(choice)
        objective = Objective.from_spec([{**TASK, "value": graph.outputs[0][0]}])
        try:
            return min(score(spec.by, Untrained(graph, batch, objective, seed)), sys.float_info.max)
        except TrainingError:  # the trial says it better
            return None

    return Screen(sampler, ByScore(judged), spec.keep, spec.of)
