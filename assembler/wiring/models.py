"""An imported model as one step of a recipe: its steps stand under the step's path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from assembler.errors import Problem
from assembler.graph.core import Graph, Node
from assembler.graph.shares import renamed
from assembler.recipe.edits import graph_text
from assembler.recipe.steps import Step
from assembler.wiring.build import draft
from assembler.wiring.written import written

if TYPE_CHECKING:
    from assembler.wiring.builder import Builder


def put_in(builder: Builder, step: Step, entering: Sequence[tuple[str, str]]) -> str:
    """Add the steps of a model that is a step, which reads `entering` (name, id); the id of its first output.

    Its outputs are read as `step.name`; what nothing reads of it is left out.
    """
    assert step.model is not None
    problems: list[Problem] = []
    graph = written(step.model, graph_text(step.model), problems, draft)
    outer = {name: i for name, i in entering if i}
    if not problems:
        problems += _unfit(step, graph, outer)
    for problem in problems:
        builder.note(problem.message, problem.span or step.span, problem.hint, problem.path)
    if problems or outer.keys() != {*graph.input_names}:  # noted; what reads it needs no words of its own
        known = next(iter(outer.values()), "")
        builder.names |= dict.fromkeys((step.path, *(f"{step.path}.{name}" for name, _ in graph.outputs)), known)
        return known
    return _added(builder, step.path, graph, outer)


def _unfit(step: Step, graph: Graph, outer: Mapping[str, str]) -> Iterator[Problem]:
    hint = f"its inputs are {', '.join(graph.input_names)}"
    for name in graph.input_names if outer.keys() <= {*graph.input_names} else ():  # else that is noted
        if name not in outer:
            yield Problem(f"step '{step.name}' needs its input '{name}'", step.value_span("from"), hint=hint)
    if graph.only:
        yield Problem(
            f"step '{step.name}' has inputs or outputs of one mode, which a model as a step cannot", step.span
        )


def _added(builder: Builder, path: str, graph: Graph, outer: dict[str, str]) -> str:
    outer |= {i: f"{path}.{i}" for i in graph.nodes}
    builder.nodes |= {outer[i]: _moved(node, outer) for i, node in graph}
    named = {f"{path}.{name}": i for name, i in graph.names.items()}
    named |= {f"{path}.{name}": i for name, i in graph.outputs if f"{path}.{name}" not in named}
    builder.names |= {name: outer[i] for name, i in named.items() if name not in builder.nodes}
    builder.spare |= {outer[i] for _, i in graph.outputs}
    builder.names[path] = outer[graph.outputs[0][1]]
    return builder.names[path]


def _moved(node: Node, outer: dict[str, str]) -> Node:
    inputs = tuple((port, outer[source]) for port, source in node.inputs)
    return renamed(replace(node, inputs=inputs), outer)
