"""Steps that a recipe lays behind a model whose graph is text, such as a new head: they become part of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from assembler.errors import GraphError, Problem, RecipeError, near
from assembler.graph.core import Graph, Node
from assembler.graph.edit import prune, read_instead
from assembler.graph.shares import renamed
from assembler.graph.structure import flatten
from assembler.recipe.edits import AFTER
from assembler.recipe.values import Leaf, Map, Value, plain


def stands_after(graph: Graph, value: Value) -> str:
    """The value that a new step is read in place of, as its `after:` names it; "" for a step behind the model.

    Raises RecipeError where it names none.
    """
    said = value.get(AFTER) if isinstance(value, Map) else None
    if said is None:
        return ""
    if not isinstance(said, Leaf) or not isinstance(said.value, str):
        hint = "for instance after: encoder.layer.1"
        raise RecipeError(Problem(f"'{AFTER}' names the step that a new one follows", said.span, hint=hint))
    try:
        return graph.resolve(said.value)
    except GraphError as error:
        raise RecipeError(error.problems).at(said.span) from None


def begins(graph: Graph, name: str, value: Value, last: str) -> str:
    """What the new step `name` reads unless it says: `last`, the step laid before it, or else the model's output.

    Raises RecipeError where the model has several outputs, "" where the step says by `from:` what it reads.
    """
    if isinstance(value, Map) and "from" in value:
        return ""
    if last or len(graph.outputs) == 1:
        return last or graph.outputs[0][1]
    outputs = [output for output, _ in graph.outputs]
    hint = f"for instance {{op: ..., from: {outputs[0]}}}, or the path of a step"
    said = f"'{name}' needs a from: the model has the outputs {', '.join(outputs)}"
    raise RecipeError(Problem(said, value.span, name, hint))


def with_output_names(graph: Graph) -> Graph:
    """The graph with its outputs' names for their values, where no step or container is called so."""
    return replace(graph, names={**dict(graph.outputs), **graph.names})


def appended(graph: Graph, path: str, part: Graph, reads: Mapping[str, str], own: str, after: str = "") -> Graph:
    """The graph with the steps of `part` behind its own; those are called `own`, or begin with it, and get `path`.

    What read `after` reads what they make instead. Raises GraphError where they read what is made of it.
    """
    outer = {i: path + i.removeprefix(own) for i in (*part.nodes, *part.names)} | dict(reads)
    nodes = {outer[i]: _moved(node, outer) for i, node in part}
    names = {outer[p]: outer[i] for p, i in part.names.items()}
    more = replace(graph, nodes={**graph.nodes, **nodes}, names={**graph.names, **names})
    return read_instead(more, after, outer[part.outputs[0][1]], nodes) if after else more


def _moved(node: Node, outer: Mapping[str, str]) -> Node:
    inputs = tuple((port, outer.get(source, source)) for port, source in node.inputs)
    return renamed(replace(node, inputs=inputs), outer)


def given_out(graph: Graph, tree: Map, last: str) -> Graph:
    """The graph with the outputs of the recipe that extends it: those it names, or its last new step.

    Steps and inputs that only led to outputs which are gone, such as the old head, go as well. Raises GraphError for
    an output that is no step.
    """
    section = tree.get("outputs")
    if section is None and not last:
        return graph
    known = with_output_names(graph)
    said = {"output": last} if section is None else dict(_paths(section))
    wrong = next((path for path in said.values() if path not in (*graph.nodes, *known.names, *graph.input_names)), None)
    if wrong is not None:
        hint = near(wrong, [*known.names, *graph.nodes])
        raise GraphError(Problem(f"the outputs name '{wrong}', which is no step", section and section.span, hint=hint))
    read = {source for source, users in graph.users().items() if users}
    graph = prune(replace(graph, outputs=tuple((name, known.resolve(path)) for name, path in said.items())))
    users, ends = graph.users(), {i for _, i in graph.outputs}
    kept = tuple((name, kind) for name, kind in graph.inputs if users[name] or name in ends or name not in read)
    return replace(graph, inputs=kept, only=tuple((n, mode) for n, mode in graph.only if n in dict(kept) or n in said))


def _paths(section: Value) -> list[tuple[str, str]]:
    if isinstance(section, Leaf):
        return [("output", str(section.value))]
    return [(name, str(path)) for name, path in flatten(plain(section))]
