"""The k best assemblies of an additive problem, by branch and bound under a Lagrangian bound.

With a price on every budgeted cost, score + price * (cost - budget) bounds the score of every assembly that fits from
below and splits over slots; with the linear relaxation's prices the bound is tight, so few partial assemblies have to
be looked at. (Solving the integer program again for each next best one, with no-good cuts, took 100 times longer.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BEAM = 4096  # partial assemblies that the first, quick pass keeps
_CELLS = 2**20  # extensions that are looked at at once
_ROUNDING = 1e-12  # of sums of floats, relative to the numbers summed

Array = NDArray[np.float64]
Picks = NDArray[np.int32]


@dataclass(frozen=True)
class Slot:
    """The usable variants of a slot, in order of `above`: how far the priced score is above that of the slot's best."""

    variants: Picks
    scores: Array
    costs: Array  # [variant, budget]
    above: Array


@dataclass(frozen=True)
class Block:
    """Partial assemblies of one depth: lower bounds [n], scores [n], costs spent [n, budgets], variants [n, depth]."""

    bounds: Array
    scores: Array
    spent: Array
    picks: Picks

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Block:
        """The block of some of its rows."""
        return Block(self.bounds[rows], self.scores[rows], self.spent[rows], self.picks[rows])


class Ranking:
    """Slots in the order of `scores`; costs[name][slot][variant] and prices in the order of `room`, the budgets."""

    def __init__(
        self,
        scores: Sequence[Sequence[float]],
        costs: Sequence[Sequence[Sequence[float]]],
        usable: Sequence[Sequence[int]],
        room: Sequence[float],
        prices: Sequence[float],
    ) -> None:
        limits = np.asarray(room, dtype=np.float64)
        self._base = -float(np.dot(prices, limits))
        size, slots = abs(self._base), []
        for at, open_ in enumerate(usable):
            score = np.asarray([scores[at][i] for i in open_])
            cost = np.asarray([[c[at][i] for c in costs] for i in open_]).reshape(len(open_), len(limits))
            priced = score + cost @ np.asarray(prices, dtype=np.float64)
            self._base += float(priced.min())
            size += float(np.abs(priced).max())
            order = np.argsort(priced, kind="stable")
            variants = np.asarray(open_, dtype=np.int32)[order]
            slots.append(Slot(variants, score[order], cost[order], (priced - priced.min())[order]))
        # Where the candidates differ most comes first: its bounds tell partial assemblies apart early.
        self._order = sorted(range(len(slots)), key=lambda s: -float(np.median(slots[s].above)))
        self._slots = [slots[s] for s in self._order]
        self._room = _room(self._slots, limits)
        self._slack = _ROUNDING * size
        self._rows = max(1, _CELLS // max(len(slot.variants) for slot in slots))

    def best(self, count: int) -> list[tuple[int, ...]]:
        """The `count` best assemblies that fit, best first, as the variant of each slot; fewer where fewer exist."""
        found = self._beam(count)
        limit = float(found.scores[count - 1]) if len(found.scores) >= count else np.inf
        stack = [self._root()]
        while stack:
            block = stack.pop()
            block = block.take(block.bounds < limit - self._slack)
            if block.picks.shape[1] < len(self._slots):
                stack += _split(self._extend(block, limit), self._rows)
                continue
            found = _merge(found, block, count)
            if len(found.scores) == count:
                limit = float(found.scores[-1])
        back = np.argsort(self._order)
        return [tuple(int(i) for i in row) for row in found.picks[:, back]]

    def _root(self) -> Block:
        spent = np.zeros((1, len(self._room[0])))
        return Block(np.array([self._base]), np.zeros(1), spent, np.zeros((1, 0), dtype=np.int32))

    def _beam(self, count: int) -> Block:
        """Good assemblies, found by keeping only the partial ones of least bound."""
        block = self._root()
        for _ in self._slots:
            block = self._extend(block, np.inf)
            if len(block.bounds) > max(_BEAM, count):
                block = block.take(np.argpartition(block.bounds, max(_BEAM, count))[: max(_BEAM, count)])
        return block.take(np.argsort(block.scores, kind="stable")[:count])

    def _extend(self, block: Block, limit: float) -> Block:
        """Every partial assembly with every variant of the next slot that fits and is bounded by less than `limit`."""
        depth = block.picks.shape[1]
        slot, room = self._slots[depth], self._room[depth + 1]
        bounds = block.bounds[:, None] + slot.above
        spent = block.spent[:, None, :] + slot.costs
        row, variant = np.nonzero((bounds < limit) & (spent <= room).all(axis=2))
        picks = np.concatenate([block.picks[row], slot.variants[variant][:, None]], axis=1)
        return Block(bounds[row, variant], block.scores[row] + slot.scores[variant], spent[row, variant], picks)


def _room(slots: Sequence[Slot], limits: Array) -> list[Array]:
    """By depth, what may have been spent so far if the slots still open take their cheapest variants."""
    left = [limits]
    for slot in reversed(slots):
        left.append(left[-1] - slot.costs.min(axis=0))
    return left[::-1]


def _split(block: Block, rows: int) -> list[Block]:
    """Pieces of a block, those of least bound last, which is where the stack is taken from."""
    ordered = block.take(np.argsort(-block.bounds, kind="stable"))
    return [ordered.take(slice(at, at + rows)) for at in range(0, len(ordered.bounds), rows)]


def _merge(found: Block, block: Block, count: int) -> Block:
    """The `count` best distinct assemblies of both, best first."""
    merged = Block(
        np.concatenate([found.bounds, block.bounds]),
        np.concatenate([found.scores, block.scores]),
        np.concatenate([found.spent, block.spent]),
        np.concatenate([found.picks, block.picks]),
    )
    _, first = np.unique(merged.picks, axis=0, return_index=True)
    merged = merged.take(np.sort(first))
    return merged.take(np.argsort(merged.scores, kind="stable")[:count])
