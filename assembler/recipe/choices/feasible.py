"""The choices that meet the constraints on decisions: how many, drawn uniformly, and what leaves none.

Constraints tie decisions together. Only the decisions that they read, and those these lie in, are enumerated; all
others are counted, so that the work grows with what the constraints say and not with the space.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from assembler.errors import Problem, RecipeError
from assembler.recipe.choices.counting import Tree
from assembler.recipe.choices.decision import Choice, Decision
from assembler.recipe.choices.where import Rule

_DRAWS = 20_000


@dataclass
class _Tied:
    """Root decisions that constraints tie together; `inner` holds those of their decisions that are read."""

    roots: list[Decision]
    rules: list[Rule]
    inner: Tree
    read: set[str]
    countless: bool
    found: list[Choice] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)
    done: bool = False


class Feasible:
    """Counts and draws choices of a tree under those rules that read no costs."""

    def __init__(self, tree: Tree, rules: Sequence[Rule]) -> None:
        self.tree = tree
        self.rules = [rule for rule in rules if not rule.costs]
        self.tied = list(_components(tree, self.rules))
        bound = {d.name for one in self.tied for d in one.roots}
        self.free = [d for d in tree.roots if d.name not in bound]

    def count(self, most: int) -> int | None:
        """How many choices meet the rules, or None where `most` combinations are not enough to tell."""
        total = math.prod(map(self.tree.weight, self.free))
        for one in self.tied:
            if not self._fill(one, most):
                return None
            total *= one.sums[-1] if one.sums else 0
        return total

    def contradiction(self, most: int) -> Problem | None:
        """The fewest rules that leave nothing, in words, at the place of the first of them."""
        for one in self.tied:
            if not one.countless and one.inner.total <= most and next(self._kept(one, one.rules), None) is None:
                return self._said(self._fewest(one), one)
        return None

    def draw(self, rng: random.Random, most: int) -> Choice:
        """A choice that meets the rules, all equally likely."""
        fixed: Choice = {}
        loose: list[_Tied] = []
        for one in self.tied:
            if not self._fill(one, most):
                loose.append(one)
            elif one.sums:
                fixed |= one.found[bisect.bisect_right(one.sums, rng.randrange(one.sums[-1]))]
            else:
                raise RecipeError(self._said(self._fewest(one), one))
        for _ in range(_DRAWS):
            made = {d.name: p for d, p in self.tree.walk(lambda d: fixed[d.name] if d.name in fixed
                                                         else self.tree.draw(d, rng))}  # fmt: skip
            if not any(rule.refusal(made, {}) for one in loose for rule in one.rules):
                return made
        listed = ", ".join(f"'{rule.text}'" for one in loose for rule in one.rules)
        said = f"none of {_DRAWS:,} choices drawn meets where: {listed}"
        raise RecipeError(Problem(said, loose[0].rules[0].span, hint="loosen a constraint"))

    # -- what is tied together ---------------------------------------------------------------------------------------

    def _fill(self, one: _Tied, most: int) -> bool:
        """Enumerate what a component's rules read; whether that was possible."""
        if not one.done:
            if one.countless or one.inner.total > most:
                return False
            total = 0
            for choice in self._kept(one, one.rules):
                one.found.append(choice)
                total += self._rest(one, choice)
                one.sums.append(total)
            one.done = True
        return True

    @staticmethod
    def _kept(one: _Tied, rules: Sequence[Rule]) -> Iterator[Choice]:
        return (c for c in one.inner.every() if not any(rule.refusal(c, {}) for rule in rules))

    def _rest(self, one: _Tied, choice: Choice) -> int:
        """How many choices there are of what the rules do not read, where they find `choice`."""
        opened = (c for name, pick in choice.items() for c in self.tree.under(self.tree.by_name[name], pick))
        return math.prod(self.tree.weight(c) for c in opened if c.name not in one.read)

    def _fewest(self, one: _Tied) -> list[Rule]:
        """Rules of a component that leave nothing together, and none of which can be spared."""
        kept = list(one.rules)
        for rule in one.rules:
            rest = [r for r in kept if r is not rule]
            if rest and next(self._kept(one, rest), None) is None:
                kept = rest
        return kept

    def _said(self, rules: list[Rule], one: _Tied) -> Problem:
        first, *others = (f"'{rule.text}'" for rule in rules)
        size = one.inner.total
        hint = f"of {size:,} combinations of what it reads none meets it" if not others else (
            "each of them can be met alone" if len(others) == 1 else "any of them can be met without one of the others"
        )  # fmt: skip
        together = f"{', '.join([first, *others[:-1]])} and {others[-1]} leave" if others else f"{first} leaves"
        return Problem(f"where: {together} no choice", rules[0].span, hint=hint)


def _components(tree: Tree, rules: Sequence[Rule]) -> Iterator[_Tied]:
    """Roots, grouped so that no rule reads decisions of two groups."""
    root = {d.name: d.when[0][0] if d.when else d.name for d in tree.by_name.values()}
    groups: list[tuple[set[str], list[Rule]]] = []
    for rule in rules:
        names, mine = {root[name] for name in rule.decisions if name in root}, [rule]
        for group in [g for g in groups if g[0] & names]:
            groups.remove(group)
            names, mine = names | group[0], group[1] + mine
        groups.append((names, mine))
    for names, mine in groups:
        read = {name for rule in mine for name in rule.decisions if name in tree.by_name}
        read |= set(itertools.chain.from_iterable((n for n, _ in tree.by_name[name].when) for name in read))
        inner = [d for d in tree.by_name.values() if d.name in read]
        yield _Tied([tree.by_name[n] for n in names], mine, Tree(inner), read, any(d.size is None for d in inner))
