"""Where a trial came from: the chain of edits that leads to it from the seed, the recipe with all first candidates."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from assembler.recipe.choices.decision import MOVES
from assembler.search.trial import Trial


@dataclass(frozen=True)
class Edit:
    """A decision that is made otherwise than before; None where it was not open before, or no longer is.

    Of moves each is an edit of its own, that came or that went.
    """

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.name == MOVES:
            return str(self.after) if self.before is None else f"without {self.before}"
        if self.before is None or self.after is None:
            return f"{self.name} = {self.after}" if self.before is None else f"no {self.name}"
        return f"{self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class Link:
    """A trial of a chain, what it has otherwise than the one before it, and what else is known of where it came from.

    The first follows the seed.
    """

    trial: Trial
    edits: tuple[Edit, ...]
    notes: tuple[str, ...] = ()


def lineage(trials: Sequence[Trial], trial: Trial, seed: Mapping[str, str]) -> tuple[Link, ...]:
    """The chain to a trial, the oldest first: parent by parent where its sampler made it from another one.

    A trial that its sampler made from no other one, but that inherited weights, follows the trial that had them.
    `seed` is the choice of all first candidates, by label.
    """
    by_number = {t.number: t for t in trials}
    chain = [trial]
    while (parent := _parent(chain[-1])) is not None and parent < chain[-1].number and parent in by_number:
        chain.append(by_number[parent])
    chain.reverse()
    before = [seed, *(t.labels for t in chain)]
    return tuple(Link(t, tuple(edits(before[i], t.labels)), tuple(_notes(t, by_number))) for i, t in enumerate(chain))


def _parent(trial: Trial) -> int | None:
    return trial.inherited.trial if trial.parent is None and trial.inherited else trial.parent


def _notes(trial: Trial, by_number: Mapping[int, Trial]) -> Iterator[str]:
    """How a sampler proposed a trial that has no parent, and whose weights it began with."""
    best = by_number.get(trial.best_known) if trial.best_known is not None else None
    if best and (other := ", ".join(map(str, edits(best.labels, trial.labels)))):
        yield f"{trial.origin}; from the best of them, trial {best.number}, it differs by {other}"
    elif trial.origin:
        yield trial.origin + (f", the best of which, trial {best.number}, is the same" if best else "")
    if trial.inherited:
        yield f"it began with the weights of trial {trial.inherited.trial}: {trial.inherited.account}"


def edits(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Edit]:
    """What one choice has otherwise than another, both by label."""
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if name == MOVES:
            yield from _moved(_moves(old), _moves(new))
        elif old != new:
            yield Edit(name, old, new)


def _moved(old: list[str], new: list[str]) -> Iterator[Edit]:
    for move in (Counter(old) - Counter(new)).elements():
        yield Edit(MOVES, move, None)
    for move in (Counter(new) - Counter(old)).elements():
        yield Edit(MOVES, None, move)


def _moves(label: str | None) -> list[str]:
    """The moves in a label, each in words: the rewrite, its site, its options."""
    found, at, text = [], 0, label or ""
    while (at := text.find("{", at)) >= 0:
        move, at = json.JSONDecoder().raw_decode(text, at)
        rest = [f"{name}={value}" for name, value in move.items() if name not in ("rewrite", "at")]
        found.append(" ".join([str(move.get("rewrite")), str(move.get("at")), *rest]))
    return found
