"""A digest of a graph that does not depend on names or on the order of independent branches.

A graph is cut at its waists, values that all before lead to and that nothing behind reads past; the digest is of the
digests of the lengths between them, in order. Within a length colours are refined up and down until they are stable
(Weisfeiler and Leman, 1968). Values that still share a colour are put in a canonical order: the part where they are
tied falls apart into components, since an edge between two colours that are joined completely binds nobody; equal
components are interchangeable, and only a component that does not fall apart is searched, by individualisation (McKay
and Piperno, 2014, arXiv:1301.1493), within a bound on the work. The digest is of the whole length written in that
order, so equal digests mean equal graphs.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from assembler.errors import AssemblerError
from assembler.graph.core import Arg, Graph, Node, TensorType
from assembler.graph.shares import owner_of, parts
from assembler.registry import lookup

Edges = Sequence[Sequence[tuple[bytes, int]]]
"""For every value, the (input name, value) pairs on one side of it."""
_ENTRY = b"entry"
"""Stands for what is said of the value that a length begins behind."""


def fingerprint(graph: Graph) -> str:
    """32 hexadecimal digits that two graphs share if and only if they are isomorphic.

    It covers ops, arguments, edges with their input names (not for ops that are `commutative`), which steps are
    shared, bodies, marks, output names, and types of inputs except for the batch size. It does not cover ids, names and
    order of inputs, names of containers, provenance, nor what a body calls a value that it reads from around it.
    Arguments that Python holds equal (1, 1.0, True) are equal, as in graphs.
    Graphs in which symmetric steps are woven together so much that the search is given up, far from anything that
    people build, may share a digest without being isomorphic.
    """
    return _joined([digest for digest, _ in _lengths(_web(graph))])


def chained(graph: Graph, last: str) -> tuple[bytes, ...] | None:
    """The digests of the lengths behind the one input of a graph, which must all lie between it and the value `last`.

    None where they do not. `joined` makes the fingerprint of graphs that stand behind one another like that, where the
    output of the whole is marked as that of the last one alone.
    """
    web = _Web()
    number = {name: web.value(_ENTRY) for name in graph.input_names}
    web.steps(graph, number)
    found = _lengths(web)
    if len(graph.inputs) != 1 or found[0][1] != 0 or found[-1][1] != number[last]:
        return None
    return tuple([digest for digest, _ in found[1:]])


def joined(kind: TensorType, chain: Iterable[bytes]) -> str:
    """The fingerprint of what is chained behind an input of this type."""
    return _joined([_written(_Web([_type_label(kind)], [[]], [[]]), [0], [_type_label(kind)]), *chain])


def _joined(lengths: Sequence[bytes]) -> str:
    return hashlib.blake2b(b"".join(lengths), digest_size=16).hexdigest()


@dataclass(slots=True)
class _Web:
    """A graph as numbered values in topological order, inputs first, with what is said of each alone as its label.

    The steps of a body are values like all others, before the step that holds them; `bodies` has their numbers, by the
    `id` of the numbers of the steps around and the step that holds them.
    """

    labels: list[bytes] = field(default_factory=list)
    sources: list[list[tuple[bytes, int]]] = field(default_factory=list)
    users: list[list[tuple[bytes, int]]] = field(default_factory=list)
    bodies: dict[tuple[int, str], dict[str, int]] = field(default_factory=dict)

    def value(self, label: bytes) -> int:
        """A new value; its number."""
        self.labels.append(label)
        self.sources.append([])
        self.users.append([])
        return len(self.labels) - 1

    def edge(self, name: bytes, source: int, user: int) -> None:
        self.sources[user].append((name, source))
        self.users[source].append((name, user))

    def steps(self, graph: Graph, number: dict[str, int], around: tuple[dict[str, int], ...] = ()) -> None:
        """Adds all steps of a graph to `number`, which holds its inputs; `around` are those of the graphs around it."""
        commutative = {op: _commutative(op) for op in {node.op for node in graph.nodes.values()}}
        for i, node in graph.nodes.items():
            inside = [] if node.body is None else self.body(i, node, (*around, number))
            n = number[i] = self.value(_label(node.op, node.args) if _is_plain(node) else _marked(node))
            for shared, path in node.share:
                owner, parameter = self.owner(path, (*around, number))
                self.edge(_digest(b"share", shared.encode(), parameter.encode()), owner, n)
            ordered = not commutative[node.op]
            for port, source in node.inputs if node.body is None else ():
                self.edge(_port(port) if ordered else b"", number[source], n)
            for name, m in inside:
                self.edge(name, m, n)
        for output, i in sorted(graph.outputs):
            self.labels[number[i]] = _digest(self.labels[number[i]], output.encode())

    def owner(self, path: str, around: tuple[dict[str, int], ...]) -> tuple[int, str]:
        """The number of the step that a shared path names, and the parameter in it."""
        up, (*through, last) = parts(path)
        here = around[-1 - up]
        for step in through:
            here = self.bodies[id(here), step]
        owner, parameter = owner_of(last, here)
        return here[owner], parameter

    def body(self, i: str, node: Node, around: tuple[dict[str, int], ...]) -> list[tuple[bytes, int]]:
        """Adds the values of the body of the step `i`; (edge, number) of what it reads, which is what enters it."""
        assert node.body is not None
        words, inside, read, number, body = _words(node), {}, [], around[-1], node.body
        for name in body.input_names:
            said = _port(name) if name in words else b""
            m = inside[name] = self.value(_digest(b"enters", said))
            read.append((said, m))
            for source in (s for port, s in node.inputs if port == name):
                self.edge(b"", number[source], m)
        self.steps(body, inside, around)
        self.bodies[id(number), i] = inside
        return read + [(_digest(b"made", name.encode()), inside[i]) for name, i in body.outputs]


def _lengths(web: _Web) -> list[tuple[bytes, int]]:
    """The digest of every length with the value at its end, which is its waist; nobody knows what ends the last."""
    found: list[tuple[bytes, int]] = []
    entry = -1
    for waist in _waists(web):
        found.append((_length(web, entry, waist), waist))
        entry = waist
    if entry < len(web.labels) - 1:
        found.append((_length(web, entry, len(web.labels) - 1), -1))
    return found


def _waists(web: _Web) -> list[int]:
    """The values that every one before leads to, and behind which none reads one before, in order.

    Such a value has the same number in every topological order, so which they are does not depend on names.
    """
    count = len(web.labels)
    furthest, found = count, [False] * count  # the earliest value that those behind read
    for n in reversed(range(count)):
        found[n] = furthest >= n
        furthest = min([furthest, *[m for _, m in web.sources[n]]]) if web.sources[n] else -1
    latest, waists = 0, []  # where the last of the values before is first read
    for n in range(count):
        if found[n] and latest <= n:
            waists.append(n)
        latest = max(latest, min([m for _, m in web.users[n]], default=count))
    return waists


def _length(web: _Web, entry: int, last: int) -> bytes:
    """The digest of the values behind `entry` up to `last`, and of how they read it."""
    if last == entry + 1 and entry >= 0:
        return _digest(b"one", web.labels[last], *sorted([port for port, _ in web.sources[last]]))
    part = range(max(entry, 0), last + 1)
    labels = {n: web.labels[n] if n != entry else _ENTRY for n in part}
    search = _Search(web, 100_000 + 20 * len(part))
    try:
        colours = search.refined(part, _sweep(web, part, labels))
        order = search.order(part, colours)
    except _BoundError:
        return _digest(b"tied", *sorted(colours.values()))
    return _written(web, order, labels)


class _BoundError(Exception):
    """The search for a canonical order went past its bound."""


def _web(graph: Graph) -> _Web:
    web = _Web()
    number = {name: web.value(_type_label(kind)) for name, kind in graph.inputs}
    web.steps(graph, number)
    for said, mode in sorted(graph.only):
        n = number[dict(graph.outputs).get(said, said)]
        web.labels[n] = _digest(web.labels[n], b"only", mode.encode())
    return web


def _is_plain(node: Node) -> bool:
    return not node.frozen and not node.init


def _marked(node: Node) -> bytes:
    """The label of a step with a mark."""
    init = repr(sorted((n, _equalised(r)) for n, r in node.init)).encode() if node.init else b""
    return _digest(_label(node.op, node.args), b"frozen" * node.frozen, init)


def _words(node: Node) -> set[str]:
    """The inputs of a body whose names mean something: the op's own, and those that its arguments mention."""
    found = set(lookup("op", node.op).inputs)
    waiting: list[Arg] = [value for _, value in node.args]
    while waiting:
        value = waiting.pop()
        if isinstance(value, tuple):
            waiting += value
        elif isinstance(value, str):
            found.add(value)
    return found


def _commutative(op: str) -> bool:
    try:
        return bool(lookup("op", op).option("commutative"))
    except AssemblerError:
        return False


@functools.lru_cache(maxsize=65536)
def _label(op: str, args: tuple[tuple[str, Arg], ...]) -> bytes:
    return _digest(b"step", op.encode(), repr([(name, _equalised(value)) for name, value in sorted(args)]).encode())


def _type_label(kind: TensorType) -> bytes:
    return _digest(b"input", repr((kind.dtype, len(kind.shape), kind.shape[1:])).encode())


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
