"""Rewrites of the graph as moves of a search: what can be applied to a candidate, and the graph after what was.

A move is a text that says the rewrite, the site and the options, so that it can be kept and replayed:
`{"at": "stage.0.embed", "factor": 2, "rewrite": "widen"}`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assembler.errors import AssemblerError, RecipeError
from assembler.graph.core import Graph
from assembler.recipe.choices import Choice, Pick
from assembler.recipe.choices.decision import MOVES

Written = str | Mapping[str, Any]


@dataclass(frozen=True)
class Growth:
    """The moves of a space: `rewrites` as its `moves:` says them, over the graphs that `build` gives to choices."""

    rewrites: tuple[Written, ...]
    build: Callable[[Choice], Graph]
    most: int

    def graph(self, choice: Mapping[str, Pick]) -> Graph:
        """The graph of a choice after its moves. Raises RecipeError for a move that has no place in it."""
        return moved(self.build(_still(choice)), _moves(choice))

    def options(self, choice: Mapping[str, Pick]) -> list[str]:
        """Every move that can follow those of a choice, in order."""
        if len(_moves(choice)) >= self.most:
            return []
        return options(self.graph(choice), self.rewrites)

    def kept(self, choice: Mapping[str, Pick]) -> Choice:
        """A choice with those of its moves that, in their order, still have a place."""
        graph, kept = self.build(_still(choice)), list[str]()
        for move in _moves(choice):
            try:
                graph = moved(graph, [move])
                kept.append(move)
            except AssemblerError:
                continue
        return {**choice, MOVES: tuple(kept)}

    def mutate(self, choice: Mapping[str, Pick], rng: random.Random) -> Choice:
        """A choice with one move more, one less, or another one in place of one; as it is where nothing can move."""
        made = _moves(choice)
        ways = ["append"] * (len(made) < self.most) + ["drop", "replace"] * bool(made)
        rng.shuffle(ways)
        for way in ways:
            at = rng.randrange(len(made)) if made else 0
            shorter = {**choice, MOVES: made[:at] + made[at + 1 :]} if way != "append" else {**choice, MOVES: made}
            shorter = self.kept(shorter) if way != "append" else shorter
            new = [] if way == "drop" else [m for m in self.options(shorter) if way == "append" or m != made[at]]
            if way == "drop" or new:
                return {**choice, MOVES: (*_moves(shorter), *([rng.choice(new)] if new else []))}
        return dict(choice)


def options(graph: Graph, rewrites: Sequence[Written]) -> list[str]:
    """Every move on a graph: each rewrite at each of the sites that its `at` means."""
    from assembler.rewrites.drive import matching, sites
    from assembler.rewrites.spec import order

    found = list[str]()
    for written in rewrites:
        said = order(written)
        given = {"rewrite": written} if isinstance(written, str) else dict(written)
        for site in matching(graph, sites(said.rewrite, graph), said.at):
            found.append(json.dumps({**given, "at": site}, sort_keys=True))
    return found


def moved(graph: Graph, moves: Sequence[str]) -> Graph:
    """The graph after moves, one after another. Raises RecipeError for one that is no move or has no place."""
    from assembler.rewrites.drive import applied
    from assembler.rewrites.spec import order

    for move in moves:
        try:
            said = order(json.loads(move))
            graph = applied(graph, said.rewrite, said.at)
        except ValueError:
            raise RecipeError(f"this is no move: {move[:80]!r}") from None
        except AssemblerError as error:
            raise RecipeError(error.problems) from None
    return graph


def _moves(choice: Mapping[str, Pick]) -> tuple[str, ...]:
    made = choice.get(MOVES, ())
    return made if isinstance(made, tuple) else ()


def _still(choice: Mapping[str, Pick]) -> Choice:
    return {name: pick for name, pick in choice.items() if name != MOVES}
