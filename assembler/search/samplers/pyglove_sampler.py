"""PyGlove's search algorithms: the space as a DNA specification with our names, DNA out, choices in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Decision, Pick, Space
from assembler.recipe.choices.counting import Tree
from assembler.recipe.choices.vector import decoded, encoded
from assembler.registry import sampler
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers.base import Sampler, SearchSpec, Values

_LISTED = 256  # an int range up to this size becomes a list of candidates; a wider one a rounded float


@sampler("pyglove")
class PyGlove(Sampler):
    """PyGlove's own regularised evolution or random search. Choices may repeat; a study replays those."""

    def __init__(
        self,
        spec: SearchSpec,
        *,
        algorithm: Literal["regularized_evolution", "random"] = "regularized_evolution",
        population_size: int = 20,
        tournament_size: int = 5,
    ) -> None:
        super().__init__(spec)
        import pyglove as pg

        if algorithm not in ("regularized_evolution", "random"):
            hint = "use regularized_evolution or random"
            raise InputError(f"the pyglove sampler has no algorithm '{algorithm}'", hint=hint)
        if not 2 <= tournament_size <= population_size:
            said = f"tournament_size {tournament_size}, population_size {population_size}"
            raise InputError(f"pyglove needs 2 <= tournament_size <= population_size, not {said}")
        if algorithm == "random":
            self._algorithm = pg.geno.Random(seed=spec.seed)
        else:
            from pyglove.ext import evolution

            mutator = evolution.Lambda(self._chosen) >> _mutator(spec.space, spec.seed)
            sizes = (population_size, tournament_size)
            self._algorithm = pg.evolution.regularized_evolution(mutator, *sizes, seed=spec.seed)
        self._tree = Tree(spec.space.decisions)
        self._dna_spec = _spec(self._tree, self._tree.roots)
        self._algorithm.setup(self._dna_spec)
        self._open: defaultdict[Frozen, list[Any]] = defaultdict(list)
        self._parents: dict[Frozen, Choice] = {}
        self._parent: Any = None  # the DNA that the last proposal was made from

    def ask(self) -> Choice:
        if not self.space.decisions:
            return {}
        self._parent = None
        dna = self._algorithm.propose()
        choice = self._choice(dna)
        self._open[frozen(choice)].append(dna)
        if self._parent is not None:
            self._parents[frozen(choice)] = self._choice(self._parent)
        return choice

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        pending = self._open[frozen(choice)]
        dna = pending.pop(0) if pending else None
        if values is None or not self.space.decisions:
            return
        self._algorithm.feedback(dna or self._foreign(choice), float(values[0]))

    def parent(self, choice: Mapping[str, Pick]) -> Choice | None:
        return self._parents.get(frozen(choice))

    def _chosen(self, population: list[Any]) -> list[Any]:
        """The members that PyGlove has chosen to mutate, noted on their way."""
        self._parent = population[0]
        return population

    def _choice(self, dna: Any) -> Choice:
        choice = dict(decoded(self._tree, iter(dna.to_numbers()), listed))
        return {d.name: choice[d.name] for d in self.space.decisions if d.name in choice}

    def _foreign(self, choice: Mapping[str, Pick]) -> Any:
        """DNA of a choice that PyGlove did not propose, with the marks that its evolution expects."""
        import pyglove as pg

        dna = pg.DNA.from_numbers(list(encoded(self._tree, choice, listed)), self._dna_spec)
        for key, mark in (("proposal_id", 0), ("generation_id", 0), ("initial_population", False)):
            dna.set_metadata(key, mark)
        return dna


def _mutator(space: Space, seed: int) -> Any:
    """PyGlove's uniform mutation; it leaves permutations as they are, so where there are any, half swap two picks."""
    from pyglove.ext import evolution

    uniform = evolution.mutators.Uniform(seed=seed)
    if not any(d.kind == "permutate" for d in space.decisions):
        return uniform
    return uniform >> evolution.mutators.Swap(seed=seed).with_prob(0.5, seed=seed)


def _spec(tree: Tree, decisions: Sequence[Decision], *, named: bool = True) -> Any:
    import pyglove as pg

    return pg.geno.space([_point(tree, d, named) for d in decisions])


def _point(tree: Tree, d: Decision, named: bool) -> Any:
    """A decision as PyGlove has it. Those inside one of several picks bear no name, since each pick has them."""
    import pyglove as pg

    where = {"location": d.name, "name": d.name if named else None}
    if not listed(d):
        low, high = float(d.low or 0.0), float(d.high or 0.0)
        return pg.geno.floatv(low, high, scale="log" if d.log else None, **where)
    if d.kind == "int":
        return pg.geno.oneof([_spec(tree, ()) for _ in range(d.size or 0)], **where)
    inside = named and d.kind == "oneof"
    candidates = [_spec(tree, tree.opened_by(d, i), named=inside) for i in range(len(d.labels))]
    if d.kind == "oneof":
        return pg.geno.oneof(candidates, **where)
    distinct = d.distinct or d.kind == "permutate"
    return pg.geno.manyof(d.positions, candidates, distinct=distinct, sorted=d.sorted, **where)


def listed(d: Decision) -> bool:
    """Whether PyGlove is given the values of a decision one by one."""
    return d.kind != "float" and not (d.kind == "int" and (d.log or (d.size or 0) > _LISTED))
