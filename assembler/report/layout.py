"""Layered layout of a directed acyclic graph: longest-path layers, barycentre order, then straightened positions.

After Sugiyama, Tagawa and Toda (1981). Layers run downwards; transpose the result to have them run to the right.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Edge = tuple[str, str]
Point = tuple[float, float]
Cell = Hashable  # a box's name, or the place where a long edge passes a layer

MOST_BENDS = 4000  # beyond this many, long edges go straight: bends would cost more than they clear up


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node lies: its top left corner and its size, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The x of the middle."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by name, the points that each edge passes (in order, ends included), and the drawing's size."""

    boxes: Mapping[str, Box]
    routes: Mapping[Edge, tuple[Point, ...]]
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Gaps:
    """Room between neighbours of one layer, between layers, and for a passing edge."""

    beside: float = 18.0
    between: float = 26.0
    bend: float = 14.0


def layered(sizes: Mapping[str, tuple[float, float]], edges: Sequence[Edge], gaps: Gaps | None = None) -> Layout:
    """Lay out nodes of the given (width, height). Edges to strangers, to oneself or closing a cycle are left out."""
    room = gaps or Gaps()
    known = list(dict.fromkeys((a, b) for a, b in edges if a in sizes and b in sizes and a != b))
    layer_of = longest_path(list(sizes), known)
    known = [(a, b) for a, b in known if layer_of[a] < layer_of[b]]
    layers, chains = _fill(layer_of, known)
    links = [pair for chain in chains.values() for pair in pairwise(chain)]
    _order(layers, links)
    widths: dict[Cell, float] = {cell: room.bend for row in layers for cell in row}
    widths.update({name: size[0] for name, size in sizes.items()})
    middles = _straighten(layers, links, widths, room)
    return _place(layers, chains, middles, sizes, room)


