"""The decisions of a recipe tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from assembler.errors import Problem, RecipeError, near
from assembler.recipe.choices.decide import decide
from assembler.recipe.choices.decision import MOVES, At, Condition, Decision, Kind
from assembler.recipe.choices.labels import labels, said
from assembler.recipe.choices.space import Space
from assembler.recipe.notes import note_all
from assembler.recipe.paths import join
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice, plain
from assembler.registry.checks import shown

if TYPE_CHECKING:
    from assembler.recipe.choices.where import Rule

_OPTIONS = {
    "$oneof": set(),
    "$int": {"log"},
    "$float": {"log"},
    "$manyof": {"k", "distinct", "sorted"},
    "$permutate": set(),
}
MOST_DECISIONS = 20_000
MOST_MOVES = 16
MOST_PICKS = 1_000
Found = tuple[Decision, tuple[Any, ...]]
"""A decision and what its candidates say."""

TRAINED = "validation"
"""The objective that is what a choice is worth when it is trained."""


def space(tree: Map, problems: list[Problem] | None = None) -> Space:
    """Every decision of a recipe tree, in order, and the constraints on them.

    Raises RecipeError naming each malformed choice; with `problems` given, adds to that list and leaves them out.
    """
    noted: list[Problem] = []
    found = _found(tree, noted)
    where: tuple[Rule, ...] = ()
    if "where" in tree:
        from assembler.recipe.choices.where import rules  # few recipes have constraints

        where = rules(tree, {d.name: (d, values) for d, values in found}, noted)
    if noted and problems is None:
        raise RecipeError(noted)
    note_all(problems if problems is not None else [], noted)
    return Space(tuple(d for d, _ in found), where)


def score(said: str, tree: Map, what: str) -> Rule:
    """An expression over the decisions of a recipe tree and its costs, as in `where:`. Raises RecipeError."""
    from assembler.recipe.choices.where import formula  # as above

    return formula(said, tree, {d.name: (d, values) for d, values in _found(tree, [])}, what=what)


def _found(tree: Map, problems: list[Problem]) -> list[Found]:
    found: list[Found] = []
    for one in _decisions(tree.drop("where", MOVES), "", (), problems):
        found.append(one)
        if len(found) > MOST_DECISIONS:
            raise RecipeError(f"the recipe has more than {MOST_DECISIONS:,} decisions", hint="lower a block's depth")
    return [*found, *_moves(tree, problems)]


def first(tree: Map, decisions: Space) -> Map:
    """The recipe with the first candidate of every open choice."""
    return decide(tree, decisions.first)


def _decisions(value: Value, path: str, when: tuple[Condition, ...], problems: list[Problem]) -> Iterator[Found]:
    if is_choice(value):
        assert isinstance(value, Map)
        decision, candidates = _read(value, path, when, problems)
        if decision is None:
            return
        yield decision, tuple(said(c) for c in candidates)
        yield from _inside(decision, candidates, problems)
    elif isinstance(value, Map):
        for key, child in value:
            yield from _decisions(child, join(path, key), when, problems)
    elif isinstance(value, Seq):
        for index, child in enumerate(value):
            yield from _decisions(child, join(path, str(index)), when, problems)


def _inside(d: Decision, candidates: tuple[Value, ...], problems: list[Problem]) -> Iterator[Found]:
    """The decisions in the candidates of one; of several picks those at each position, which are made apart."""
    holding = [c for c, value in enumerate(candidates) if _has_choice(value)]
    if d.kind == "oneof":
        for c in holding:
            yield from _decisions(candidates[c], f"{d.name}[{d.labels[c]}]", (*d.when, (d.name, c)), problems)
        return
    for p in range(d.positions if holding else 0):
        for c in holding:
            if d.reaches(p, c):
                when = (*d.when, (d.name, At(p, c)))
                yield from _decisions(candidates[c], f"{d.name}.{p}[{d.labels[c]}]", when, problems)


def _has_choice(value: Value) -> bool:
    if is_choice(value):
        return True
    children = [v for _, v in value] if isinstance(value, Map) else list(value) if isinstance(value, Seq) else []
    return any(_has_choice(c) for c in children)


def _read(
    value: Map, path: str, when: tuple[Condition, ...], problems: list[Problem]
) -> tuple[Decision | None, tuple[Value, ...]]:
    """The decision that a choice mapping stands for and its candidates, or (None, ()) with the problem noted."""

    def wrong(message: str, key: str, hint: str = "") -> tuple[None, tuple[Value, ...]]:
        problems.append(Problem(message, value.key_span(key) or value.span, path, hint))
        return None, ()

    key = next(k for k in value.keys() if k.startswith("$"))
    if key not in _OPTIONS:
        return wrong(f"unknown choice '{key}'", key, near(key, _OPTIONS) or "choices are " + ", ".join(_OPTIONS))
    for other in value.keys():
        if other != key and other not in _OPTIONS[key]:
            known = ", ".join(sorted(_OPTIONS[key])) or "none"
            return wrong(f"'{key}' takes no '{other}'", other, near(other, _OPTIONS[key]) or f"options: {known}")
    options = {k: plain(v) for k, v in value if k != key}
    for name, given in options.items():
        if name != "k" and not isinstance(given, bool):
            return wrong(f"'{name}' must be true or false, not {shown(given)}", name)
    if key in ("$int", "$float"):
        return _bounds(value, key, path, when, wrong)
    body = value.get(key)
    if not isinstance(body, Seq) or not len(body):
        return wrong(f"'{key}' needs a list of candidates", key, f"for instance {{{key}: [pool, attention]}}")
    named = labels(body)
    k = options.get("k", len(named) if key == "$permutate" else 1)
    most = len(named) if options.get("distinct", True) else MOST_PICKS
    if type(k) is not int or not 1 <= k <= most:
        return wrong(f"'k' must be a whole number from 1 to {most}, not {shown(k)}", "k")
    kind: Kind = "oneof" if key == "$oneof" else "manyof" if key == "$manyof" else "permutate"
    distinct, ordered = bool(options.get("distinct", True)), bool(options.get("sorted", False))
    return Decision(path, kind, named, k=k, distinct=distinct, sorted=ordered, when=when), body.items


def _bounds(
    value: Map, key: str, path: str, when: tuple[Condition, ...], wrong: Any
) -> tuple[Decision | None, tuple[Value, ...]]:
    bounds = plain(value.get(key))
    kinds = (int,) if key == "$int" else (int, float)
    fits = isinstance(bounds, list) and len(bounds) == 2 and all(type(b) in kinds for b in bounds)
    if not fits or bounds[0] > bounds[1]:
        what = "whole numbers" if key == "$int" else "numbers"
        message = f"'{key}' needs two {what}, [low, high], with low <= high"
        hint = "for instance {$int: [1, 6]}" if key == "$int" else "for instance {$float: [0.0, 0.5]}"
        result: tuple[None, tuple[Value, ...]] = wrong(message, key, hint)
        return result
    log = bool(plain(value.get("log", Leaf(False))))
    if log and bounds[0] <= 0:
        result = wrong("a logarithmic range must start above 0", key, "for instance {$float: [1e-4, 1e-1], log: true}")
        return result
    kind: Kind = "int" if key == "$int" else "float"
    return Decision(path, kind, low=bounds[0], high=bounds[1], log=log, when=when), ()


def _moves(tree: Map, problems: list[Problem]) -> list[Found]:
    """The decision on a recipe's `moves:`, rewrites that may be applied to the graph."""
    section = tree.get(MOVES)
    if section is None:
        return []
    body, most = (section.get("of"), section.get("most")) if isinstance(section, Map) else (section, None)
    count = plain(most) if most is not None else MOST_MOVES
    hint = "for instance moves: [{rewrite: widen, at: stage.*, factor: 2}], or {most: 3, of: [...]}"
    if not isinstance(body, Seq) or not len(body):
        problems.append(Problem("'moves' is a list of rewrites", section.span, MOVES, hint))
        return []
    if type(count) is not int or count < 1:
        said_at = section.key_span("most") if isinstance(section, Map) else section.span
        problems.append(Problem(f"'most' must be a whole number above 0, not {shown(count)}", said_at, MOVES, hint))
        return []
    return [(Decision(MOVES, "moves", labels(body), k=count), ())]
