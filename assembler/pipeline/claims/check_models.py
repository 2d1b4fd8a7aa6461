"""The models that claims are about: the recipe's with changes by path, each laid out once, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from assembler.errors import AssemblerError, Problem, Span
from assembler.graph.core import Graph
from assembler.recipe.document import Document, entries, varied
from assembler.recipe.paths import KEYS
from assembler.recipe.values import Leaf, Map, Value
from assembler.wiring.build import draft
from assembler.wiring.lint import MOST_STEPS

_CHANGING = frozenset(("set", "model", "blocks", "apply", "take"))
"""What a phase says that makes a model of other steps."""
Check = Callable[[Document], list[Problem]]
Found = tuple[Graph | None, list[Problem]]


@dataclass
class Models:
    """Lays models out, `MOST_STEPS` steps of them at most.

    `again` checks a whole recipe; `sound` says that there is nothing wrong with this one but perhaps its claims.
    Otherwise there are no graphs, and only paths that lead nowhere are told.
    """

    again: Check
    sound: bool
    steps: int = 0
    known: dict[tuple[Document, Map, Span | None], Found] = field(default_factory=dict)

    def changed(self, document: Document, changes: Map) -> Found:
        """The graph of a recipe's model with changes, None where it cannot be told, and what is wrong with them."""
        key = document, changes, changes.span
        if key not in self.known:
            self.known[key] = self._changed(document, changes)
        return self.known[key]

    def _changed(self, document: Document, changes: Map) -> Found:
        try:
            found = varied(document, entries(changes), strict=False)
        except AssemblerError as error:
            return None, list(error.at(changes.span).problems)
        if found.problems or not self.sound or self.steps > MOST_STEPS:
            return None, list(found.problems)
        problems: list[Problem] = []
        graph = draft(found.default, problems, name="the model")
        self.steps += len(graph)
        if not problems and document.kind != "model" and any(_own(document, path) for path in changes.keys()):
            problems += self.again(replace(found, tree=found.tree.drop("claims")))
        return None if problems else graph, problems


def added(changes: Iterable[Value]) -> list[str]:
    """The phases that changes by path add to a run, if they are not there."""
    paths = (path.split(".") for some in changes if isinstance(some, Map) for path in some.keys())
    return [path[1] for path in paths if path[0] == "phases" and len(path) > 1]


def other_model(document: Document, phase: Value | None) -> bool:
    """Whether the model of a phase is, or comes from, another one than the run's, which has values of its own."""
    phases, seen = document.tree.get("phases"), set()
    while isinstance(phases, Map) and isinstance(phase, Leaf) and phase.value not in seen:
        seen.add(phase.value)
        body = phases.get(str(phase.value))
        if not isinstance(body, Map):
            return False
        if not _CHANGING.isdisjoint(body.keys()):
            return True
        phase = body.get("of")
    return False


def _own(document: Document, path: str) -> bool:
    """Whether a path leads into what a run or a space says beside its model."""
    return path.split(".")[0] in KEYS[document.kind]
