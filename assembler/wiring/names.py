"""The names that a step can read from where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from assembler.recipe.steps import Step

ABSENT = "<absent>"
"""Stands for an input of a block that a call leaves out."""


@dataclass(frozen=True, slots=True)
class Names:
    """Step names that a `from` can see: those of this body, then those of the bodies around it.

    `steps` are all of this body, wired or not; `hints` say what to do of names that cannot be read yet; `inputs` are
    those that a step has its body read.
    """

    paths: dict[str, str] = field(default_factory=dict)
    outer: Names | None = None
    steps: dict[str, Step] = field(default_factory=dict)
    hints: dict[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()

    def find(self, name: str) -> str | None:
        """The path that a name stands for here, or None."""
        here: Names | None = self
        while here is not None:
            if name in here.paths:
                return here.paths[name]
            here = here.outer
        return None

    def all(self) -> list[str]:
        """Every name that can be seen, nearest first."""
        return [*self.paths, *(self.outer.all() if self.outer else [])]

    def entering(self) -> tuple[str, ...]:
        """What enters the nearest body that a step around here has; nothing outside of such."""
        here: Names | None = self
        while here is not None and not here.inputs:
            here = here.outer
        return here.inputs if here is not None else ()

    def first_copy(self, pattern: str, step: Step) -> bool:
        """Whether `step` stands in the first of the copies that a pattern is about, and the others have such a step."""
        before, _, rest = pattern.partition("*")
        if not step.path.startswith(f"{before}0"):
            return False
        wanted, here = rest.strip(".").partition(".")[0], self
        while here.outer is not None and wanted and wanted not in here.steps:
            here = here.outer
        return not wanted or wanted in here.steps

    def hint(self, name: str, step: Step) -> str:
        """What to do where `step` reads a name that does not stand before it, or ""."""
        here: Names | None = self
        while here is not None:
            if name in here.hints:
                return here.hints[name]
            if name in here.steps and step.name in here.steps:
                way = _round(step.name, name, here.steps)
                carried = "an op: loop carries a value from one time to the next"
                return f"a cycle: {' -> '.join(way)}; {carried}" if way else f"'{name}' stands after it: move it up"
            here = here.outer
        return ""


def around(name: str, step: Step) -> str:
    """The path of the nearest container called `name` that a step stands in; "" where there is none."""
    parts = step.path.split(".")[:-1]
    return ".".join(parts[: len(parts) - parts[::-1].index(name)]) if name in parts else ""


def _round(start: str, source: str, steps: Mapping[str, Step]) -> list[str]:
    """The names on the way from a step through what it reads back to it; none where it does not come back."""
    before = dict(zip([*steps][1:], steps, strict=False))
    reader, waiting = {source: start}, [source]
    while waiting:
        here = waiting.pop()
        for read in _reads(steps[here], before.get(here, "")):
            if read == start:
                way = [here]
                while way[-1] != start:
                    way.append(reader[way[-1]])
                return [*reversed(way), start]
            if read in steps and read not in reader:
                reader[read] = here
                waiting.append(read)
    return []


def _reads(step: Step, before: str) -> Iterator[str]:
    """The names of the steps that a step reads."""
    given = before if step.source is None else step.source
    found = given.values() if isinstance(given, dict) else given if isinstance(given, list | tuple) else [given]
    for name in found:
        yield str(name).partition(".")[0]
