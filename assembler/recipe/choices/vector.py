"""A choice as one row of numbers, in the order of the decision tree: what other tools call a genotype or DNA."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from assembler.recipe.choices.counting import Tree
from assembler.recipe.choices.decision import At, Decision, Pick

Listed = Callable[[Decision], bool]
"""Whether the values of a whole number are given by their place in the list of them, and not as they are."""


def decoded(tree: Tree, numbers: Iterator[Any], listed: Listed) -> Iterator[tuple[str, Pick]]:
    """The picks that a row of numbers stands for, in the order of the decisions."""
    return _decoded(tree, tree.roots, numbers, listed)


def encoded(tree: Tree, choice: Mapping[str, Pick], listed: Listed) -> Iterator[int | float]:
    """The row of numbers of a choice: a candidate by its place, then what it opens; of several picks each in turn."""
    return _encoded(tree, tree.roots, choice, listed)


def _decoded(
    tree: Tree, decisions: Sequence[Decision], numbers: Iterator[Any], listed: Listed
) -> Iterator[tuple[str, Pick]]:
    for d in decisions:
        if d.positions:
            picks, inside = [], list[tuple[str, Pick]]()
            for p in range(d.positions):
                picks.append(int(next(numbers)))
                inside += _decoded(tree, tree.children.get((d.name, At(p, picks[-1])), ()), numbers, listed)
            yield d.name, tuple(picks)
            yield from inside
        elif d.kind == "oneof":
            pick = int(next(numbers))
            yield d.name, pick
            yield from _decoded(tree, tree.under(d, pick), numbers, listed)
        elif d.kind == "int":
            number = next(numbers)
            yield d.name, int(d.low or 0) + int(number) if listed(d) else round(number)
        else:
            yield d.name, float(next(numbers))


def _encoded(
    tree: Tree, decisions: Sequence[Decision], choice: Mapping[str, Pick], listed: Listed
) -> Iterator[int | float]:
    for d in decisions:
        pick = choice[d.name]
        if isinstance(pick, tuple):
            for p, i in enumerate(pick):
                yield i
                yield from _encoded(tree, tree.children.get((d.name, At(p, i)), ()), choice, listed)
        elif d.kind == "int":
            yield int(pick) - int(d.low or 0) if listed(d) else float(pick)
        else:
            yield float(pick) if d.kind == "float" else pick
            yield from _encoded(tree, tree.under(d, pick), choice, listed) if d.kind == "oneof" else ()
