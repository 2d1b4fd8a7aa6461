"""PyGlove's search algorithms: the space as a DNA specification with our names, DNA out, choices in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Decision, Pick, Space
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
            mutator, sizes = _mutator(spec.space, spec.seed), (population_size, tournament_size)
            self._algorithm = pg.evolution.regularized_evolution(mutator, *sizes, seed=spec.seed)
        self._children = _children(spec.space)
        self._dna_spec = _spec(self._children, "", 0)
        self._algorithm.setup(self._dna_spec)
        self._open: defaultdict[Frozen, list[Any]] = defaultdict(list)

    def ask(self) -> Choice:
        if not self.space.decisions:
            return {}
        dna = self._algorithm.propose()
        choice = dict(_decode(self._children, "", 0, iter(dna.to_numbers())))
        ordered = {d.name: choice[d.name] for d in self.space.decisions if d.name in choice}
        self._open[frozen(ordered)].append(dna)
        return ordered

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        pending = self._open[frozen(choice)]
        dna = pending.pop(0) if pending else None
        if values is None or not self.space.decisions:
            return
        self._algorithm.feedback(dna or self._foreign(choice), float(values[0]))

    def _foreign(self, choice: Mapping[str, Pick]) -> Any:
        """DNA of a choice that PyGlove did not propose, with the marks that its evolution expects."""
        import pyglove as pg

        dna = pg.DNA.from_numbers(list(_encode(self._children, "", 0, choice)), self._dna_spec)
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


Children = dict[tuple[str, int], list[Decision]]


def _children(space: Space) -> Children:
    """The decisions that each candidate opens; those that are always open under ("", 0)."""
    children: Children = {}
    for d in space.decisions:
        children.setdefault(d.when[-1] if d.when else ("", 0), []).append(d)
    return children


def _spec(children: Children, name: str, index: int) -> Any:
    import pyglove as pg

    return pg.geno.space([_point(children, d) for d in children.get((name, index), [])])


def _point(children: Children, d: Decision) -> Any:
    import pyglove as pg

    if not _listed(d):
        low, high = float(d.low or 0.0), float(d.high or 0.0)
        return pg.geno.floatv(low, high, scale="log" if d.log else None, location=d.name, name=d.name)
    count = len(d.labels) if d.kind != "int" else int(d.high or 0) - int(d.low or 0) + 1
    candidates = [_spec(children, d.name, i) for i in range(count)]
    if d.kind in ("oneof", "int"):
        return pg.geno.oneof(candidates, location=d.name, name=d.name)
    k, distinct = (count, True) if d.kind == "permutate" else (d.k, d.distinct)
    return pg.geno.manyof(k, candidates, distinct=distinct, sorted=d.sorted, location=d.name, name=d.name)


def _listed(d: Decision) -> bool:
    return d.kind != "float" and not (d.kind == "int" and (d.log or (d.size or 0) > _LISTED))


def _decode(children: Children, name: str, index: int, numbers: Iterator[Any]) -> Iterator[tuple[str, Pick]]:
    for d in children.get((name, index), []):
        if d.kind in ("manyof", "permutate"):
            k = len(d.labels) if d.kind == "permutate" else d.k
            yield d.name, tuple(int(next(numbers)) for _ in range(k))
        elif d.kind == "oneof":
            pick = int(next(numbers))
            yield d.name, pick
            yield from _decode(children, d.name, pick, numbers)
        elif d.kind == "int":
            number = next(numbers)
            yield d.name, int(d.low or 0) + int(number) if _listed(d) else round(number)
        else:
            yield d.name, float(next(numbers))


def _encode(children: Children, name: str, index: int, choice: Mapping[str, Pick]) -> Iterator[int | float]:
    for d in children.get((name, index), []):
        pick = choice[d.name]
        if isinstance(pick, tuple):
            yield from pick
        elif d.kind == "int":
            yield int(pick) - int(d.low or 0) if _listed(d) else float(pick)
        else:
            yield float(pick) if d.kind == "float" else pick
            yield from _encode(children, d.name, int(pick), choice) if d.kind == "oneof" else ()
