"""Variables of one function, and the shapes that its comments tell."""

from __future__ import annotations

import keyword
from dataclasses import dataclass, field

from assembler.compile.code import flat
from assembler.compile.source.classes import Class
from assembler.compile.source.lines import WIDTH, fitted
from assembler.compile.source.place import Place
from assembler.graph.core import TensorType

LONGEST = 30


@dataclass
class Names:
    """Names that nothing else in a function has."""

    taken: set[str]
    lines: set[str] = field(default_factory=set)

    def new(self, *wanted: str) -> str:
        """The first of some names that is free, or the last one made free."""
        for name in wanted:
            name = _plain(name)
            if name not in self.taken and not keyword.iskeyword(name):
                break
        while name in self.taken or keyword.iskeyword(name):
            name += "_"
        self.taken.add(name)
        return name

    def again(self, wanted: str) -> str:
        """A name for a variable of one line, which a later line may have as well."""
        name = _plain(wanted)
        if name not in self.lines:
            name = self.new(name)
            self.lines.add(name)
        return name


def short(path: str) -> str:
    """A path without as many of its first parts as make it long.

    >>> short("encoder.level.below.level.below.mix.norm")
    'below.level.below.mix.norm'
    """
    parts = path.split(".")
    while len(parts) > 1 and len(".".join(parts)) > LONGEST:
        parts = parts[1:]
    return ".".join(parts)


def _plain(path: str) -> str:
    name = flat(path)
    return name if name.isidentifier() else f"step_{name}"


@dataclass
class Shapes:
    """The types of values in all units of a class, as text: `[B, H, H, width]`."""

    made: Class
    batch: int
    _types: list[dict[str, TensorType]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for unit in self.made.units:
            self._types.append({address: place.types[i] for address, place, i in unit.walk()})

    def step(self, address: str) -> str:
        """The type of what a step makes."""
        return self._text([types[address] for types in self._types])

    def input(self, n: int) -> str:
        """The type of the n-th value that the class is called with."""
        return self._text([unit.place.types[unit.inputs[n]] for unit in self.made.units])

    def value(self, place: Place, i: str) -> str:
        """The type of any value where there is one unit alone."""
        return self._text([place.types[i]])

    def _text(self, types: list[TensorType]) -> str:
        if len({(len(t.shape), t.dtype) for t in types}) > 1:
            return ""
        columns = list(zip(*(t.shape for t in types), strict=True))
        axes = ["B" if n == 0 and set(c) == {self.batch} else self._size(c) for n, c in enumerate(columns)]
        dtype = "" if types[0].dtype == "float32" else f" {types[0].dtype}"
        return f"[{', '.join(axes)}]{dtype}"

    def _size(self, sizes: tuple[int, ...]) -> str:
        return self.made.size(sizes) if len(sizes) == len(self.made.units) else str(sizes[0])


def commented(line: str, said: str) -> str:
    """The line with a remark: behind it, or above it where it is long."""
    if said and len(line) + len(said) + 4 <= WIDTH:
        return f"{line}  # {said}"
    indent = line[: len(line) - len(line.lstrip())]
    return "\n".join([*([f"{indent}# {said}"] if said else []), *fitted(line)])
