"""The `edits:` of a model whose graph is text, made to the graph: steps and containers replaced, arguments changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from assembler.errors import GraphError, Problem, RecipeError, near
from assembler.graph.core import Graph, Node
from assembler.graph.edit import cut, extract, graft, remove, replace_step, with_outputs
from assembler.graph.sides import sides_named, stream
from assembler.graph.verify import verify
from assembler.recipe.edits import AFTER, EDITS, ENDS, FROZEN, KEEP, WEIGHTS, is_new, levels, places
from assembler.recipe.notes import note_all
from assembler.recipe.scope import resolve, undecided, vars_of
from assembler.recipe.values import Leaf, Map, Value, is_choice, marked
from assembler.wiring.appended import appended, begins, given_out, stands_after, with_output_names
from assembler.wiring.interface import tensor_of
from assembler.wiring.outside import wired

Draft = Callable[[Map, list[Problem]], Graph]
SIZED = "sized"
_NEW = "new"
"""What a part is called while it is a recipe of its own."""


def edited(graph: Graph, tree: Map, problems: list[Problem], draft: Draft) -> Graph:
    """The graph after all edits of a recipe, in order; `draft` makes the graph of a part that is written as steps.

    What is said of a step that is gone, since one around it was replaced before, does not matter. What is wrong is
    added to `problems`, at the edit's own place.
    """
    section = tree.get(EDITS)
    if not len(graph):
        return graph
    if section is None:
        return _given_out(graph, tree, "", problems)
    if not isinstance(section, Map):
        hint = "for instance edits: {encoder.layer.1: identity}"
        note_all(
            problems, [Problem("'edits' must be a mapping of paths to steps and arguments", section.span, hint=hint)]
        )
        return graph
    written, made, last = graph, set[str](), ""
    for path, value in section:
        if _is_gone(path, written, graph) and not made.isdisjoint(levels(path)[:-1]):
            continue
        if _is_weights(path, graph):  # what steps begin with is no part of the graph
            continue
        made |= {path} if value != Leaf(KEEP) else set()
        try:
            if _is_new(path, value, graph):
                graph, behind = _appended(graph, path, value, last, tree, draft)
                last = path if behind else last
            else:
                graph = _edited(graph, path, value, tree, draft)
        except (GraphError, RecipeError) as error:
            note_all(problems, error.at(section.key_span(path)).problems)
    return _given_out(graph, tree, last, problems)


def _given_out(graph: Graph, tree: Map, last: str, problems: list[Problem]) -> Graph:
    try:
        return given_out(graph, tree, graph.resolve(last) if last else "")
    except GraphError as error:
        note_all(problems, error.problems)
        return graph


def _is_new(path: str, value: Value, graph: Graph) -> bool:
    """Whether an edit lays a step behind the model, since the model has none of that name."""
    return "." not in path and is_new(value) and not places(_known(graph), path)


def _is_weights(path: str, graph: Graph) -> bool:
    owner, _, last = path.rpartition(".")
    return last == WEIGHTS and bool(places(_known(graph), owner))


def _appended(graph: Graph, path: str, value: Value, last: str, tree: Map, draft: Draft) -> tuple[Graph, bool]:
    """The graph with a step more, and whether that stands behind the model.

    It reads the one laid before it, or the model's output, or the value that it stands after, unless it says.
    """
    if is_choice(value):
        assert isinstance(value, Map)
        raise RecipeError(undecided(value))
    after = stands_after(graph, value)
    begin = begins(graph, path, value, after or (graph.resolve(last) if last else ""))
    reads = {f"{_NEW}_x0": begin} if begin else {}
    value = value.drop(AFTER) if isinstance(value, Map) else value
    written = wired(value, f"{_NEW}_x0", with_output_names(graph), reads)
    part = _part(path, written, tuple(reads)[:1], tuple(reads), tree, draft)
    return _verified(appended(graph, path, part, reads, _NEW, after)), not after


def _known(graph: Graph) -> dict[str, None]:
    return dict.fromkeys(p for i in (*graph.nodes, *graph.names) for p in levels(i))


def _is_gone(path: str, written: Graph, graph: Graph) -> bool:
    """Whether a path, or the step whose argument it is, was there as the graph was written and is no longer."""
    owner = path.rpartition(".")[0]
    now = _known(graph)
    was = path if path in _known(written) else owner if owner in written.nodes else ""
    return bool(was) and was not in now


def _edited(graph: Graph, path: str, value: Value, tree: Map, draft: Draft) -> Graph:
    if is_choice(value):
        assert isinstance(value, Map)
        raise RecipeError(undecided(value))
    if isinstance(value, Leaf) and value.value == KEEP:
        return graph
    known = _known(graph)
    head, _, name = path.partition(".")
    if head in ENDS and path not in known:
        return _output(graph, name, value) if head == "outputs" else _input(graph, name, value, tree)
    if found := places(known, path):
        for place in found:
            graph = _placed(graph, place, value, tree, draft)
        return graph
    owner, _, argument = path.rpartition(".")
    if argument == FROZEN and (found := places(known, owner)):
        return _frozen(graph, found, value)
    steps = [p for p in places(known, owner) if p in graph.nodes]
    if not steps:
        above = next((p for p in reversed(levels(path)[:-1]) if p in graph.nodes), "")
        hint = f"'{above}' is {graph.nodes[above].op} now" if above else near(path, known)
        raise RecipeError(Problem(f"there is no step '{path}' in {graph.name}", hint=hint))
    if isinstance(value, Map):
        op = graph.nodes[owner].op if owner in graph.nodes else owner
        raise RecipeError(
            Problem(f"there is no step '{path}' to replace: '{owner}' is {op}", hint="replace the step around it")
        )
    said = resolve(value, vars_of(tree))
    for place in steps:
        graph = replace_step(graph, place, None, {argument: said})
    return graph


def _frozen(graph: Graph, found: list[str], value: Value) -> Graph:
    """The graph with all steps of some containers frozen, or not."""
    said = value.value if isinstance(value, Leaf) else None
    if not isinstance(said, bool):
        raise RecipeError(Problem("'frozen' is true or false", value.span))
    held = {i for path in found for i in graph.region(path)}
    return replace(graph, nodes={i: replace(n, frozen=said) if i in held else n for i, n in graph})


def _placed(graph: Graph, path: str, value: Value, tree: Map, draft: Draft) -> Graph:
    """The graph with the step or container at `path` replaced by what is written; null takes it out."""
    if isinstance(value, Leaf) and value.value is None:
        return remove(graph, path)
    node = graph.nodes[path] if graph.region(path) == (path,) else None
    joins = node is not None and len(set(node.sources)) != 1  # such a step may be exchanged wherever it stands
    entering = node.sources if node is not None and joins else (cut(graph, path).source,)
    reads = {f"{_NEW}_x{n}": source for n, source in enumerate(entering)}
    main = stream(graph, (path,), entering) if entering else ""
    first = next((name for name, source in reads.items() if source == main), "")
    written = wired(value, first, graph, reads)
    part = _part(path, written, tuple(reads)[: len(entering)], tuple(reads), tree, draft)
    new = part.nodes.get(_NEW)
    if joins and new is not None and len(part) == 1:
        return _exchanged(graph, path, reads, new)
    piece = extract(part, _NEW, {}, first)
    inner = sides_named(part, piece.input_names[1:], path)
    return graft(graph, path, piece, {name: reads[i] for name, i in inner.items()})


def _part(path: str, value: Value, own: tuple[str, ...], inputs: tuple[str, ...], tree: Map, draft: Draft) -> Graph:
    """The graph of a recipe of the one step `value`, which reads `own` unless it says. Raises RecipeError."""
    if len(inputs) > 1:
        value = value if isinstance(value, Map) else Map((("op", value),), value.span)
        value = value if "from" in value else value.set("from", marked(own[0] if len(own) == 1 else list(own)))
    steps = Map(((_NEW, value),), value.span, (value.span,))
    sections = [(key, tree.get(key)) for key in ("vars", "blocks", "initializers") if key in tree]
    model = Map((*sections, ("inputs", marked({name: ["B"] for name in inputs})), ("graph", steps)), value.span)
    problems: list[Problem] = []
    graph = draft(model, problems)
    if problems:
        raise RecipeError([replace(p, path=path) if p.span is None else p for p in problems])
    return graph


def _exchanged(graph: Graph, path: str, reads: Mapping[str, str], new: Node) -> Graph:
    """The graph with a step of several inputs exchanged for another one."""
    node = replace(new, inputs=tuple((port, reads[s]) for port, s in new.inputs))
    return _verified(replace(graph, nodes={**graph.nodes, path: node}))


def _input(graph: Graph, name: str, value: Value, tree: Map) -> Graph:
    """The graph with another name for an input, or of other sizes where the model takes them."""
    if name not in graph.input_names:
        hint = near(name, graph.input_names) or f"inputs: {', '.join(graph.input_names)}"
        raise GraphError(f"{graph.name} has no input '{name}'", hint=hint)
    if isinstance(value, Leaf) and isinstance(value.value, str):
        return _renamed(graph, name, value.value)
    kind = dict(graph.inputs)[name]
    shape = tensor_of(name, resolve(value, vars_of(tree)), value).shape
    if len(shape) != len(kind.shape) or (axes := fixed_axes(graph, name, shape[1:])):
        said = f"the input '{name}' has the sizes that the model was imported at, {list(kind.shape[1:])}"
        free = f" or with an axis left open (--free {name}.{axes[0]})" if len(shape) == len(kind.shape) else ""
        raise GraphError(said, hint=f"import the model again at another size (--input){free}")
    sized = replace(kind, shape=(kind.shape[0], *shape[1:]))
    return _verified(replace(graph, inputs=tuple((n, sized if n == name else k) for n, k in graph.inputs)))


def fixed_axes(graph: Graph, name: str, sizes: tuple[int, ...]) -> list[int]:
    """The axes of an imported model's input that cannot have these sizes, which begin behind the batch."""
    limits = [node for node in graph.nodes.values() if node.op == SIZED and name in node.sources]
    found = []
    for axis, size in enumerate(sizes, 1):
        for node in limits:
            only, most = node.arg("shape")[axis], (node.arg("most") or (-1,) * (axis + 1))[axis]
            found += [axis] if only not in (-1, size) or -1 < most < size else []
    return found


