"""Pure edits of a graph: each returns a new, verified graph that shares every untouched node with the old one.

A *slot* is a path whose region has one value entering and one leaving. `extract` makes a slot's region a graph of its
own and `graft` puts one back: an id under the slot's path loses the path (`stage.1.mix.token` -> `mix.token`), and
the step at the path itself, a residual's sum for instance, is called `root`. The steps of a run (`stem..stage.0`) keep
their ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from assembler.errors import AssemblerError, GraphError
from assembler.graph.core import ITEM, Arg, Graph, Node, TensorType
from assembler.graph.runs import end_names, ends, inner_names
from assembler.graph.shares import moved_shares, owners
from assembler.graph.verify import input_names, verify
from assembler.registry import REQUIRED, Entry, lookup

ROOT = "root"
"""What the step at a slot's own path is called inside the slot's graph."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A region that can be replaced: `source` is the one value that it reads, `output` the one that is read of it."""

    path: str
    ids: tuple[str, ...]
    source: str
    output: str


def inner_id(path: str, i: str) -> str:
    """The id that the step `i` of the slot at `path` has in the slot's own graph."""
    return i if ends(path) else ROOT if i == path else i.removeprefix(f"{path}.")


def outer_id(path: str, i: str) -> str:
    """The inverse of `inner_id`; state_dict keys of a part map the same way."""
    return i if ends(path) else path if i == ROOT else f"{path}.{i}"


def step(op: str, args: Mapping[str, Any], sources: tuple[str, ...], like: Node | None = None) -> Node:
    """A node in canonical form: arguments by their recipe names, sorted, defaults dropped, lists as tuples.

    `sources` feed the op's inputs in order. `like` gives the input names where they fit, and the span.
    """
    given = _arguments(op, args)
    entry = _entry(op)
    numbers = tuple(str(n) for n in range(len(sources)))
    if entry is None:  # `verify` says so
        return Node(op, tuple(sorted(given.items())), tuple(zip(numbers, sources, strict=True)))
    defaults = {p.name: _frozen(p.default) for p in entry.params}
    kept = {name: value for name, value in given.items() if not _same(value, defaults.get(name, REQUIRED))}
    written, known = tuple(port for port, _ in like.inputs) if like else (), input_names(entry)
    if entry.variadic:
        ports = numbers
    elif len(written) == len(sources) and (entry.has_body or set(written) <= set(known)):
        ports = written
    else:
        ports = (*known, *numbers[len(known) :])
    inputs = tuple(zip(ports, sources, strict=False))
    frozen = like is not None and like.frozen
    return Node(entry.name, tuple(sorted(kept.items())), inputs, like.span if like else None, frozen=frozen)


def cut(graph: Graph, path: str) -> Slot:
    """The slot at `path`. Raises GraphError, listing the edges that cross, unless one value enters and one leaves."""
    ids = graph.region(path)
    if not ids:
        raise GraphError(f"cannot cut '{path}': it holds no steps", path=path)
    entering, leaving = _border(graph, ids)
    sources, results = ({a for a, _ in edges} for edges in (entering, leaving))
    if said := torn(bonds(graph), ids):
        raise GraphError(f"cannot cut '{path}': {said}", path=path, hint=_cuttable(graph, path))
    if len(sources) == 1 and len(results) == 1:
        return Slot(path, ids, sources.pop(), results.pop())
    edges = [f"    enters: {a} -> {b}" for a, b in entering] + [f"    leaves: {a} -> {b}" for a, b in leaving]
    counts = f"{_count(len(sources), 'enter')} and {_count(len(results), 'leave')}"
    message = "\n".join([f"cannot cut '{path}': {counts}, a slot has one of each", *edges])
    raise GraphError(message, path=path, hint=_cuttable(graph, path))


def replace_step(graph: Graph, path: str, op: str | None, args: Mapping[str, Any]) -> Graph:
    """The graph with another `op` at `path` (with `args` alone), or with `args` merged into the step's own.

    A single step keeps its id and what it reads. A container is replaced as a whole by one step with its path as id.
    """
    node = graph.nodes.get(path)
    if node is not None and (op is None or graph.region(path) == (path,)):
        merged = dict(node.args) | _arguments(node.op, args) if op is None else args
        new = step(op or node.op, merged, node.sources, node)
        if op is None:
            new = replace(new, body=node.body, share=node.share, init=node.init)
        return _verified(replace(graph, nodes={**graph.nodes, path: new}))
    if owner := _holder(graph, path):
        body = graph.nodes[owner].body
        assert body is not None
        inner = replace_step(body, path.removeprefix(f"{owner}."), op, args)
        return _verified(replace(graph, nodes={**graph.nodes, owner: replace(graph.nodes[owner], body=inner)}))
    if op is None:
        graph.resolve(path)
        raise GraphError(f"'{path}' is a container or an input and has no arguments", path=path, hint="give an op")
    span = graph.nodes[cut(graph, path).output].span
    new = replace(step(op, args, ("x",)), span=span)
    own = run[1] if (run := ends(path)) else ROOT
    return graft(graph, path, Graph((("x", TensorType(())),), {own: new}, (("y", own),)))


