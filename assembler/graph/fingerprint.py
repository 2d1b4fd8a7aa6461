"""A digest of a graph that does not depend on names or on the order of independent branches.

Colours are refined up and down the graph until they are stable (Weisfeiler and Leman, 1968). Values that still share
a colour are put in a canonical order: the part where they are tied falls apart into components, since an edge between
two colours that are joined completely binds nobody; equal components are interchangeable, and only a component that
does not fall apart is searched, by individualisation (McKay and Piperno, 2014, arXiv:1301.1493), within a bound on
the work. The digest is of the whole graph written in that order, so equal digests mean equal graphs.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assembler.errors import AssemblerError
from assembler.graph.core import Arg, Graph, Node, TensorType
from assembler.graph.shares import owner_of
from assembler.registry import lookup

Edges = Sequence[Sequence[tuple[bytes, int]]]
"""For every value, the (input name, value) pairs on one side of it."""


def fingerprint(graph: Graph, *, named: bool = False) -> str:
    """32 hexadecimal digits that two graphs share if and only if they are isomorphic.

    It covers ops, arguments, edges with their input names (not for ops that are `commutative`), which steps are
    shared, bodies, marks, output names, and types of inputs except for the batch size. `named` covers the inputs'
    names too. It does not cover ids, names and order of
    inputs, names of containers, provenance. Arguments that Python holds equal (1, 1.0, True) are equal, as in graphs.
    Graphs in which symmetric steps are woven together so much that the search is given up, far from anything that
    people build, may share a digest without being isomorphic.
    """
    web = _web(graph, named)
    everything = range(len(web.labels))
    colours = _sweep(web, everything, dict(enumerate(web.labels)))
    search = _Search(web, 100_000 + 20 * len(colours))
    try:
        colours = search.refined(everything, colours)
        order = search.order(everything, colours)
    except _BoundError:
        return _digest(b"tied", *sorted(colours.values())).hex()
    return _written(web, order, web.labels).hex()


@dataclass(frozen=True, slots=True)
class _Web:
    """A graph as numbered values in topological order, inputs first, with what is said of each alone as its label."""

    labels: list[bytes]
    sources: Edges
    users: Edges


class _BoundError(Exception):
    """The search for a canonical order went past its bound."""


def _web(graph: Graph, named: bool) -> _Web:
    number = {i: n for n, i in enumerate((*graph.input_names, *graph.nodes))}
    labels = [_type_label(kind, name if named else "") for name, kind in graph.inputs]
    sources: list[list[tuple[bytes, int]]] = [[] for _ in number]
    users: list[list[tuple[bytes, int]]] = [[] for _ in number]
    commutative = {op: _commutative(op) for op in {node.op for node in graph.nodes.values()}}
    for i, node in graph.nodes.items():
        n = number[i]
        labels.append(_label(node.op, node.args) if _is_plain(node) else _marked(node))
        for shared, path in node.share:
            owner, parameter = owner_of(path, number)
            edge = _digest(b"share", shared.encode(), parameter.encode())
            sources[n].append((edge, number[owner]))
            users[number[owner]].append((edge, n))
        ordered = not commutative[node.op]
        for port, source in node.inputs:
            name = _port(port) if ordered else b""
            sources[n].append((name, number[source]))
            users[number[source]].append((name, n))
    for output, i in sorted(graph.outputs):
        labels[number[i]] = _digest(labels[number[i]], output.encode())
    for said, mode in sorted(graph.only):
        i = dict(graph.outputs).get(said, said)
        labels[number[i]] = _digest(labels[number[i]], b"only", mode.encode())
    return _Web(labels, sources, users)


def _is_plain(node: Node) -> bool:
    return node.body is None and not node.frozen and not node.init


def _marked(node: Node) -> bytes:
    """The label of a step with a body or a mark."""
    body = b"" if node.body is None else _body(node.body)
    init = repr(sorted((n, _equalised(r)) for n, r in node.init)).encode() if node.init else b""
    return _digest(_label(node.op, node.args), body, b"frozen" * node.frozen, init)


@functools.lru_cache(maxsize=1024)
def _body(graph: Graph) -> bytes:
    return fingerprint(graph, named=True).encode()


def _commutative(op: str) -> bool:
    try:
        return bool(lookup("op", op).option("commutative"))
    except AssemblerError:
        return False


@functools.lru_cache(maxsize=65536)
def _label(op: str, args: tuple[tuple[str, Arg], ...]) -> bytes:
    return _digest(b"step", op.encode(), repr([(name, _equalised(value)) for name, value in sorted(args)]).encode())


def _type_label(kind: TensorType, name: str) -> bytes:
    said = (kind.dtype, len(kind.shape), kind.shape[1:])
    return _digest(b"input", repr((*said, name) if name else said).encode())


@functools.lru_cache(maxsize=1024)
def _port(name: str) -> bytes:
    return _digest(name.encode())


def _equalised(value: Arg) -> Arg:
    """One representative of the values that compare equal: 1 for 1.0 and True."""
    if isinstance(value, tuple):
        return tuple(_equalised(v) for v in value)
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return value


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join([len(p).to_bytes(4, "big") + p for p in parts]), digest_size=16).digest()


def _sweep(web: _Web, part: Sequence[int], colours: dict[int, bytes]) -> dict[int, bytes]:
    """A finer colouring of `part` (in topological order): by what each value is made from, then by what it is used for.

    Both are carried through the whole part at once.
    """
    for places, edges in ((part, web.sources), (part[::-1], web.users)):
        found: dict[int, bytes] = {}
        for n in places:
            around = [port + found[m] for port, m in edges[n] if m in found]
            if len(around) > 1:
                around.sort()
            found[n] = hashlib.blake2b(colours[n] + b"".join(around), digest_size=16).digest()
        colours = found
    return colours


def _written(web: _Web, order: Sequence[int], said: Mapping[int, bytes] | Sequence[bytes]) -> bytes:
    """The digest of the values in `order`, what is said of each, and the edges between them."""
    place = {n: at for at, n in enumerate(order)}
    lines = []
    for n in order:
        edges = sorted([port + place[m].to_bytes(4, "big") for port, m in web.sources[n] if m in place])
        lines.append(said[n] + len(edges).to_bytes(4, "big") + b"".join(edges))
    return hashlib.blake2b(b"".join(lines), digest_size=16).digest()


@dataclass(slots=True)
class _Search:
    """The search for an order of tied values that is the same for all isomorphic graphs; `left` bounds the work.

    The work is counted over the whole search tree, so whether it passes the bound does not depend on names either.
    """

    web: _Web
    left: int

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise _BoundError

    def refined(self, part: Sequence[int], colours: dict[int, bytes]) -> dict[int, bytes]:
        """The coarsest stable colouring that is finer than `colours`, or one that tells all values apart."""
        count, before = len(set(colours.values())), 0
        while before < count < len(part):
            self.spend(len(part))
            colours = _sweep(self.web, part, colours)
            before, count = count, len(set(colours.values()))
        return colours

    def order(self, part: Sequence[int], colours: dict[int, bytes]) -> list[int]:
        """The values of `part`, stably coloured, in canonical order."""
        if len({colours[n] for n in part}) == len(part):
            return sorted(part, key=colours.__getitem__)
        self.spend(len(part))
        components = self._components(part, colours)
        if len(components) == 1 < len(part):
            return self._individualised(part, colours)
        ranked = []
        for component in components:
            order = self.order(component, colours) if len(component) > 1 else component
            form = _written(self.web, order, colours) if len(component) > 1 else colours[component[0]]
            ranked.append((form, order))
        return [n for _, order in sorted(ranked) for n in order]  # components of one form are interchangeable

    def _individualised(self, part: Sequence[int], colours: dict[int, bytes]) -> list[int]:
        """The order of least form among those that begin by telling one value of the smallest tied colour apart."""
        cells: dict[bytes, list[int]] = {}
        for n in part:
            cells.setdefault(colours[n], []).append(n)
        chosen = min(cells.values(), key=lambda cell: (len(cell), colours[cell[0]]))
        ranked = []
        for n in chosen:
            own = {m: colours[m] for m in part}
            own[n] = _digest(b"individual", own[n])
            order = self.order(part, self.refined(part, own))
            ranked.append((_written(self.web, order, colours), order))
        return min(ranked)[1]

    def _components(self, part: Sequence[int], colours: dict[int, bytes]) -> list[list[int]]:
        """`part` without the edges between colours that are joined completely, as connected components."""
        inside = set(part)
        edges: dict[tuple[int, int], list[bytes]] = {}
        for n in part:
            for port, m in self.web.sources[n]:
                if m in inside:
                    edges.setdefault((m, n), []).append(port)
        kinds = {(m, n): (colours[m], colours[n], tuple(sorted(ports))) for (m, n), ports in edges.items()}
        count, size = Counter(kinds.values()), Counter(colours[n] for n in part)
        parent = {n: n for n in part}
        for (m, n), kind in kinds.items():
            if count[kind] < size[kind[0]] * size[kind[1]]:
                parent[_find(parent, m)] = _find(parent, n)
        found: dict[int, list[int]] = {}
        for n in part:
            found.setdefault(_find(parent, n), []).append(n)
        return list(found.values())


def _find(parent: dict[int, int], n: int) -> int:
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n