def longest_path(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The layer of every node: 0 for sources, else one below its lowest predecessor. Nodes on a cycle stay at 0."""
    after: dict[str, list[str]] = {name: [] for name in names}
    waiting = dict.fromkeys(names, 0)
    for a, b in edges:
        after[a].append(b)
        waiting[b] += 1
    found = dict.fromkeys(names, 0)
    ready = [name for name in names if waiting[name] == 0]
    for name in ready:
        for user in after[name]:
            found[user] = max(found[user], found[name] + 1)
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    return {name: found[name] if waiting[name] == 0 else 0 for name in names}


def _fill(layer_of: Mapping[str, int], edges: Sequence[Edge]) -> tuple[list[list[Cell]], dict[Edge, list[Cell]]]:
    """The cells of every layer in a first order, and the cells that every edge goes through."""
    layers: list[list[Cell]] = [[] for _ in range(max(layer_of.values(), default=-1) + 1)]
    for name, layer in layer_of.items():
        layers[layer].append(name)
    bends = sum(layer_of[b] - layer_of[a] - 1 for a, b in edges)
    chains: dict[Edge, list[Cell]] = {}
    for a, b in edges:
        between = range(layer_of[a] + 1, layer_of[b]) if bends <= MOST_BENDS else range(0)
        passed: list[Cell] = [(a, b, layer) for layer in between]
        for layer, cell in zip(between, passed, strict=True):
            layers[layer].append(cell)
        chains[(a, b)] = [a, *passed, b]
    return layers, chains


def _neighbours(links: Sequence[tuple[Cell, Cell]]) -> tuple[dict[Cell, list[Cell]], dict[Cell, list[Cell]]]:
    above: dict[Cell, list[Cell]] = {}
    below: dict[Cell, list[Cell]] = {}
    for a, b in links:
        below.setdefault(a, []).append(b)
        above.setdefault(b, []).append(a)
    return above, below


def _order(layers: list[list[Cell]], links: Sequence[tuple[Cell, Cell]], sweeps: int = 4) -> None:
    """Sort every layer by the mean place of its neighbours, down and up in turn; ties keep their order."""
    above, below = _neighbours(links)
    place = {cell: float(at) for row in layers for at, cell in enumerate(row)}
    for sweep in range(sweeps):
        rows, near = (layers, above) if sweep % 2 == 0 else (layers[::-1], below)
        for row in rows:
            if len(row) < 2:
                continue
            wish = {c: sum(place[n] for n in near[c]) / len(near[c]) if c in near else place[c] for c in row}
            row.sort(key=lambda c, wish=wish: wish[c])  # type: ignore[misc]
            place.update((cell, float(at)) for at, cell in enumerate(row))


def _straighten(
    layers: Sequence[Sequence[Cell]], links: Sequence[tuple[Cell, Cell]], widths: Mapping[Cell, float], room: Gaps
) -> dict[Cell, float]:
    """The x of every cell's middle: pulled towards its neighbours, never overlapping within a layer."""
    above, below = _neighbours(links)
    middles: dict[Cell, float] = {}
    for row in layers:
        middles.update(_pack(row, dict.fromkeys(row, 0.0), widths, room.beside))
    for sweep in range(9):
        rows, near = (layers, above) if sweep % 2 == 0 else (layers[::-1], below)
        for row in rows:
            wish = {c: _pull(c, near.get(c, []), middles) for c in row}
            middles.update(_pack(row, wish, widths, room.beside))
    return middles


def _pull(cell: Cell, near: Sequence[Cell], middles: Mapping[Cell, float]) -> float:
    """Where a cell would like to be: under the named boxes that it touches, else under the bends."""
    boxes = [middles[n] for n in near if isinstance(n, str)] if isinstance(cell, str) else []
    wanted = boxes or [middles[n] for n in near] or [middles[cell]]
    return sum(wanted) / len(wanted)


def _pack(
    row: Sequence[Cell], wish: Mapping[Cell, float], widths: Mapping[Cell, float], gap: float
) -> dict[Cell, float]:
    """Middles close to the wishes, in order and apart: neighbours that collide merge into a block at its mean wish."""
    blocks: list[tuple[float, float, int, float]] = []  # (weighted sum of wished lefts, weight, cells, width taken)
    for cell in row:
        weight = 1.0 if isinstance(cell, str) else 1e-5  # boxes stay in line, bends make room
        total, cells, taken = weight * (wish[cell] - widths[cell] / 2), 1, widths[cell] + gap
        while blocks and blocks[-1][0] / blocks[-1][1] + blocks[-1][3] > total / weight:
            before = blocks.pop()
            total += before[0] - weight * before[3]
            weight, cells, taken = weight + before[1], cells + before[2], taken + before[3]
        blocks.append((total, weight, cells, taken))
    found: dict[Cell, float] = {}
    at = 0
    for total, weight, cells, _ in blocks:
        left = total / weight
        for cell in row[at : at + cells]:
            found[cell] = left + widths[cell] / 2
            left += widths[cell] + gap
        at += cells
    return found


def _place(
    layers: Sequence[Sequence[Cell]],
    chains: Mapping[Edge, Sequence[Cell]],
    middles: Mapping[Cell, float],
    sizes: Mapping[str, tuple[float, float]],
    room: Gaps,
) -> Layout:
    """Boxes and routes in a frame that starts at (0, 0)."""
    left = min((middles[name] - size[0] / 2 for name, size in sizes.items()), default=0.0)
    left = min([left, *(middles[c] - room.bend / 2 for row in layers for c in row if not isinstance(c, str))])
    boxes: dict[str, Box] = {}
    spans: dict[Cell, tuple[float, float]] = {}
    top = 0.0
    for row in layers:
        height = max((sizes[c][1] for c in row if isinstance(c, str)), default=0.0)
        for cell in row:
            spans[cell] = (top, top + height)
            if isinstance(cell, str):
                width, own = sizes[cell]
                boxes[cell] = Box(middles[cell] - width / 2 - left, top + (height - own) / 2, width, own)
        top += height + room.between
    routes = {edge: tuple(_route(chain, boxes, spans, middles, left)) for edge, chain in chains.items()}
    right = max((box.x + box.width for box in boxes.values()), default=0.0)
    right = max([right, *(x + room.bend / 2 for route in routes.values() for x, _ in route)])
    return Layout(boxes, routes, right, max(0.0, top - room.between))


def _route(
    chain: Sequence[Cell],
    boxes: Mapping[str, Box],
    spans: Mapping[Cell, tuple[float, float]],
    middles: Mapping[Cell, float],
    left: float,
) -> list[Point]:
    start, stop = boxes[str(chain[0])], boxes[str(chain[-1])]
    points = [(start.middle, start.y + start.height), (start.middle, spans[chain[0]][1])]
    for cell in chain[1:-1]:
        points += [(middles[cell] - left, spans[cell][0]), (middles[cell] - left, spans[cell][1])]
    return [*points, (stop.middle, spans[chain[-1]][0]), (stop.middle, stop.y)]