def insert_after(graph: Graph, path: str, i: str, op: str, **args: Arg) -> Graph:
    """The graph with a new step `i` (a whole path) that reads the value at `path` and is read in its place.

    Containers that hold the value and that `i` lies under hold the new step's value from now on.
    """
    source = graph.resolve(path)
    if i in graph.nodes or i in graph.names or i in graph.input_names:
        raise GraphError(f"there is a step '{i}' already", path=i)
    new = step(op, args, (source,))
    nodes: dict[str, Node] = {} if source in graph.nodes else {i: new}
    for old, node in graph:
        # a further output is one of the step itself, whatever reads its first one now
        nodes[old] = node if node.op == ITEM else _reading(node, {source: i})
        if old == source:
            nodes[i] = new
    names = {p: i if v == source and i.startswith(f"{p}.") else v for p, v in graph.names.items()}
    return _made(graph, nodes, names, {source: i})


def remove(graph: Graph, path: str) -> Graph:
    """The graph without the step or container at `path`: what read it reads its single source."""
    new = graft(graph, path, Graph((("x", TensorType(())),), {}, (("y", "x"),)))
    return replace(new, names={p: i for p, i in new.names.items() if p != path})


def extract(graph: Graph, path: str, types: Mapping[str, TensorType]) -> Graph:
    """The region of the slot at `path` as a graph with one input `x` and one output `y`.

    `types` gives the type of the value that enters, by id; a graph input's is known. The input is called `x_` where a
    step in the region is called `x`.
    """
    slot = cut(graph, path)
    kind = types.get(slot.source) or dict(graph.inputs).get(slot.source)
    if kind is None:
        raise GraphError(f"the type of '{slot.source}', which enters '{path}', is not given", path=path)
    inner = {i: inner_id(path, i) for i in slot.ids}
    prefix = f"{path}."
    containers = {p: graph.names[outer] for outer, p in inner_names(graph, slot).items()}
    taken = [*inner.values(), *containers]
    if any(f"{i}.".startswith(f"{prefix}{ROOT}.") for i in slot.ids):
        raise GraphError(f"'{path}.{ROOT}' stands in the way: a slot's own step is called {ROOT}", hint="rename it")
    x = "x"
    while x in taken:
        x += "_"
    inner[slot.source] = x
    nodes = {inner[i]: _renamed(graph.nodes[i], inner) for i in slot.ids}
    names = {p: inner[v] for p, v in containers.items() if v in inner}
    return _verified(Graph(((x, kind),), nodes, (("y", inner[slot.output]),), names, f"{graph.name}.{path}"))


def graft(graph: Graph, path: str, part: Graph) -> Graph:
    """The graph with `part` in place of the slot at `path`; the inverse of `extract`.

    The path keeps naming the slot's value, also where `part` has no steps and hands on what enters. Raises GraphError
    where `part` does not have one input and one output.
    """
    slot = cut(graph, path)
    if len(part.inputs) != 1 or len(part.outputs) != 1:
        counts = f"{len(part.inputs)} inputs and {len(part.outputs)} outputs"
        raise GraphError(f"a part has one input and one output, the one for '{path}' has {counts}", path=path)
    outer = {i: outer_id(path, i) for i in part.nodes} | {part.input_names[0]: slot.source}
    inside = {outer[i]: _renamed(node, outer) for i, node in part}
    output = outer[part.outputs[0][1]]
    if clash := next((i for i in inside if i in graph.nodes and i not in slot.ids), ""):
        raise GraphError(f"a part for '{path}' cannot have a step '{clash}': the model has one outside", path=path)
    gone = inner_names(graph, slot)
    names = {p: output if v == slot.output else v for p, v in graph.names.items() if p not in gone}
    names |= {path: output} if path in names or path in graph.nodes else {}
    names |= {p if ends(path) else f"{path}.{p}": outer[v] for p, v in part.names.items() if v in outer}
    names |= end_names(slot, inside, output) if ends(path) else {}
    names = {p: v for p, v in names.items() if p not in inside}
    return _made(graph, _placed(graph, slot, inside, output), names, {slot.output: output})


def with_outputs(graph: Graph, outputs: Mapping[str, str]) -> Graph:
    """The graph with these outputs, name -> path, instead of its own."""
    return _verified(replace(graph, outputs=tuple((name, graph.resolve(path)) for name, path in outputs.items())))


def prune(graph: Graph) -> Graph:
    """The graph without the steps that no output depends on. Inputs stay."""
    needed: set[str] = set()
    waiting = [i for _, i in graph.outputs]
    while waiting:
        i = waiting.pop()
        if i in graph.nodes and i not in needed:
            needed.add(i)
            waiting += (*graph.nodes[i].sources, *owners(graph.nodes[i], graph.nodes))
    nodes = {i: node for i, node in graph if i in needed}
    inputs = graph.input_names
    names = {p: i for p, i in graph.names.items() if i in needed or i in inputs}
    return _verified(replace(graph, nodes=nodes, names=names))


