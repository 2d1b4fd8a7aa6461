"""The names that a step can read from where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field

ABSENT = "<absent>"
"""Stands for an input of a block that a call leaves out."""


@dataclass(frozen=True, slots=True)
class Names:
    """Step names that a `from` can see: those of this body, then those of the bodies around it."""

    paths: dict[str, str] = field(default_factory=dict)
    outer: Names | None = None

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
