"""The copies of a step with `for` or `repeat`: what names each of them has, and which of them read what."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from assembler.errors import RecipeError
from assembler.recipe.expressions import is_expression, parse
from assembler.recipe.scope import Scope, origin
from assembler.recipe.values import Leaf, Map, Seq, Value
from assembler.registry.checks import shown

if TYPE_CHECKING:
    from assembler.recipe.expand import Expander

DEPTH = "where how many is a choice, choose a list of what each copy has, for 'for' (docs/spaces.md, Choices)"
"""How a depth is chosen together with what each copy has."""
BAD = object()
"""Stands for a value whose expression failed; the failure is noted already."""


def names_of_copies(work: Expander, step: Map, scope: Scope) -> list[dict[str, Any]]:
    """The names of each copy of a repeated step, with their values: those of `for` and `i`, or `j`."""
    if "repeat" in step:
        n = work.value(step.get("repeat"), scope)
        if n is BAD:
            return []
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            hint = "for instance repeat: 3, or repeat: =depth"
            said = f"'repeat' must be a whole number from 0 on, not {shown(n)}"
            work.note(said, origin(step.get("repeat"), scope), hint)
            return []
        return [{"j": j} for j in range(work.bounded(n, step.get("repeat").span))]
    section = step.get("for")
    if not isinstance(section, Map) or not len(section):
        hint = "for instance {w: =widths, n: =depths}"
        work.note("'for' must be a mapping of names to lists", section.span, hint)
        return []
    lists = {name: work.value(v, scope) for name, v in section}
    for name, found in lists.items():
        if found is not BAD and not isinstance(found, list | tuple):
            work.note(f"'for' needs a list for '{name}', not {shown(found)}", section.get(name).span)
    if not all(isinstance(v, list | tuple) for v in lists.values()):
        return []
    lengths = {name: len(v) for name, v in lists.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        hint = "a copy takes one value of every list"
        work.note(f"the lists of 'for' differ in length: {said}", section.span, hint)
    count = work.bounded(min(lengths.values()), section.span)
    return [{**{name: v[i] for name, v in lists.items()}, "i": i} for i in range(count)]


def copies_are(step: Map, count: int) -> str:
    """The numbers of a step's copies, as a hint to who names another one."""
    has = f"its copies are 0 to {count - 1}" if count else "it has no copies"
    n = step.get("repeat")
    if not isinstance(n, Leaf) or not is_expression(n.value):
        return has
    return f"{has}, as 'repeat: {n.value}' says; {DEPTH}"


def reads_by_copy(step: Map, copies: Iterable[Collection[str]]) -> bool:
    """Whether `from` names something that differs between the copies of a step, so that each reads for itself."""
    source = step.get("from")
    names = {"i", "j", "t"}.union(*copies)
    return source is not None and any(mentioned(source, names))


def mentioned(value: Value, names: Collection[str]) -> list[str]:
    """Those of some names that the expressions in a value have."""
    if isinstance(value, Leaf) and is_expression(value.value):
        try:
            return sorted(parse(str(value.value), value.span).names & set(names))
        except RecipeError:  # which is noted where the expression is evaluated
            return []
    inner = [v for _, v in value] if isinstance(value, Map) else list(value) if isinstance(value, Seq) else []
    return [name for v in inner for name in mentioned(v, names)]
