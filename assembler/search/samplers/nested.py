"""A search inside a search: an outer one over some decisions, for each of its choices an inner one over the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assembler.errors import InputError, near
from assembler.recipe.choices import Choice, Decision, Pick, Space
from assembler.registry import sampler
from assembler.search.least import at_least
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers import make
from assembler.search.samplers.base import Origin, Sampler, SearchSpec, Values

_TRIES = 64  # choices of the outer search in a row about which nothing is left to ask


@dataclass
class _Inside:
    """The search inside one choice of the outer one. `left` are to be asked, `open` are asked and not told."""

    choice: Choice
    sampler: Sampler
    left: int
    open: set[Frozen] = field(default_factory=set)
    best: Values | None = None
    found: Choice = field(default_factory=dict)
    """The choice inside that is the best."""

    def tell(self, rest: Choice, values: Values | None) -> None:
        self.open.discard(frozen(rest))
        self.sampler.tell(rest, values)
        if values is not None and (self.best is None or values > self.best):
            self.best, self.found = values, rest


@sampler("nested")
class Nested(Sampler):
    """The sampler `outer` over the decisions `over`; each of its choices is worth the best that `inner` finds to it.

    `inner` searches all other decisions, `trials` of them for one choice of the outer one (a nested search flow, Peng
    et al., PyGlove, 2020). `over` names decisions, `*` standing for one part; what a candidate opens goes with it.
    """

    def __init__(
        self,
        spec: SearchSpec,
        *,
        over: str | list[str],
        outer: str | dict[str, Any] = "evolution",
        inner: str | dict[str, Any] = "evolution",
        trials: int = 10,
    ) -> None:
        super().__init__(spec)
        self._trials, self._inner = at_least(1, "sampler 'nested'", "trials", trials), inner
        names = _named(spec.space, [over] if isinstance(over, str) else over)
        self._over, self._rest = (_part(spec.space, names, inside) for inside in (True, False))
        if not self._rest.decisions:
            raise InputError("sampler 'nested' has nothing to search inside", hint="leave decisions out of `over`")
        self._spec = replace(spec, graph=None, additive=None)
        self._outer = make(outer, replace(self._spec, space=self._over))
        make(inner, replace(self._spec, space=self._rest))  # raises what is wrong with it
        self._inside: dict[Frozen, _Inside] = {}
        self._known: dict[Frozen, list[tuple[Choice, Values | None]]] = {}
        self._now: _Inside | None = None

    def ask(self) -> Choice | None:
        for _ in range(_TRIES):
            now = self._now = self._now or self._next()
            if now is None:
                return None
            rest = now.sampler.ask() if now.left > 0 else None
            if rest is not None:
                now.left -= 1
                now.open.add(frozen(rest))
                whole = {**now.choice, **rest}
                return self._ordered(whole)
            now.left, self._now = 0, None
            self._end(now)
        return None

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        over, rest = self._split(choice)
        inside = self._inside.get(frozen(over))
        if inside is None:
            self._known.setdefault(frozen(over), []).append((rest, values))
            return
        waited = frozen(rest) in inside.open
        inside.tell(rest, values)
        if waited and inside is not self._now:
            self._end(inside)

    def parent(self, choice: Mapping[str, Pick]) -> Choice | None:
        """What the inner search made it from; of the first one inside a choice of the outer search, that one's parent.

        The outer one's is the best that was found in it.
        """
        over, rest = self._split(choice)
        inside = self._inside.get(frozen(over))
        if inside is None:
            return None
        if (near := inside.sampler.parent(rest)) is not None:
            return self._ordered({**over, **near})
        from_ = self._outer.parent(over)
        before = self._inside.get(frozen(from_)) if from_ else None
        return self._ordered({**before.choice, **before.found}) if before and before.best else None

    def origin(self, choice: Mapping[str, Pick]) -> Origin | None:
        over, rest = self._split(choice)
        inside = self._inside.get(frozen(over))
        found = inside.sampler.origin(rest) if inside else None
        return found and Origin(found.words, found.best and self._ordered({**over, **found.best}))

    def _split(self, choice: Mapping[str, Pick]) -> tuple[Choice, Choice]:
        """The decisions of the outer search and the others."""
        over, rest = ({d.name: choice[d.name] for d in part.decisions if d.name in choice}
                      for part in (self._over, self._rest))  # fmt: skip
        return over, rest

    def _ordered(self, whole: Mapping[str, Pick]) -> Choice:
        return {d.name: whole[d.name] for d in self.space.active(whole)}

    def _next(self) -> _Inside | None:
        """The search inside the outer one's next choice, which may have been looked into before."""
        choice = self._outer.ask()
        if choice is None:
            return None
        key = frozen(choice)
        if key not in self._inside:
            spec = replace(self._spec, space=self._rest, seed=self.spec.seed + len(self._inside))
            self._inside[key] = _Inside(choice, make(self._inner, spec), self._trials)
            for rest, values in self._known.pop(key, ()):
                self._inside[key].tell(rest, values)
                self._inside[key].left -= 1
        else:
            self._inside[key].left += self._trials
        return self._inside[key]

    def _end(self, inside: _Inside) -> None:
        """Tell the outer search what a choice of it is worth, once all that was asked inside has been told."""
        if not inside.open and inside.left <= 0:
            self._outer.tell(inside.choice, inside.best)


def _named(space: Space, patterns: list[str]) -> set[str]:
    """The decisions that lie in no other and that the patterns name. Raises InputError for one that names none."""
    roots, found = [d.name for d in space.decisions if not d.when], set[str]()
    for pattern in patterns:
        form = re.compile(re.escape(pattern).replace(r"\*", r"[^.\[\]]+"))
        names = [name for name in roots if form.fullmatch(name)]
        if not names:
            hint = near(pattern, roots) or f"decisions: {', '.join(roots)}"
            raise InputError(f"sampler 'nested' finds no decision '{pattern}'", hint=hint)
        found.update(names)
    return found


def _part(space: Space, names: set[str], inside: bool) -> Space:
    """The decisions under those of the names, or the others; constraints are held against whole choices."""

    def root(d: Decision) -> str:
        return d.when[0][0] if d.when else d.name

    return Space(tuple(d for d in space.decisions if (root(d) in names) is inside))
