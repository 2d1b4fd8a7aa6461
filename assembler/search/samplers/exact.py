"""The assemblies with the best additive scores that fit the budget, best first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Pick, Space
from assembler.registry import sampler
from assembler.search.exact import Additive, diverse, solutions
from assembler.search.least import at_least
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers.base import Sampler, SearchSpec, Values


@sampler("exact")
class Exact(Sampler):
    """The optimum of the additive scores under the budget, then the next best, `pool` in all, in order of score.

    Constraints that are linear in parameters and FLOPs are a part of the program; what breaks another one gives its
    place in the pool to the next best. With `apart` above 1 every further one differs from all before it in at least
    so many slots: the next best are otherwise near twins of the best, which scores of single parts misjudge alike.
    Needs additive scores for every slot; the space must be plain slots (`$oneof` without conditions). The first `ask`
    raises BudgetError where nothing fits.
    """

    def __init__(self, spec: SearchSpec, *, pool: int = 16, apart: int = 1) -> None:
        if spec.additive is None:
            raise InputError(
                "the exact sampler needs additive scores of the parts", hint="use random, tpe or evolution"
            )
        _check(spec.space, spec.additive)
        labelled = replace(spec.additive, labels={d.name: d.labels for d in spec.space.decisions})
        super().__init__(replace(spec, additive=labelled))
        distance = at_least(1, "sampler 'exact'", "apart", apart)
        self._solutions = solutions(labelled) if distance == 1 else diverse(labelled, distance)
        self._most = self._left = at_least(1, "sampler 'exact'", "pool", pool)
        self._open: set[Frozen] = set()
        self._told: dict[Frozen, bool] = {}

    def ask(self) -> Choice | None:
        while self._left > 0 and (found := next(self._solutions, None)) is not None:
            key = frozen(found.choice)
            self._left -= self._told.get(key, True)
            if key not in self._told:
                self._open.add(key)
                return {**found.choice}
        return None

    def most(self) -> float:
        return min(self._most, super().most())

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        key = frozen(choice)
        if key in self._open and values is None:
            self._left += 1
        self._open.discard(key)
        self._told[key] = values is not None


def _check(space: Space, additive: Additive) -> None:
    for d in space.decisions:
        if d.kind != "oneof" or d.when:
            what = "depends on another decision" if d.when else f"is {d.kind}"
            raise InputError(f"the exact sampler needs independent oneof slots, but '{d.name}' {what}")
        if len(additive.scores.get(d.name, ())) != len(d.labels):
            raise InputError(f"the exact sampler needs {len(d.labels)} scores for slot '{d.name}'")
    if extra := sorted(set(additive.scores) - {d.name for d in space.decisions}):
        raise InputError(f"there are scores for '{extra[0]}', which is no slot of the space")