def _entry(op: str) -> Entry | None:
    try:
        return lookup("op", op)
    except AssemblerError:
        return None


def _arguments(op: str, args: Mapping[str, Any]) -> dict[str, Arg]:
    """Arguments under the names that recipes use, in canonical form. One that is given under two names keeps both."""
    entry = _entry(op)
    found: dict[str, Arg] = {}
    for name, value in args.items():
        param = entry.param(name) if entry else None
        whole = isinstance(value, int) and not isinstance(value, bool)
        frozen = float(value) if param and param.type.kind == "float" and whole else _frozen(value)
        if not _is_arg(frozen):
            raise GraphError(f"argument '{name}' of op '{op}' cannot be {value!r}", hint="scalars and lists can")
        found[param.name if param and param.name not in args else name] = frozen
    return found


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        value = tuple(value.items())
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value


def _is_arg(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_arg(v) for v in value)
    return value is None or isinstance(value, bool | int | float | str)


def _same(value: Arg, default: Any) -> bool:
    return bool(value == default) and type(value) is type(default)


def _verified(graph: Graph) -> Graph:
    verify(graph)
    return graph


def _made(graph: Graph, nodes: dict[str, Node], names: dict[str, str], moved: Mapping[str, str]) -> Graph:
    """The verified graph of these nodes; outputs that read a moved value read it where it is now."""
    names = {p: i for p, i in names.items() if i in nodes or i in graph.input_names}
    outputs = tuple((name, moved.get(i, i)) for name, i in graph.outputs)
    return _verified(Graph(graph.inputs, nodes, outputs, names, graph.name, graph.only))


def _placed(graph: Graph, slot: Slot, inside: dict[str, Node], output: str) -> dict[str, Node]:
    """The graph's nodes with `inside` where the slot's were: id by id if those are the same, else as one block."""
    moved = {slot.output: output}
    region = set(slot.ids)
    outside = {i: _reading(node, moved) for i, node in graph if i not in region}
    if tuple(inside) == slot.ids:
        nodes = {i: inside[i] if i in region else outside[i] for i in graph.nodes}
        if _in_order(nodes):
            return nodes
    nodes = {}
    for i in graph.nodes:
        if i == slot.output:
            nodes |= inside
        elif i in outside:
            nodes[i] = outside[i]
    return nodes


def _in_order(nodes: Mapping[str, Node]) -> bool:
    place = {i: n for n, i in enumerate(nodes)}
    return all(place.get(s, -1) < place[i] for i, node in nodes.items() for s in node.sources)


def _reading(node: Node, moved: Mapping[str, str]) -> Node:
    """The node with moved sources; the same object where none of its sources moved."""
    if not any(moved.get(s, s) != s for _, s in node.inputs):
        return node
    return replace(node, inputs=tuple((port, moved.get(s, s)) for port, s in node.inputs))


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The node among steps that have other ids now: it reads them, and uses their weights, under those."""
    return replace(_reading(node, names), share=moved_shares(node, names)) if node.share else _reading(node, names)


def bonds(graph: Graph) -> tuple[tuple[str, str, str], ...]:
    """Pairs of steps that no cut may come between, and why: shared weights, further outputs of one step."""
    shared = [(i, o, "uses the weights of") for i, n in graph if n.share for o in owners(n, graph.nodes)]
    items = [(i, source, "is an output of") for i, n in graph if n.op == ITEM for source in n.sources]
    return (*shared, *items)


def torn(pairs: Iterable[tuple[str, str, str]], ids: Collection[str]) -> str:
    """What is wrong where one of two bound steps is in the region and the other is not; else ""."""
    region = set(ids)
    found = next((p for p in pairs if (p[0] in region) != (p[1] in region)), None)
    return f"'{found[0]}' {found[2]} '{found[1]}', which is on the other side" if found else ""


def _holder(graph: Graph, path: str) -> str:
    """The step whose body holds the step at `path`, or ""."""
    parts = path.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
    return next((p for p in prefixes if p in graph.nodes and graph.nodes[p].body is not None), "")


def _border(graph: Graph, ids: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The edges (from, to) that enter and that leave a region, each once; a graph output counts as a reader."""
    region = set(ids)
    entering: list[tuple[str, str]] = []
    leaving: list[tuple[str, str]] = []
    for i, node in graph:
        for source in node.sources:
            if (i in region) != (source in region):
                (entering if i in region else leaving).append((source, i))
    leaving += [(i, f"output {name}") for name, i in graph.outputs if i in region]
    return list(dict.fromkeys(entering)), list(dict.fromkeys(leaving))


def _cuttable(graph: Graph, path: str) -> str:
    """A hint at the nearest path around `path` that is a slot."""
    while "." in path and not ends(path):
        path = path.rpartition(".")[0]
        edges = _border(graph, graph.region(path))
        if all(len({a for a, _ in side}) == 1 for side in edges):
            return f"'{path}' can be cut"
    return ""


def _count(number: int, verb: str) -> str:
    return f"1 value {verb}s" if number == 1 else f"{number} values {verb}"
