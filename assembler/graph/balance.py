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
        raise _fewer(graph, found, chain, count)
    sizes = sizes_of(graph)
    return tuple(joined(graph, found.chain[a:b], sizes) for a, b in best)


def _fewer(graph: Graph, found: Cuts, chain: _Chain, count: int) -> GraphError:
    """The error for a number of slots that cannot be had, with those that can."""
    numbers = chain.numbers()
    hint = "; ".join(f"'{path}': {why}" for path, why in list(found.torn.items())[:2])
    if not numbers:
        hint = "; ".join(filter(None, (hint or "no one value leads to its output", _by_name(graph, found))))
        return GraphError(f"{graph.name} cannot be cut into slots", hint=hint)
    if count > numbers[-1]:
        number, said = _copies(found)
        hint = "; ".join(filter(None, (hint, said * (number > numbers[-1]))))
        return GraphError(f"{graph.name} can be cut into {numbers[-1]} slots at most, not {count}", hint=hint)
    taps = [piece.output for piece, tapped in zip(found.chain[:-1], found.tapped, strict=False) if tapped]
    hint = hint or f"{' and '.join(taps)} {'is' if len(taps) == 1 else 'are'} read elsewhere too" * bool(taps)
    hint = "; ".join(filter(None, (hint, _by_name(graph, found))))
    return GraphError(f"{graph.name} can be cut into {numbers[0]} slots at least, not {count}", hint=hint)


def _by_name(graph: Graph, found: Cuts) -> str:
    """What else there is to do: the repeated slots by name, and to give out less where that ties values down."""
    said = list(filter(None, (_copies(found)[1],)))
    ends = [name for name, i in graph.outputs if any(i == s.output for s in found.slots)]
    if len(graph.outputs) > 1 and ends:
        said.append(f"-o outputs.{ends[-1]}=null gives out less")
    return "; ".join(said)


def _copies(found: Cuts) -> tuple[int, str]:
    """How many slots the outermost repeated containers are, and how `split:` names these; "" where there are none."""
    copies: dict[str, int] = {}
    for slot in found.slots:
        if (copy := _COPY.fullmatch(slot.path)) and copy[1] and len(slot.ids) > 1:
            copies[copy[1]] = copies.get(copy[1], 0) + 1
    several = [parent for parent, n in copies.items() if n > 1]
    outer = [p for p in several if not any(p.startswith(f"{other}.") for other in several)]
    number = sum(copies[parent] for parent in outer)
    return number, f"split: [{', '.join(f'{parent}.*' for parent in outer)}] has {number} slots" if outer else ""


@dataclass(frozen=True)
class _Chain:
    """Weights of a chain's pieces, the first and last piece that each has to be with, which may be left out.

    A piece that is `tapped` is the last of its part: what it makes is read elsewhere too.
    """

    weights: tuple[int, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    spare: tuple[bool, ...]
    tapped: tuple[bool, ...]

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
        return _Chain(sums, tuple(first), tuple(last), tuple(spare), found.tapped)

    def best(self, count: int) -> tuple[tuple[int, int], ...] | None:
        """The (begin, end) of each of `count` parts, or None where there are no so many."""
        n = len(self.weights)
        if count > n:
            return None
        left, came = self._solve(count)
        parts = _parts(came, count, n) if left[count, n] <= n else None
        if parts is None:
            return None
        return _parts(self._solve(count, max(sum(self.weights[a:b]) for a, b in parts))[1], count, n)

    def numbers(self) -> list[int]:
        """How many parts there may be."""
        n = len(self.weights)
        left, _ = self._solve(n)
        return [k for k in range(1, n + 1) if left[k, n] <= n]

    def _solve(self, count: int, limit: int | None = None) -> tuple[Any, Any]:
        """Dynamic programming over the chain: how many of its first `end` pieces are left out of `k` parts, and where
        the last part begins, which is -1 where the last piece is left out.

        Of two ways with as few left out that of less cost is taken: the heaviest part, or with a `limit` on that the
        sum of the parts' squares.
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
        return left, came

    def _whole(self, np: Any, end: int) -> Any:
        """For each begin whether the pieces up to `end` hold all that any of them has to be with."""
        first = np.minimum.accumulate(np.array(self.first[:end])[::-1])[::-1]
        last = np.maximum.accumulate(np.array(self.last[:end])[::-1])[::-1]
        tap = max((n for n in range(end - 1) if self.tapped[n]), default=-1)
        return (first >= np.arange(end)) & (last < end) & (np.arange(end) > tap)


def _parts(came: Any, count: int, end: int) -> tuple[tuple[int, int], ...]:
    found = []
    while count:
        begin = int(came[count, end])
        if begin >= 0:
            found.append((begin, end))
            count -= 1
        end = begin if begin >= 0 else end - 1
    return tuple(reversed(found))
