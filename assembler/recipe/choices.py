"""Choices in a recipe: the decisions that a search makes, their stable names, and the recipe that a decision gives.

    mixer: {$oneof: [pool, attention, {op: dwconv, kernel_size: 5}]}
    depth: {$int: [1, 6]}
    rate:  {$float: [1e-4, 1e-1], log: true}
    taps:  {$manyof: [0, 1, 2, 3], k: 2, sorted: true}
    order: {$permutate: [norm, mix, mlp]}

A decision is named by the recipe path that it fills; one inside a candidate by the path, the candidate's label in
brackets, and the rest (`stage.block.mixer[attention].num_heads`). Names hold no numbers of candidates, so a candidate
can be added to a space without renaming anything.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from assembler.errors import Problem, RecipeError, near
from assembler.recipe.notes import note_all
from assembler.recipe.paths import join
from assembler.recipe.values import Leaf, Map, Seq, Value, is_choice, plain
from assembler.registry.checks import shown

Pick = int | float | tuple[int, ...]
Choice = dict[str, Pick]
Kind = Literal["oneof", "int", "float", "manyof", "permutate"]

_OPTIONS = {
    "$oneof": set(),
    "$int": set(),
    "$float": {"log"},
    "$manyof": {"k", "distinct", "sorted"},
    "$permutate": set(),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice to make. `labels` name the candidates of oneof, manyof and permutate; `low` and `high` bound numbers.

    It is active only where every (decision, candidate index) in `when` holds.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    k: int = 1
    distinct: bool = True
    sorted: bool = False
    when: tuple[tuple[str, int], ...] = ()

    @property
    def size(self) -> int | None:
        """How many values it can take; None for a float."""
        n = len(self.labels)
        match self.kind:
            case "oneof":
                return n
            case "int":
                return int(self.high or 0) - int(self.low or 0) + 1
            case "float":
                return None
            case "permutate":
                return math.factorial(n)
            case "manyof" if self.distinct:
                return math.comb(n, self.k) if self.sorted else math.perm(n, self.k)
            case _:
                return math.comb(n + self.k - 1, self.k) if self.sorted else n**self.k

    @property
    def first(self) -> Pick:
        """The first candidate, or the lower bound."""
        if not self.labels:
            return int(self.low or 0) if self.kind == "int" else float(self.low or 0)
        return 0 if self.kind == "oneof" else self._window(0)

    def spread(self) -> list[Pick]:
        """Picks that between them hold every candidate, or both bounds; the first of them is `first`."""
        if not self.labels:
            return list(
                dict.fromkeys((self.first, int(self.high or 0) if self.kind == "int" else float(self.high or 0)))
            )
        if self.kind == "oneof":
            return list(range(len(self.labels)))
        return list(dict.fromkeys(self._window(start) for start in range(0, len(self.labels), self.k)))

    def _window(self, start: int) -> tuple[int, ...]:
        n = len(self.labels)
        picks = [(start + i) % n for i in range(self.k)]
        return tuple(sorted(picks) if self.sorted else picks)

    def sample(self, rng: random.Random) -> Pick:
        """A uniform pick."""
        n = len(self.labels)
        match self.kind:
            case "oneof":
                return rng.randrange(n)
            case "int":
                return rng.randint(int(self.low or 0), int(self.high or 0))
            case "float":
                low, high = self.low or 0.0, self.high or 0.0
                return math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
            case "permutate":
                return tuple(rng.sample(range(n), n))
            case _:
                picks = rng.sample(range(n), self.k) if self.distinct else rng.choices(range(n), k=self.k)
                return tuple(sorted(picks) if self.sorted else picks)

    def accepts(self, pick: Pick) -> bool:
        """Whether `pick` is one of its values."""
        n = len(self.labels)
        if self.kind == "oneof":
            return isinstance(pick, int) and 0 <= pick < n
        if self.kind in ("int", "float"):
            whole = self.kind == "float" or isinstance(pick, int)
            return whole and isinstance(pick, int | float) and (self.low or 0) <= pick <= (self.high or 0)
        if not isinstance(pick, tuple) or any(not 0 <= p < n for p in pick):
            return False
        length = n if self.kind == "permutate" else self.k
        distinct = self.distinct or self.kind == "permutate"
        ordered = not self.sorted or list(pick) == sorted(pick)
        return len(pick) == length and ordered and (not distinct or len(set(pick)) == len(pick))

    def label(self, pick: Pick) -> str:
        """A pick in words, for tables and logs."""
        if isinstance(pick, tuple):
            return "+".join(self.labels[p] for p in pick)
        return self.labels[int(pick)] if self.kind == "oneof" else f"{pick:g}"


@dataclass(frozen=True)
class Space:
    """Decisions, parents before children."""

    decisions: tuple[Decision, ...]

    def active(self, choice: Mapping[str, Pick]) -> list[Decision]:
        """The decisions that are open under what `choice` has already picked."""
        return [d for d in self.decisions if all(choice.get(name) == index for name, index in d.when)]

    @property
    def size(self) -> int | None:
        """How many choices there are; None where a float makes them countless."""
        if any(d.size is None for d in self.decisions):
            return None
        return math.prod(self._size(d) for d in self.decisions if not d.when)

    def _size(self, decision: Decision) -> int:
        under: dict[int, list[Decision]] = {}
        for d in self.decisions:
            if d.when and d.when[-1][0] == decision.name:
                under.setdefault(d.when[-1][1], []).append(d)
        if not under:
            return decision.size or 0
        plain_candidates = len(decision.labels) - len(under)
        return plain_candidates + sum(math.prod(self._size(d) for d in ds) for ds in under.values())

    @property
    def first(self) -> Choice:
        """The choice of every first candidate."""
        return next(self.covering())

    def covering(self) -> Iterator[Choice]:
        """Choices that between them pick every candidate of every decision; the first is all first candidates."""
        waiting = {d.name: d.spread() for d in self.decisions}
        while True:
            choice: Choice = {}
            new = not self.decisions
            for d in self.decisions:
                if not all(choice.get(name) == index for name, index in d.when):
                    continue
                new = new or bool(waiting[d.name])
                choice[d.name] = waiting[d.name].pop(0) if waiting[d.name] else self._towards(d, waiting)
            if not new:
                return
            yield choice
            if not self.decisions:
                return

    def _towards(self, decision: Decision, waiting: Mapping[str, list[Pick]]) -> Pick:
        """The pick under which a decision still has picks waiting, or the first one."""
        for d in self.decisions:
            if waiting[d.name]:
                for name, index in d.when:
                    if name == decision.name:
                        return index
        return decision.first

    def sample(self, rng: random.Random) -> Choice:
        """A choice with every active decision picked uniformly."""
        choice: Choice = {}
        for d in self.decisions:
            if all(choice.get(name) == index for name, index in d.when):
                choice[d.name] = d.sample(rng)
        return choice

    def check(self, choice: Mapping[str, Pick]) -> None:
        """Raise RecipeError unless `choice` picks an allowed value for every active decision and nothing else."""
        known = {d.name: d for d in self.active(choice)}
        problems = [
            Problem(f"there is no decision '{name}'", hint=near(name, known)) for name in choice if name not in known
        ]
        for name, d in known.items():
            if name not in choice:
                problems.append(Problem(f"decision '{name}' is not made", hint=f"candidates: {', '.join(d.labels)}"))
            elif not d.accepts(choice[name]):
                problems.append(Problem(f"decision '{name}' cannot be {choice[name]!r}"))
        if problems:
            raise RecipeError(problems)

    def named(self, choice: Mapping[str, Pick]) -> dict[str, str]:
        """The choice with labels in place of indexes, for tables and logs."""
        by_name = {d.name: d for d in self.decisions}
        return {name: by_name[name].label(pick) for name, pick in choice.items()}


def space(tree: Map, problems: list[Problem] | None = None) -> Space:
    """Every decision of a recipe tree, in order.

    Raises RecipeError naming each malformed choice; with `problems` given, adds to that list and leaves them out.
    """
    noted: list[Problem] = []
    found = tuple(_decisions(tree, "", (), noted))
    if noted and problems is None:
        raise RecipeError(noted)
    note_all(problems if problems is not None else [], noted)
    return Space(found)


def first(tree: Map, decisions: Space) -> Map:
    """The recipe with the first candidate of every open choice."""
    return decide(tree, decisions.first)


def _decisions(
    value: Value, path: str, when: tuple[tuple[str, int], ...], problems: list[Problem]
) -> Iterator[Decision]:
    if is_choice(value):
        assert isinstance(value, Map)
        decision, candidates = _read(value, path, when, problems)
        if decision is None:
            return
        yield decision
        for index, candidate in enumerate(candidates):
            if _has_choice(candidate):
                inner = f"{path}[{decision.labels[index]}]"
                yield from _decisions(candidate, inner, (*when, (decision.name, index)), problems)
    elif isinstance(value, Map):
        for key, child in value:
            yield from _decisions(child, join(path, key), when, problems)
    elif isinstance(value, Seq):
        for index, child in enumerate(value):
            yield from _decisions(child, join(path, str(index)), when, problems)


def _has_choice(value: Value) -> bool:
    if is_choice(value):
        return True
    children = [v for _, v in value] if isinstance(value, Map) else list(value) if isinstance(value, Seq) else []
    return any(_has_choice(c) for c in children)


def _read(
    value: Map, path: str, when: tuple[tuple[str, int], ...], problems: list[Problem]
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
    body = value.get(key)
    options = {k: plain(v) for k, v in value if k != key}
    flags = {name: given for name, given in options.items() if name != "k" and not isinstance(given, bool)}
    for name, given in flags.items():
        return wrong(f"'{name}' must be true or false, not {shown(given)}", name)
    if key in ("$int", "$float"):
        return _bounds(value, key, path, when, wrong)
    if not isinstance(body, Seq) or not len(body):
        return wrong(f"'{key}' needs a list of candidates", key, f"for instance {{{key}: [pool, attention]}}")
    labels = _labels(body)
    k = options.get("k", len(labels) if key == "$permutate" else 1)
    if type(k) is not int or not 1 <= k <= len(labels):
        return wrong(f"'k' must be a whole number from 1 to {len(labels)}, not {shown(k)}", "k")
    if key != "$oneof" and any(_has_choice(c) for c in body):
        return wrong(f"a choice cannot stand inside '{key}'", key, "only the candidates of $oneof may hold choices")
    kind: Kind = "oneof" if key == "$oneof" else "manyof" if key == "$manyof" else "permutate"
    distinct, ordered = bool(options.get("distinct", True)), bool(options.get("sorted", False))
    found = Decision(path, kind, labels, k=k, distinct=distinct, sorted=ordered, when=when)
    return found, body.items if kind == "oneof" else ()


def _bounds(
    value: Map, key: str, path: str, when: tuple[tuple[str, int], ...], wrong: object
) -> tuple[Decision | None, tuple[Value, ...]]:
    assert callable(wrong)
    bounds = plain(value.get(key))
    kinds = (int,) if key == "$int" else (int, float)
    fits = isinstance(bounds, list) and len(bounds) == 2 and all(type(b) in kinds for b in bounds)
    if not fits or bounds[0] > bounds[1]:
        what = "whole numbers" if key == "$int" else "numbers"
        said = f"'{key}' needs two {what}, [low, high], with low <= high"
        result: tuple[None, tuple[Value, ...]] = wrong(
            said, key, "for instance {$int: [1, 6]}" if key == "$int" else "for instance {$float: [0.0, 0.5]}"
        )
        return result
    log = bool(plain(value.get("log", Leaf(False))))
    if log and bounds[0] <= 0:
        result = wrong("a logarithmic range must start above 0", key, "for instance {$float: [1e-4, 1e-1], log: true}")
        return result
    kind: Kind = "int" if key == "$int" else "float"
    return Decision(path, kind, low=bounds[0], high=bounds[1], log=log, when=when), ()


def _labels(candidates: Seq) -> tuple[str, ...]:
    """A short name for each candidate: a scalar as it is, a step by its op; repeats get "#2", "#3"."""
    seen: dict[str, int] = {}
    labels = []
    for candidate in candidates:
        label = _short(candidate)
        seen[label] = seen.get(label, 0) + 1
        labels.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
    return tuple(labels)


def _short(value: Value) -> str:
    if isinstance(value, Leaf):
        return str(value.value)
    if isinstance(value, Seq):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    op = value.get("op")
    if isinstance(op, Leaf):
        args = [f"{k}={_short(v)}" for k, v in value if k not in ("op", "body") and isinstance(v, Leaf)]
        return str(op.value) + (f"({', '.join(args)})" if args else "")
    return next(iter(value.keys()), "{}") if not is_choice(value) else "choice"


def decide(tree: Map, choice: Mapping[str, Pick]) -> Map:
    """The recipe with every decision in `choice` made; those that it does not mention stay open."""
    made = _decide(tree, "", choice)
    assert isinstance(made, Map)
    return made


def _decide(value: Value, path: str, choice: Mapping[str, Pick]) -> Value:
    if isinstance(value, Seq):
        items = tuple(_decide(v, join(path, str(i)), choice) for i, v in enumerate(value))
        return value if all(a is b for a, b in zip(items, value.items, strict=True)) else Seq(items, value.span)
    if not isinstance(value, Map):
        return value
    if is_choice(value):
        return _pick(value, path, choice)
    items_ = tuple((k, _decide(v, join(path, k), choice)) for k, v in value.items)
    if all(a[1] is b[1] for a, b in zip(items_, value.items, strict=True)):
        return value
    return Map(items_, value.span, value.key_spans)


def _pick(value: Map, path: str, choice: Mapping[str, Pick]) -> Value:
    if path not in choice:
        return value
    pick = choice[path]
    key = next(k for k in value.keys() if k.startswith("$"))
    if key in ("$int", "$float"):
        return Leaf(pick if not isinstance(pick, tuple) else None, value.span)
    candidates = value.get(key)
    assert isinstance(candidates, Seq)
    if isinstance(pick, tuple):
        return Seq(tuple(candidates.items[p] for p in pick), value.span)
    index = int(pick)
    return _decide(candidates.items[index], f"{path}[{_labels(candidates)[index]}]", choice)
