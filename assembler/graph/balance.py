"""A graph cut into slots by itself: at its repeated stages, or into so many parts that the largest is smallest."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assembler.errors import GraphError
from assembler.graph.core import Graph
from assembler.graph.cuts import Cuts, joined
from assembler.graph.edit import Slot, bonds
from assembler.graph.runs import sizes_of

_COPY = re.compile(r"(?:(.*)\.)?\d+")


def repeated(found: Cuts) -> tuple[Slot, ...]:
    """The outermost copies of repeated containers that follow each other in the chain: `stage.0`, `stage.1`, ..."""
    borders = {s.output for s in found.chain} | {s.source for s in found.chain}
    groups: dict[str, list[Slot]] = {}
    for slot in found.slots:
        copy = _COPY.fullmatch(slot.path)
        if copy and len(slot.ids) > 1 and {slot.source, slot.output} <= borders:
            groups.setdefault(copy[1] or "", []).append(slot)
    several = {parent: slots for parent, slots in groups.items() if len(slots) > 1}
    inner = {p for p in several if any(f"{p}.".startswith(f"{s.path}.") for all_ in several.values() for s in all_)}
    return tuple(s for s in found.slots if any(s in slots for p, slots in several.items() if p not in inner))


def balanced(
    graph: Graph,
    found: Cuts,
    weights: Mapping[str, int],
    count: int,
    together: Sequence[Collection[str]] = (),
) -> tuple[Slot, ...]:
    """The chain as `count` slots of which the heaviest is lightest, and then the sum of squares smallest.

    `weights` are those of the steps. The steps of each of `together` stay in one slot. Steps that share weights do too,
    or else are left out of all slots, as few pieces of the chain as possible. Raises GraphError where there are fewer
    slots to be had.
    """
    chain = _Chain.of(graph, found, weights, together)
    best = chain.best(count)
    if best is None:
        most = next((n for n in range(count - 1, 0, -1) if chain.best(n)), 0)
        torn = "; ".join(f"'{path}': {why}" for path, why in list(found.torn.items())[:2])
        said = f"{graph.name} can be cut into {most} slots at most, not {count}"
        raise GraphError(said if most else f"{graph.name} cannot be cut into slots", hint=torn)
    sizes = sizes_of(graph)
    return tuple(joined(graph, found.chain[a:b], sizes) for a, b in best)


@dataclass(frozen=True)
class _Chain:
    """Weights of a chain's pieces; the first and last piece that each has to be with; which may be left out."""

    weights: tuple[int, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    spare: tuple[bool, ...]

    @staticmethod
    def of(graph: Graph, found: Cuts, weights: Mapping[str, int], together: Sequence[Collection[str]]) -> _Chain:
        number = {i: n for n, piece in enumerate(found.chain) for i in piece.ids}
        count = len(found.chain)
        first, last, spare = list(range(count)), list(range(count)), [False] * count
        groups = [{number.get(i, -1) for i in ids} for ids in together]
        pairs = [{number.get(i, -1) for i in pair[:2]} for pair in bonds(graph)]
        for at in {n for pair in pairs if len(pair) > 1 for n in pair if n >= 0}:
            spare[at] = True
        for group in (*groups, *pairs):
            for n in group - {-1}:
                first[n], last[n] = min(first[n], *group), max(last[n], *group)
        sums = tuple(sum(weights.get(i, 0) for i in piece.ids) for piece in found.chain)
        return _Chain(sums, tuple(first), tuple(last), tuple(spare))

    def best(self, count: int) -> tuple[tuple[int, int], ...] | None:
        """The (begin, end) of each of `count` parts, or None where there are no so many."""
        parts = self._solve(count)
        if parts is None:
            return None
        limit = max(sum(self.weights[a:b]) for a, b in parts)
        return self._solve(count, limit)

    def _solve(self, count: int, limit: int | None = None) -> tuple[tuple[int, int], ...] | None:
        """Dynamic programming over the chain: (pieces left out, cost) of its first `end` pieces in `k` parts.

        The cost is the heaviest part; with a `limit` on that it is the sum of the parts' squares.
        """
        import numpy as np

        n, far = len(self.weights), len(self.weights) + 1
        prefix = np.concatenate([[0.0], np.cumsum(np.array(self.weights, dtype=np.float64))])
        left = np.full((count + 1, n + 1), far)
        cost = np.full((count + 1, n + 1), np.inf)
        came = np.full((count + 1, n + 1), -1)
        left[0, 0], cost[0, 0] = 0, 0.0
        for end in range(1, n + 1):
            weight = prefix[end] - prefix[:end]
            whole = self._whole(np, end) & (weight <= (np.inf if limit is None else limit * (1 + 1e-12)))
            for k in range(count + 1):
                if self.spare[end - 1] and left[k, end - 1] < far:
                    left[k, end], cost[k, end] = left[k, end - 1] + 1, cost[k, end - 1]
                if k == 0:
                    continue
                out = np.where(whole, left[k - 1, :end], far)
                spent = np.maximum(cost[k - 1, :end], weight) if limit is None else cost[k - 1, :end] + weight**2
                begin = int(np.argmin(np.where(out == out.min(), spent, np.inf)))
                if out[begin] < far and (out[begin], spent[begin]) < (left[k, end], cost[k, end]):
                    left[k, end], cost[k, end], came[k, end] = out[begin], spent[begin], begin
        return _parts(came, left[count, n] < far, count, n)

    def _whole(self, np: Any, end: int) -> Any:
        """For each begin whether the pieces up to `end` hold all that any of them has to be with."""
        first = np.minimum.accumulate(np.array(self.first[:end])[::-1])[::-1]
        last = np.maximum.accumulate(np.array(self.last[:end])[::-1])[::-1]
        return (first >= np.arange(end)) & (last < end)


def _parts(came: Any, there: bool, count: int, end: int) -> tuple[tuple[int, int], ...] | None:
    found = []
    while there and count:
        begin = int(came[count, end])
        if begin >= 0:
            found.append((begin, end))
            count -= 1
        end = begin if begin >= 0 else end - 1
    return tuple(reversed(found)) if there else None
