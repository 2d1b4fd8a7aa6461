"""How far the channels that a layer makes reach: the norms they pass and the layers that take them up."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

from assembler.graph.core import SWITCH, Node
from assembler.rewrites.ops import AXES, BATCH_NORMS, ELEMENTWISE, POOLS, is_dense
from assembler.rewrites.view import View, argument

_OVER_ALL = ("layer_norm", "rms_norm", "layer_norm2d", "group_norm")
"""Norms over several channels. They do not notice copies if every channel has equally many."""

_JOINS = ("add", "sub", "mul", SWITCH)


@dataclass
class Reach:
    """Norms on the way of a layer's channels and the layers that read them, with the numbers that a channel became.

    `even` says that a norm looks at all channels at once, `end` at which step they can be followed no further: "" for
    an output of the graph, None where they all are.
    """

    norms: list[str] = field(default_factory=list)
    consumers: dict[str, int] = field(default_factory=dict)
    even: bool = False
    end: str | None = None


@dataclass(frozen=True)
class _At:
    """Where a value has the channels: their axis, and how many numbers in a row along it belong to one of them."""

    axis: int
    block: int = 1


def reach(view: View, layer: str) -> Reach | None:
    """Where the channels of a dense layer go; None where a step on the way does more than treat them alike."""
    found = followed(view, layer)
    return found if found.end is None else None


def followed(view: View, layer: str) -> Reach:
    """Where the channels of a dense layer go, as far as they can be followed."""
    found = Reach()
    axis = 1 if AXES[view.graph.nodes[layer].op] else len(view.types[layer].shape) - 1
    places = {layer: _At(axis)}
    waiting = [(view.position[layer], layer)]
    readers: set[str] = set()
    seen: set[str] = set()
    while waiting:
        value = heapq.heappop(waiting)[1]
        readers |= set(view.readers[value])
        for reader in dict.fromkeys(view.readers[value]):
            if not reader or value != _last_read(view, reader):  # its turn comes with the last of what it reads
                continue
            seen.add(reader)
            if not _pass(view, reader, places, found):
                found.end = reader
                return found
            if reader in places:
                heapq.heappush(waiting, (view.position[reader], reader))
    # An output of the graph ("") keeps its type, and a join waits in vain for what comes from elsewhere.
    left = readers - seen
    found.end = min(left, key=lambda i: view.position.get(i, -1)) if left else None if found.consumers else layer
    return found


def _last_read(view: View, i: str) -> str:
    return max(view.graph.nodes[i].sources, key=lambda s: view.position.get(s, -1))


def _pass(view: View, i: str, places: dict[str, _At], found: Reach) -> bool:
    """Follow the channels through the step `i`; false where they cannot be followed."""
    node = view.graph.nodes[i]
    ats = {places.get(s) for s in node.sources}
    at, shape = ats.pop(), view.types[node.sources[0]].shape
    if ats or at is None or node.body is not None:
        return False
    if len(node.inputs) > 1:
        if node.op in _JOINS and len({view.types[s] for s in node.sources}) == 1:
            places[i] = at
        return i in places
    if node.op in AXES:
        found.consumers[i] = at.block
        return _reads(view, i, at)
    further = _after(view, i, at, shape)
    if further is None and at.block == 1 and _is_norm(node, at, last=at.axis == len(shape) - 1) and view.free(i):
        found.norms.append(i)
        found.even = found.even or node.op in _OVER_ALL
        further = at
    if further is not None:
        places[i] = further
    return further is not None


def _reads(view: View, i: str, at: _At) -> bool:
    """Whether a layer's weight can be adapted to more channels."""
    node, axes = view.graph.nodes[i], len(view.types[view.graph.nodes[i].sources[0]].shape)
    fits = at.axis == (axes - 1 if node.op == "linear" else 1)
    return fits and is_dense(node) and view.free(i) and not {"in_channels", "in_features"} & dict(node.args).keys()


def _after(view: View, i: str, at: _At, shape: tuple[int, ...]) -> _At | None:
    """Where the value of a step without weights has the channels; None where it does more than treat them alike."""
    op, first = view.graph.nodes[i].op, at.axis == 1
    if op in ELEMENTWISE:
        return at
    if op in POOLS and first and at.block == 1 and len(shape) > 2:
        return at
    if op == "global_avg_pool" and first and len(view.types[i].shape) == 2:
        return _At(1)
    if op == "flatten" and first and not view.graph.nodes[i].args:
        return _At(1, at.block * math.prod(shape[2:]))
    return None


def _is_norm(node: Node, at: _At, *, last: bool) -> bool:
    if {"num_features", "num_channels", "normalized_shape", "channels"} & dict(node.args).keys():
        return False
    if node.op in BATCH_NORMS:
        return at.axis == 1 and argument(node, "track_running_stats") is True
    if node.op in ("layer_norm", "rms_norm"):
        return last
    return node.op in ("group_norm", "layer_norm2d") and at.axis == 1
