"""Unrolls the recipes of many choices: what reads the same in two of them is laid out once.

A step is laid out and evaluated anew only where something that it read the last time has changed: a var, a parameter, a
loop's value, its own words. What it read is noted while it is done, so nobody has to say what depends on what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn, SupportsIndex

from assembler.errors import Problem, RecipeError, Span
from assembler.recipe.drafts import Draft, Place
from assembler.recipe.expand import Expander
from assembler.recipe.paths import patch
from assembler.recipe.scope import Copies, Depth, Scope
from assembler.recipe.steps import Step
from assembler.recipe.traced import ABSENT, Known, Read, SeenDepth, Watch, value_of
from assembler.recipe.values import Leaf, Map, Seq, Value


class UnfitError(Exception):
    """Something is wrong with a recipe, or it is of a kind that is not kept; who wants to know what builds it anew."""


class Unforgiving(list[Problem]):
    """Problems of which there may be none: the first one ends the work."""

    def append(self, problem: Problem) -> NoReturn:
        raise UnfitError

    def extend(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.append(problem)

    def insert(self, at: SupportsIndex, problem: Problem) -> NoReturn:
        raise UnfitError

    def __iadd__(self, problems: Iterable[Problem]) -> Unforgiving:  # type: ignore[override,misc]
        self.extend(problems)
        return self


Counts = tuple[dict[str, int], int]
"""How many copies of each repeated step lie within a step, and how many steps altogether."""


class Unit(NamedTuple):
    """A step at the top of a recipe, or a copy of one: what its loop says, and how many copies are in it.

    `template` is the path of what it is a copy of, as `counts` call it, and empty where it is none.
    """

    path: str
    template: str
    loop: tuple[Any, ...]
    counts: Counts


@dataclass(slots=True)
class _Work:
    """What is known of a step at a path: the copies in it, and the step itself, by what was read."""

    counts: Known[Counts] = field(default_factory=Known)
    steps: Known[Step] = field(default_factory=Known)


class Unrolled:
    """What was laid out so far, for recipes that differ by the decisions made in them.

    `kept` has every step that may come again, by `id`.
    """

    def __init__(self) -> None:
        self.kept: dict[int, Step] = {}
        self.checked: set[Any] = set()
        self._works: dict[Any, _Work] = {}
        self._one: dict[Any, Value] = {}
        self._known: dict[int, Value] = {}
        self._patched: dict[tuple[int, int], Map] = {}

    def steps(self, tree: Map) -> tuple[tuple[Step, ...], list[Unit]]:
        """The top-level steps of a recipe, as `expand` gives them, but for their scopes, and what they consist of.

        Steps that are equal in two recipes are mostly the same object. Raises UnfitError where something is wrong with
        the recipe.
        """
        work = _Expander(tree, self)
        try:
            return work.run(), work.units
        except RecipeError as error:
            raise UnfitError from error

    def work(self, place: Place, step: Map, blocks: int) -> _Work:
        key = place.path, place.blocks, id(step), blocks
        found = self._works.get(key)
        if found is None:
            found = self._works[key] = _Work()
        return found

    def one(self, value: Value) -> Value:
        """The one object that stands for all values that say the same at the same place."""
        if id(value) in self._known:
            return value
        if isinstance(value, Leaf):
            key: Any = type(value.value), value.value, value.place, id(value.source)
        elif isinstance(value, Seq):
            key = tuple([id(self.one(v)) for v in value.items]), value.place
        else:
            key = tuple(value.keys()), tuple([id(self.one(v)) for _, v in value]), value.place
        found = self._one.setdefault(key, value)
        self._known[id(found)] = found
        return found

    def patched(self, common: Map, change: Value) -> Map:
        """`change` laid over `common`."""
        common, change = self.map(common), self.one(change)
        key = id(common), id(change)
        if key not in self._patched:
            self._patched[key] = self.map(patch(common, change))
        return self._patched[key]

    def map(self, value: Value) -> Map:
        found = self.one(value)
        if not isinstance(found, Map):
            raise UnfitError
        return found

    def token(self, value: Any) -> Any:
        """A key that two values share where work that reads them does the same."""
        kind = type(value)
        if kind is str or value is None or value is ABSENT:
            return value
        if kind in (bool, int, float):
            return kind, value
        if kind in (list, tuple):
            return "list", tuple([self.token(v) for v in value])
        if kind is dict:
            return "dict", tuple([(k, self.token(v)) for k, v in value.items()])
        if kind is Map:
            return "map", id(self.one(value))
        raise UnfitError


@dataclass(slots=True)
class _Held(Draft):
    """A step that is not laid out yet, or was just now, under `watch`, in which case `draft` is it."""

    work: _Work = field(default_factory=_Work)
    place: Place = field(default_factory=lambda: Place("", "", Scope()))
    root: Scope = field(default_factory=Scope)
    before: dict[str, int] = field(default_factory=dict)
    draft: Draft | None = None
    watch: Watch | None = None


class _Expander(Expander):
    """Lays out what is not known."""

    def __init__(self, tree: Map, known: Unrolled) -> None:
        super().__init__(tree, Unforgiving())
        self.known = known
        self.watches: tuple[Watch, ...] = ()
        self.units: list[Unit] = []
        blocks = tree.get("blocks")
        self.section = id(known.one(blocks)) if blocks is not None else 0

    def depth(self, template: str) -> Depth:
        plain = Expander.depth(self, template)
        return SeenDepth(plain.copies, plain.index, template, self.watches) if self.watches else plain

    def check(self) -> None:
        variables = self.tree.get("vars")
        names = tuple(variables.keys()) if isinstance(variables, Map) else None
        if names is None or (self.section, names) not in self.known.checked:
            super().check()
            self.known.checked.add((self.section, names))

    def common(self, step: Map) -> Map:
        return self.known.map(step)

    def patched(self, common: Map, change: Value) -> Value:
        return self.known.patched(common, change)

    def lay_one(self, step: Map, place: Place, span: Span | None) -> Draft:
        step = self.known.map(step)
        before = {template: copies.total for template, copies in self.copies.items()}
        work = self.known.work(place, step, self.section)
        held = _Held(place.path, "", step, place.scope, span, span, work=work, place=place, root=self.root,
                     before=before)  # fmt: skip
        counts = work.counts.find(lambda read: self.read(held, read))
        if counts is None:
            made = self.made
            self.lay_out(held)
            assert held.watch is not None
            more = {t: c.total - before.get(t, 0) for t, c in self.copies.items() if c.total != before.get(t, 0)}
            counts = more, self.made - made
            work.counts.keep(held.watch.reads, counts)
        else:
            for template, count in counts[0].items():
                self.copies.setdefault(template, Copies()).total += count
            self.bounded(counts[1], span)
        if not self.watches:
            self.units.append(self.unit(place, counts))
        return held

    def unit(self, place: Place, counts: Counts) -> Unit:
        if place.path.rpartition(".")[2].isdecimal():
            loop = tuple([(name, self.known.token(v)) for name, v in place.scope.names.items() if name != "t"])
            return Unit(place.path, place.template, loop, counts)
        return Unit(place.path, "", (), counts)

    def lay_out(self, held: _Held) -> None:
        held.watch = Watch(self.known.token, held.before)
        root, self.root = self.root, held.watch.over(held.root, "vars")
        inside = replace(held.place, scope=held.watch.over(held.place.scope, "scope"))
        try:
            with self.watching(held.watch):
                held.draft = super().lay_one(held.step, inside, held.span)
        finally:
            self.root = root

    def lay_out_again(self, held: _Held) -> None:
        """Lay out a step when all copies are counted, as if those before it were all that there are yet."""
        totals, made = {template: copies.total for template, copies in self.copies.items()}, self.made
        for template, copies in self.copies.items():
            copies.total = held.before.get(template, 0)
        self.lay_out(held)
        for template, total in totals.items():
            self.copies[template].total = total
        self.made = made

    @contextmanager
    def watching(self, watch: Watch) -> Iterator[None]:
        watches, self.watches = self.watches, (*self.watches, watch)
        yield
        self.watches = watches

    def read(self, held: _Held, read: Read) -> Any:
        """What a step would read now."""
        which, name, index = read
        if which != "t":
            return self.known.token(value_of(held.place.scope if which == "scope" else held.root, name))
        at = held.before.get(name, 0) + index
        t = at / max(1, self.copies[name].total - 1)
        for watch in self.watches:
            watch.saw_depth(name, at, t)
        return t

    def finish(self, draft: Draft) -> Step:
        if not isinstance(draft, _Held):
            return super().finish(draft)
        step = draft.work.steps.find(lambda read: self.read(draft, read))
        if step is None:
            if draft.draft is None:
                self.lay_out_again(draft)
            assert draft.draft is not None and draft.watch is not None
            with self.watching(draft.watch):
                step = self.finished(draft.draft)
            draft.work.steps.keep(draft.watch.reads, step)
            self.known.kept[id(step)] = step
        return replace(step, share=draft.twin) if draft.twin else step

    def finished(self, draft: Draft) -> Step:
        """The step of a draft, without the scope that it was read in unless it is read once more."""
        begins = draft.step.get("initializers")
        for _, rule in begins if isinstance(begins, Map) else ():
            self.value(rule, draft.scope)
        step = super().finish(draft)
        return step if begins is not None else replace(step, scope=Scope())
