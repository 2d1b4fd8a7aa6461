"""Pure edits of a graph: each returns a new, verified graph that shares every untouched node with the old one.

A *slot* is a path whose region carries one value on and lets one leave; what else it reads are side inputs. `extract`
makes a slot's region a graph of its own and `graft` puts one back: an id under the slot's path loses the path
(`stage.1.mix.token` -> `mix.token`), and the step at the path itself, a residual's sum for instance, is called `root`.
The steps of a run (`stem..stage.0`) keep their ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from assembler.errors import AssemblerError, GraphError
from assembler.graph.core import ITEM, Arg, Graph, Node, TensorType
from assembler.graph.runs import end_names, ends, entry, inner_names
from assembler.graph.shares import owners, renamed
from assembler.graph.sides import entering, side_names, sides_named, stream
from assembler.graph.verify import input_names, verify
from assembler.registry import REQUIRED, Entry, lookup

ROOT = "root"
"""What the step at a slot's own path is called inside the slot's graph."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A region that can be replaced: `source` is the value that it carries on, `output` the one that is read of it.

    `sides` are the values that it reads beside the first: masks, positions, the states of an encoder.
    """

    path: str
    ids: tuple[str, ...]
    source: str
    output: str
    sides: tuple[str, ...] = ()


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


def cut(graph: Graph, path: str, source: str = "") -> Slot:
    """The slot at `path`. Raises GraphError, listing the edges that cross, unless values enter and one leaves.

    `source` is the value that it carries on, where that is known already; else see `sides.stream`.
    """
    ids = graph.region(path)
    if not ids:
        raise GraphError(f"cannot cut '{path}': it holds no steps", path=path)
    inside, leaving = entering(graph, ids), _leaving(graph, ids)
    results = dict.fromkeys(a for a, _ in leaving)
    if said := torn(bonds(graph), ids):
        raise GraphError(f"cannot cut '{path}': {said}", path=path, hint=_cuttable(graph, path))
    if inside and len(results) == 1:
        run = ends(path)
        source = source or (entry(graph, run[0]) if run else stream(graph, ids, inside))
        return Slot(path, ids, source, next(iter(results)), tuple(s for s in inside if s != source))
    edges = [f"    enters: {a} -> {b}" for b in ids for a in dict.fromkeys(graph.nodes[b].sources) if a in inside]
    edges += [f"    leaves: {a} -> {b}" for a, b in leaving]
    wrong = (
        f"{_count(len(results), 'leave')}, of a slot one does" if inside else "no value enters, into a slot one does"
    )
    raise GraphError("\n".join([f"cannot cut '{path}': {wrong}", *edges]), path=path, hint=_cuttable(graph, path))


def replace_step(graph: Graph, path: str, op: str | None, args: Mapping[str, Any]) -> Graph:
    """The graph with another `op` at `path` (with `args` alone), or with `args` merged into the step's own.

    A single step keeps its id and what it reads. A container is replaced as a whole by one step with its path as id.
    """
    return _verified(_replaced(graph, path, op, args))


def _replaced(graph: Graph, path: str, op: str | None, args: Mapping[str, Any]) -> Graph:
    """What `replace_step` gives, not verified: a body alone may share what lies around it."""
    node = graph.nodes.get(path)
    if node is not None and (op is None or graph.region(path) == (path,)):
        merged = dict(node.args) | _arguments(node.op, args) if op is None else args
        new = step(op or node.op, merged, node.sources, node)
        if op is None:
            new = replace(new, body=node.body, share=node.share, init=node.init)
        return replace(graph, nodes={**graph.nodes, path: new})
    if owner := _holder(graph, path):
        body = graph.nodes[owner].body
        assert body is not None
        inner = _replaced(body, path.removeprefix(f"{owner}."), op, args)
        return replace(graph, nodes={**graph.nodes, owner: replace(graph.nodes[owner], body=inner)})
    if op is None:
        graph.resolve(path)
        raise GraphError(f"'{path}' is a container or an input and has no arguments", path=path, hint="give an op")
    span = graph.nodes[cut(graph, path).output].span
    new = replace(step(op, args, ("x",)), span=span)
    own = run[1] if (run := ends(path)) else ROOT
    return _grafted(graph, path, Graph((("x", TensorType(())),), {own: new}, (("y", own),)))


def insert_after(graph: Graph, path: str, i: str, op: str, **args: Arg) -> Graph:
    """The graph with a new step `i` (a whole path) that reads the value at `path` and is read in its place.

    Containers that hold the value and that `i` lies under hold the new step's value from now on.
    """
    source = graph.resolve(path)
    if i in graph.nodes or i in graph.names or i in graph.input_names:
        raise GraphError(f"there is a step '{i}' already", path=i)
    names = {p: i if v == source and i.startswith(f"{p}.") else v for p, v in graph.names.items()}
    more = replace(graph, nodes={**graph.nodes, i: step(op, args, (source,))}, names=names)
    return _verified(read_instead(more, source, i, (i,)))


def read_instead(graph: Graph, source: str, i: str, but: Collection[str]) -> Graph:
    """The graph in which all that read `source` read `i`, but for the steps `but` that make it; it is not verified.

    Raises GraphError where `i` is made of what reads `source`.
    """
    moved = {source: i}
    # a further output is one of the step itself, whatever reads its first one now
    nodes = {j: n if j in but or n.op == ITEM else n.reading(moved) for j, n in graph}
    new = {j: nodes[j] for j in but}
    place = {j: n for n, j in enumerate(graph.nodes)}
    last = max((s for n in new.values() for s in n.sources if s not in new), key=lambda s: place.get(s, -1))
    laid = {} if last in graph.nodes else dict(new)
    for j in nodes:
        laid |= {} if j in new else {j: nodes[j]}
        laid |= new if j == last else {}
    laid = _ordered(laid)
    if not _in_order(laid):
        raise GraphError(f"'{i}' stands after '{source}', and reads '{last}', which is made of that", path=i)
    return _made(graph, laid, dict(graph.names), moved)


def remove(graph: Graph, path: str) -> Graph:
    """The graph without the step or container at `path`: what read it reads what it carried on.

    Raises GraphError for one step that reads several values, which carries none of them on.
    """
    slot = cut(graph, path)
    if slot.sides and slot.ids == (path,):
        several = " and ".join(dict.fromkeys(graph.nodes[path].sources))
        what = f"cannot take '{path}' out: it joins {several}, and either could be passed on"
        raise GraphError(what, path=path, hint="take the container out that holds it, or put another step there")
    new = graft(graph, path, Graph((("x", TensorType(())),), {}, (("y", "x"),)))
    return replace(new, names={p: i for p, i in new.names.items() if p != path})


def extract(graph: Graph, path: str, types: Mapping[str, TensorType], source: str = "") -> Graph:
    """The region of the slot at `path` as a graph with an input `x`, one for each side input, and one output `y`.

    `types` gives the types of the values that enter, by id; a graph input's is known. The first input is called `x_`
    where a step in the region is called `x`, side inputs as `sides.side_names` says. `source` is as in `cut`.
    """
    slot = cut(graph, path, source)
    kinds = {**dict(graph.inputs), **types}
    if missing := next((i for i in (slot.source, *slot.sides) if i not in kinds), ""):
        raise GraphError(f"the type of '{missing}', which enters '{path}', is not given", path=path)
    inner = {i: inner_id(path, i) for i in slot.ids}
    prefix = f"{path}."
    containers = {p: graph.names[outer] for outer, p in inner_names(graph, slot).items()}
    taken = {*inner.values(), *containers}
    if any(f"{i}.".startswith(f"{prefix}{ROOT}.") for i in slot.ids):
        raise GraphError(f"'{path}.{ROOT}' stands in the way: a slot's own step is called {ROOT}", hint="rename it")
    x = "x"
    while x in taken:
        x += "_"
    sides = side_names(graph, slot.sides, slot.ids, {*taken, x})
    inner |= {slot.source: x, **sides}
    nodes = {inner[i]: _renamed(graph.nodes[i], inner) for i in slot.ids}
    names = {p: inner[v] for p, v in containers.items() if v in inner}
    inputs = ((x, kinds[slot.source]), *((name, kinds[i]) for i, name in sides.items()))
    return _verified(Graph(inputs, nodes, (("y", inner[slot.output]),), names, f"{graph.name}.{path}"))


def graft(graph: Graph, path: str, part: Graph, reads: Mapping[str, str] | None = None) -> Graph:
    """The graph with `part` in place of the slot at `path`; the inverse of `extract`.

    The part's first input is what the slot carries on, each other one the value of that name, as `reads` says (name
    -> id) or else `sides.sides_named`. The path keeps naming the slot's value, also where `part` has no steps and
    hands on what enters. Raises GraphError where `part` has no input or not one output, or reads what the slot makes.
    """
    return _verified(_grafted(graph, path, part, reads))


def _grafted(graph: Graph, path: str, part: Graph, reads: Mapping[str, str] | None = None) -> Graph:
    slot = cut(graph, path)
    if not part.inputs or len(part.outputs) != 1:
        counts = f"{len(part.inputs)} inputs and {len(part.outputs)} outputs"
        raise GraphError(f"a part has an input and one output, the one for '{path}' has {counts}", path=path)
    x, *more = part.input_names
    sides = sides_named(graph, more, path) if reads is None else dict(reads)
    if own := next((i for i in sides.values() if i in slot.ids), ""):
        raise GraphError(f"a part for '{path}' reads '{own}', which is a step of what it replaces", path=path)
    outer = {i: outer_id(path, i) for i in part.nodes} | {x: slot.source, **sides}
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
    return _made(graph, _ordered(_placed(graph, slot, inside, output)), names, {slot.output: output})


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
    """The graph of these nodes; outputs that read a moved value read it where it is now."""
    names = {p: i for p, i in names.items() if i in nodes or i in graph.input_names}
    outputs = tuple((name, moved.get(i, i)) for name, i in graph.outputs)
    return Graph(graph.inputs, nodes, outputs, names, graph.name, graph.only)


def _placed(graph: Graph, slot: Slot, inside: dict[str, Node], output: str) -> dict[str, Node]:
    """The graph's nodes with `inside` where the slot's were: id by id if those are the same, else as one block."""
    moved = {slot.output: output}
    region = set(slot.ids)
    outside = {i: node.reading(moved) for i, node in graph if i not in region}
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


def _ordered(nodes: dict[str, Node]) -> dict[str, Node]:
    """The nodes with each after what it reads, and as they stand where there is no such order."""
    if _in_order(nodes):
        return nodes
    found: dict[str, Node] = {}
    waiting = dict(nodes)
    while waiting:
        ready = [i for i, node in waiting.items() if not any(s in waiting for s in node.sources)]
        if not ready:
            return nodes
        found |= {i: waiting.pop(i) for i in ready}
    return found


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The node among steps that have other ids now: it reads them, and uses their weights, under those."""
    return renamed(node.reading(names), names) if node.share or node.body is not None else node.reading(names)


def bonds(graph: Graph) -> tuple[tuple[str, str, str], ...]:
    """Pairs of steps that no cut may come between, and why: shared weights, further outputs of one step."""
    sharing = ((i, n) for i, n in graph if n.share or n.body is not None)
    shared = [(i, o, "uses the weights of") for i, n in sharing for o in owners(n, graph.nodes)]
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


def _leaving(graph: Graph, ids: tuple[str, ...]) -> list[tuple[str, str]]:
    """The edges (from, to) that leave a region, each once; a graph output counts as a reader."""
    region = set(ids)
    found = [(s, i) for i, node in graph if i not in region for s in node.sources if s in region]
    found += [(i, f"output {name}") for name, i in graph.outputs if i in region]
    return list(dict.fromkeys(found))


def _cuttable(graph: Graph, path: str) -> str:
    """A hint at the nearest path around `path` that is a slot."""
    while "." in path and not ends(path):
        path = path.rpartition(".")[0]
        ids = graph.region(path)
        if entering(graph, ids) and len({a for a, _ in _leaving(graph, ids)}) == 1:
            return f"'{path}' can be cut"
    return ""


def _count(number: int, verb: str) -> str:
    return f"1 value {verb}s" if number == 1 else f"{number} values {verb}"