def _renamed(graph: Graph, name: str, new: str) -> Graph:
    names = {name: new}
    nodes = {i: n.reading(names) for i, n in graph}
    nodes = {i: _sized(n, name, new) for i, n in nodes.items()}
    return _verified(
        replace(
            graph,
            inputs=tuple((names.get(n, n), kind) for n, kind in graph.inputs),
            nodes=nodes,
            outputs=tuple((n, names.get(i, i)) for n, i in graph.outputs),
            names={p: names.get(i, i) for p, i in graph.names.items()},
            only=tuple((names.get(n, n), mode) for n, mode in graph.only),
        )
    )


def _sized(node: Node, name: str, new: str) -> Node:
    """A step that checks the sizes of an input, with the input's new name."""
    if node.op != SIZED or node.arg("name") != name:
        return node
    return replace(node, args=tuple((key, new if key == "name" else value) for key, value in node.args))


def _output(graph: Graph, name: str, value: Value) -> Graph:
    """The graph with another output, or without one."""
    said = value.value if isinstance(value, Leaf) else ""
    outputs = {n: i for n, i in graph.outputs if n != name}
    if said is None and outputs:
        return with_outputs(graph, outputs)
    if not isinstance(said, str):
        raise GraphError(f"the output '{name}' must name a step", hint="null takes it out")
    return with_outputs(graph, {**outputs, name: said})


def _verified(graph: Graph) -> Graph:
    verify(graph)
    return graph
