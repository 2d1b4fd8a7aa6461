"""The assemblies with the best additive scores that fit the budget, best first."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Pick, Space
from assembler.registry import sampler
from assembler.search.exact import Additive, solutions
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers.base import Sampler, SearchSpec, Values


@sampler("exact")
class Exact(Sampler):
    """The optimum of the additive scores under the budget, then the next best, `pool` in all, in order of score.

    Needs additive scores for every slot; the space must be plain slots (`$oneof` without conditions). The first
    `ask` raises BudgetError where nothing fits.
    """

    def __init__(self, spec: SearchSpec, *, pool: int = 16) -> None:
        if spec.additive is None:
            raise InputError(
                "the exact sampler needs additive scores of the parts", hint="use random, tpe or evolution"
            )
        _check(spec.space, spec.additive)
        labelled = replace(spec.additive, labels={d.name: d.labels for d in spec.space.decisions})
        super().__init__(replace(spec, additive=labelled))
        self._left = itertools.islice(solutions(labelled), pool)
        self._told: set[Frozen] = set()

    def ask(self) -> Choice | None:
        fresh = (s.choice for s in self._left if frozen(s.choice) not in self._told)
        found = next(fresh, None)
        return None if found is None else {**found}

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._told.add(frozen(choice))


def _check(space: Space, additive: Additive) -> None:
    for d in space.decisions:
        if d.kind != "oneof" or d.when:
            what = "depends on another decision" if d.when else f"is {d.kind}"
            raise InputError(f"the exact sampler needs independent oneof slots, but '{d.name}' {what}")
        if len(additive.scores.get(d.name, ())) != len(d.labels):
            raise InputError(f"the exact sampler needs {len(d.labels)} scores for slot '{d.name}'")
    if extra := sorted(set(additive.scores) - {d.name for d in space.decisions}):
        raise InputError(f"there are scores for '{extra[0]}', which is no slot of the space")
