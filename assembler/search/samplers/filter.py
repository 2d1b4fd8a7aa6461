"""Keeps a search to choices of which an expression holds."""

from __future__ import annotations

import re
from typing import Any

from assembler.errors import Problem, RecipeError
from assembler.recipe.choices import Choice
from assembler.recipe.choices.where import rules
from assembler.recipe.values import Map, marked
from assembler.registry import sampler
from assembler.search.samplers.base import SearchSpec
from assembler.search.samplers.wrapper import Wrapper

_DRAWS = 1000
_OWN = "choice"
_QUOTED = re.compile(r"('[^']*'|\"[^\"]*\")")
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?![\w.\[(])")


@sampler("filter")
class Filter(Wrapper):
    """The sampler `of`, of whose choices only those pass that meet `where`, expressions over decisions as in a space.

    It is told of the others that they have no value. The search ends where 1,000 in a row do not pass. Constraints that
    belong to the space are better written there, where candidates are counted and drawn under them.
    """

    def __init__(self, spec: SearchSpec, *, where: str | list[str], of: str | dict[str, Any] = "evolution") -> None:
        super().__init__(spec, of)
        problems: list[Problem] = []
        known = {_path(d.name): (d, tuple(map(_value, d.labels))) for d in spec.space.decisions}
        bare = {d.name for d in spec.space.decisions if "." not in d.name}
        lines = [_pathed(line, bare) for line in ([where] if isinstance(where, str) else where)]
        self._rules = rules(Map((("where", marked(lines)),)), known, problems)
        problems += [Problem(f"a filter cannot look at {', '.join(sorted(r.costs))}", path="where",
                             hint="write it in the space's `where:`, or as a budget")
                     for r in self._rules if r.costs]  # fmt: skip
        if problems:
            raise RecipeError(problems)

    def ask(self) -> Choice | None:
        for _ in range(_DRAWS):
            choice = super().ask()
            if choice is None or not any(rule.refusal(choice, {}) for rule in self._rules):
                return choice
            super().tell(choice, None)
        return None


def _path(name: str) -> str:
    """A decision as an expression names it: in a path, since a bare name is one of a cost."""
    return name if "." in name else f"{_OWN}.{name}"


def _pathed(line: str, bare: set[str]) -> str:
    """An expression with bare names of decisions made paths."""
    parts = _QUOTED.split(line)
    return "".join(part if i % 2 else _NAME.sub(lambda m: _path(m[0]) if m[0] in bare else m[0], part)
                   for i, part in enumerate(parts))  # fmt: skip


def _value(label: str) -> Any:
    """What an expression reads for a candidate: its label, as a number where it is one."""
    for kind in (int, float):
        try:
            return kind(label)
        except ValueError:
            continue
    return label
