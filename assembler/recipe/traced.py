"""What a piece of work read while it was done, so that it need not be done again where it would read the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from assembler.recipe.scope import Depth, Scope

T = TypeVar("T")

ABSENT: Any = object()
"""Stands for a name that means nothing."""

Read = tuple[str, str, int]
"""What was read: of the scope around ("scope"), of the model's vars ("vars"), or the `t` of a copy laid out within
("t"): the steps' path without copies' numbers, and how many copies of it were laid out before within the work."""


@dataclass(slots=True)
class Known(Generic[T]):
    """Results by what was read for them, in order: what is read first says what is read next."""

    read: Read | None = None
    after: dict[Any, Known[T]] = field(default_factory=dict)
    found: T | None = None

    def find(self, token: Callable[[Read], Any]) -> T | None:
        """The result of work that would read what `token` gives; None where there is none yet."""
        here: Known[T] | None = self
        while here is not None and here.read is not None:
            here = here.after.get(token(here.read))
        return None if here is None else here.found

    def keep(self, reads: dict[Read, Any], found: T) -> None:
        """Keep the result of work and what it read."""
        here = self
        for read, token in reads.items():
            if here.read != read:  # nothing was kept here, or what was kept was done in another order
                here.read, here.after, here.found = read, {}, None
            here = here.after.setdefault(token, Known())
        here.read, here.after, here.found = None, {}, found


@dataclass(slots=True)
class Watch:
    """Notes what one piece of work reads; `token` makes a key of a value, `before` counts copies laid out earlier."""

    token: Callable[[Any], Any]
    before: dict[str, int]
    reads: dict[Read, Any] = field(default_factory=dict)
    values: dict[Read, Any] = field(default_factory=dict)

    def get(self, read: Read, around: Scope) -> Any:
        """A name's value, which is noted; ABSENT where it has none."""
        if read not in self.values:
            value = value_of(around, read[1])
            self.reads[read] = self.token(value)
            self.values[read] = value
        return self.values[read]

    def saw_depth(self, template: str, index: int, t: float) -> None:
        """Note the `t` of a copy within."""
        self.reads.setdefault(("t", template, index - self.before.get(template, 0)), t)

    def over(self, around: Scope, which: str) -> Scope:
        """A scope in which reading is noted."""
        return Scope(_Seen(self, which, around))


def value_of(scope: Scope, name: str) -> Any:
    """What a name means in a scope, or ABSENT. Raises RecipeError where its value cannot be evaluated."""
    try:
        return scope[name]
    except KeyError:
        return ABSENT


class _Seen(dict[str, Any]):
    """The names of a scope, and of those around it, as they are read."""

    def __init__(self, watch: Watch, which: str, around: Scope) -> None:
        super().__init__()
        self.watch, self.which, self.around = watch, which, around

    def __contains__(self, name: object) -> bool:
        return self[str(name)] is not ABSENT

    def __getitem__(self, name: str) -> Any:
        return self.watch.get((self.which, name, 0), self.around)

    def __iter__(self) -> Iterator[str]:
        return iter(self.around)


@dataclass(frozen=True, slots=True)
class SeenDepth(Depth):
    """A `t` that is noted where it is read, by all the work that its copy is laid out in."""

    template: str = ""
    watches: tuple[Watch, ...] = ()

    def value(self) -> float:
        """`t`, once all copies are counted."""
        found = Depth.value(self)
        for watch in self.watches:
            watch.saw_depth(self.template, self.index, found)
        return found
