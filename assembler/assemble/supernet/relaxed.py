"""A space of ops as one graph: at each place all candidates side by side, weighted by a softmax (DARTS)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from assembler.errors import AssemblerError, RecipeError
from assembler.graph.core import Graph, Node
from assembler.infer.shape import shapes
from assembler.recipe.choices import Choice, Decision, Space

_HINT = "supernet: {train: spos} or sandwich takes any choice"


@dataclass
class Relaxed:
    """The mixed graph. `places` are for each decision the paths that it decides, whose candidates are `path.c0`, ...

    `alphas` are the keys of the softmaxes' logits by decision; a decision on several places has one for all.
    """

    graph: Graph
    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    alphas: dict[str, str] = field(default_factory=dict)

    def key(self, name: str, choice: Mapping[str, object]) -> str:
        """Where the mixed graph has a tensor that the candidate of a choice calls `name`."""
        for decision, paths in self.places.items():
            for path in paths:
                if name == path or name.startswith(f"{path}."):
                    return f"{path}.c{choice[decision]}{name[len(path) :]}"
        return name


def relaxed(space: Space, graph: Callable[[Choice], Graph]) -> Relaxed:
    """The mixed graph of a space in which every decision picks one of several ops or bodies at its places.

    Raises RecipeError for a decision that does more: that stands inside a candidate, or changes what lies around it.
    """
    base = space.first
    made = Relaxed(graph(base))
    for d in space.decisions:
        if d.kind != "oneof" or d.when:
            said = "stands inside a candidate" if d.when else f"is one of numbers or several ({d.kind})"
            raise RecipeError(f"darts relaxes choices between ops, and '{d.name}' {said}", hint=_HINT)
        variants = [graph({**base, d.name: k}) for k in range(len(d.labels))]
        paths = _places(variants)
        taken = [p for held in made.places.values() for p in held]
        if not paths or any(_within(a, b) or _within(b, a) for a in paths for b in taken):
            raise RecipeError(f"darts cannot relax '{d.name}': its places are those of another decision", hint=_HINT)
        _check(d, variants, paths)
        made = _mixed(made, d, variants, paths)
    try:
        shapes(made.graph)
    except AssemblerError as error:
        said = f"darts weighs candidates of one shape: {error.problems[0].message}"
        raise RecipeError(said, hint=_HINT) from None
    return made


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}.")


def _is_place(graph: Graph, path: str) -> bool:
    return path in graph.nodes or path in graph.names


def _value(graph: Graph, place: str) -> str:
    return place if place in graph.nodes else graph.names[place]


def _places(variants: list[Graph]) -> tuple[str, ...]:
    """The shortest paths that all variants have and under which everything lies that differs."""
    first, found = variants[0], set[str]()
    for other in variants[1:]:
        for i in {*first.nodes, *other.nodes}:
            one, two = first.nodes.get(i), other.nodes.get(i)
            if one and two and (one.op, one.args, one.body) == (two.op, two.args, two.body):
                continue
            while i and not all(_is_place(g, i) for g in variants):
                i = i.rpartition(".")[0]
            found.add(i)
    return (
        tuple(sorted(p for p in found if not any(q != p and _within(p, q) for q in found))) if "" not in found else ()
    )


def _read(graph: Graph, paths: tuple[str, ...]) -> dict[str, str]:
    """What steps read in place of the values at the places."""
    return {_value(graph, path): f"{path}.mixed" for path in paths}


def _rewired(node: Node, names: Mapping[str, str]) -> Node:
    return replace(node, inputs=tuple((port, names.get(source, source)) for port, source in node.inputs))


def _check(d: Decision, variants: list[Graph], paths: tuple[str, ...]) -> None:
    """Raise RecipeError unless the variants differ at the places alone, and can be named anew there."""

    def around(graph: Graph) -> dict[str, Node]:
        names = _read(graph, paths)
        return {i: _rewired(n, names) for i, n in graph if not any(_within(i, p) for p in paths)}

    if any(around(graph) != around(variants[0]) for graph in variants):
        raise RecipeError(f"darts relaxes choices between ops, and '{d.name}' changes what is around", hint=_HINT)
    inside = [n for graph in variants for i, n in graph if any(_within(i, p) for p in paths)]
    if any(node.share for node in inside):
        raise RecipeError(f"darts cannot relax '{d.name}': a candidate shares weights", hint=_HINT)


def _mixed(made: Relaxed, d: Decision, variants: list[Graph], paths: tuple[str, ...]) -> Relaxed:
    """The graph with all candidates of one more decision."""
    whole = made.graph
    names = _read(whole, paths)
    nodes: dict[str, Node] = {}
    done: set[str] = set()
    for i, node in whole:
        path = next((p for p in paths if _within(i, p)), None)
        if path is None:
            nodes[i] = _rewired(node, names)
        elif path not in done:
            done.add(path)
            ends = []
            for k, variant in enumerate(variants):
                nodes |= _candidate(variant, path, f"{path}.c{k}", {**_earlier(made, variant), **_read(variant, paths)})
                ends.append(f"{path}.c{k}{_value(variant, path)[len(path) :]}")
            tied = (("alpha", f"{paths[0]}.mixed.alpha"),) if path != paths[0] else ()
            nodes[f"{path}.mixed"] = Node("mixture", (), tuple((str(n), e) for n, e in enumerate(ends)), share=tied)
    outputs = tuple((name, names.get(i, i)) for name, i in whole.outputs)
    graph = Graph(whole.inputs, nodes, outputs, {}, whole.name, whole.only)
    places, alphas = {**made.places, d.name: paths}, {**made.alphas, d.name: f"{paths[0]}.mixed.alpha"}
    return Relaxed(graph, places, alphas)


def _earlier(made: Relaxed, variant: Graph) -> dict[str, str]:
    """What to read in place of the values that earlier decisions decide."""
    return {k: v for paths in made.places.values() for k, v in _read(variant, paths).items()}


def _candidate(variant: Graph, path: str, to: str, names: Mapping[str, str]) -> dict[str, Node]:
    """The steps at a place under another path; what they read from outside is read from where it is now."""
    inside = {i: f"{to}{i[len(path) :]}" for i in variant.nodes if _within(i, path)}
    return {new: _rewired(variant.nodes[i], {**names, **inside}) for i, new in inside.items()}
