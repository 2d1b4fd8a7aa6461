"""Steps whose op calls a sub-graph: their body is wired like any other steps and then cut out as a graph of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assembler.errors import Problem, near
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.shares import enclosed, owners
from assembler.graph.verify_shares import COPIES, lends
from assembler.recipe.steps import Step, name_of
from assembler.registry import Entry
from assembler.wiring.giving import given_out
from assembler.wiring.names import Names

if TYPE_CHECKING:
    from assembler.wiring.builder import Builder

UNKNOWN = TensorType(())
"""The type of what enters a body, which depends on the step around it."""


def nest(builder: Builder, step: Step, current: str, names: Names) -> str:
    """Wire a step with a body; returns its id. What the body reads from around it becomes an input of the step."""
    path = step.path
    builder.nodes[path] = Node("identity", (), (("input", current),), step.span)
    entry = builder.entry(step)
    args = builder.args(step, entry, dict(step.args)) if entry else ()
    given = _given(builder, step, current, names)
    provided = [
        str(dict(args).get(key)) for key in (entry.option("provides") or () if entry else ()) if dict(args).get(key)
    ]
    entering = {name: f"{path}.{name}" for name in (*dict(given), *provided)}
    for i in entering.values():
        builder.nodes[i] = Node("identity", (), (), step.span)  # stands for an input of the body while it is wired
    inside = Names(dict(entering), names, hints=_unfed(step, entry, dict(args), entering), inputs=tuple(entering))
    first = f"{path}.{given[0][0]}" if len(given) == 1 else ""
    for inner in step.body:
        taken = {"an input": inner.path in entering.values(), "an argument": entry and entry.param(inner.name)}
        for what in [what for what, is_taken in taken.items() if is_taken]:
            said = f"step '{inner.name}' has the name of {what} of '{step.name}'"
            builder.note(said, inner.named, "choose another name for the step")
            return path
    last = builder.chain(step.body, first, inside)
    if not lends(step.op):
        _note_shared_outside(builder, step)
    outputs = tuple(given_out(builder, step, inside)) or (("output", last),)
    body, captured = _cut_out(builder, path, entering, outputs)
    if entry is None or not step.body:
        return path
    inputs = (*given, *captured)
    node = Node(entry.name, args, inputs, step.span, body=body)
    builder.nodes.pop(path)
    if all(source for _, source in inputs):
        builder.nodes[path] = node
        for problem in _named_outputs(step, node, entry.of_body):
            builder.note(problem.message, problem.span, problem.hint)
    else:
        builder.nodes[path] = Node("identity", (), (("input", current),), step.span)
    return path


def _unfed(step: Step, entry: Entry | None, args: Mapping[str, Any], entering: Mapping[str, str]) -> dict[str, str]:
    """What to do of the names that the step has its body read and give out, and that do not enter it at first."""
    read = dict(args).get("carry") if entry and "carry" in entry.of_body else ()
    hint = f"'{step.name}' carries '{{0}}', and nothing says what it begins as: name that under its 'from', {{0}}: ..."
    return {name: hint.format(name) for name in read or () if name not in entering}


def _note_shared_outside(builder: Builder, step: Step) -> None:
    """Copies of a body have weights of their own."""
    prefix = f"{step.path}."
    region = {i: node for i, node in builder.nodes.items() if i.startswith(prefix)}
    for i, node in region.items():
        for owner in owners(node, builder.nodes):
            if owner not in region:
                said = f"'{i}' cannot use the weights of '{owner}', which is outside of the body of '{step.name}'"
                builder.note(said, node.span, COPIES)


def _given(builder: Builder, step: Step, current: str, names: Names) -> list[tuple[str, str]]:
    """(name, id) of what the step says it reads: by name, or one value that the body calls `input`."""
    source = step.source
    if isinstance(source, dict):
        return [(name, builder.find(s, step, names, name)) for name, s in source.items()]
    if source is None:
        return [("input", current)] if current else []
    if isinstance(source, list):
        builder.note(f"'{step.op}' reads its inputs by name", step.value_span("from"), "for instance {x: tokens}")
        return []
    return [("input", builder.find(source, step, names))]


def _cut_out(
    builder: Builder, path: str, entering: Mapping[str, str], outputs: tuple[tuple[str, str], ...]
) -> tuple[Graph, tuple[tuple[str, str], ...]]:
    """The body as a graph with ids relative to `path`, and (name, id) of the values around it that it reads."""
    prefix = f"{path}."
    region = {i: builder.nodes.pop(i) for i in [i for i in builder.nodes if i.startswith(prefix)]}
    inputs = {i: name for name, i in entering.items()}
    moved = {i: i.removeprefix(prefix) for i in region}
    captured: dict[str, str] = {}
    inner = {p.removeprefix(prefix) for p in builder.names if p.startswith(prefix)}
    for source in dict.fromkeys([s for node in region.values() for s in node.sources] + [i for _, i in outputs]):
        if source and source not in region:
            name = name_of(source)  # the same in every copy of a step, whose weights may be shared
            while name in (*moved.values(), *captured.values(), *inner):
                name += "_"
            captured[source] = moved[source] = name
    nodes = {}
    for i, node in region.items():
        if i not in inputs:
            nodes[moved[i]] = enclosed(node.reading(moved), prefix)
    names = {p: v for p, v in builder.names.items() if p.startswith(prefix)}
    for p in names:
        builder.names.pop(p)
    body = Graph(
        tuple((name, UNKNOWN) for name in (*inputs.values(), *captured.values())),
        nodes,
        tuple((name, moved.get(i, i)) for name, i in outputs),
        {p.removeprefix(prefix): moved[v] for p, v in names.items() if v in moved},
        path,
    )
    return body, tuple((name, i) for i, name in captured.items())


def _named_outputs(step: Step, node: Node, keys: tuple[str, ...]) -> list[Problem]:
    """Arguments that name outputs of the body, or inputs of the step, which it does not have."""
    assert node.body is not None
    outputs = [name for name, _ in node.body.outputs]
    found = []
    for key in keys:
        given = node.arg(key) or ()
        for n, name in enumerate(given if isinstance(given, tuple) else (given,)):
            if name not in outputs:
                hint = near(name, outputs) or f"it has {', '.join(outputs)}"
                said = f"the body of '{step.name}' has no output '{name}'"
                found.append(Problem(said, step.value_span(key, str(n)), hint=hint))
    return found
