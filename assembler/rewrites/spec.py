"""Rewrites as recipes and the command line write them, read without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assembler.errors import AssemblerError, Problem, RecipeError
from assembler.recipe.values import Map, Seq, Value, plain
from assembler.registry import checks, lookup
from assembler.rewrites.core import Rewrite

Written = str | Mapping[str, Any]


@dataclass(frozen=True)
class Order:
    """A rewrite and the sites that it is to be applied at."""

    rewrite: Rewrite
    at: str = "*"


def order(written: Written, at: str = "*") -> Order:
    """What `fold_batch_norm` or `{rewrite: low_rank, at: head, rank: 8}` says; `at` is where it says no place.

    Raises RecipeError for a rewrite that there is not, and for options that it does not take.
    """
    given = {"rewrite": written} if isinstance(written, str) else dict(written)
    name, place = given.pop("rewrite", None), given.pop("at", at)
    if not isinstance(name, str):
        raise RecipeError("a rewrite needs its name", hint="for instance {rewrite: low_rank, at: head, rank: 8}")
    if not isinstance(place, str):
        raise RecipeError(f"'at' of rewrite '{name}' must be a path, not {checks.shown(place)}")
    try:
        entry = lookup("rewrite", name)
        if problems := list(checks.problems(entry, given, lambda _: None)):
            raise RecipeError(problems)
        return Order(entry.load()(**given), place)
    except AssemblerError as error:  # an unknown name, or what the rewrite says of its options
        raise RecipeError(error.problems) from None


def moves_problems(section: Value) -> Iterator[Problem]:
    """What is wrong with the rewrites of a recipe's `moves:`, each at its place."""
    written = section.get("of") if isinstance(section, Map) else section
    for one in written if isinstance(written, Seq) else ():
        try:
            said = plain(one)
            if not isinstance(said, str | dict):
                raise RecipeError("a rewrite needs its name", hint="for instance {rewrite: widen, at: stage.*}")
            wanted = order(said).rewrite
            if wanted.needs_model:
                looks = "weights" if wanted.needs_weights else "values on data"
                what = f"'{wanted.name}' looks at {looks}, and a search's candidates have none yet"
                raise RecipeError(what, hint="it can be a phase of a run: rewrite: {apply: [...]}")
        except RecipeError as error:
            yield from error.at(one.span).problems


def orders(written: Sequence[Written], at: str = "*") -> tuple[Order, ...]:
    """Several of them, in order."""
    return tuple(order(one, at) for one in written)
