"""A model recipe to a Graph: its steps are unrolled, wired and checked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from assembler.errors import Problem, RecipeError, Span
from assembler.graph.core import ITEM, Graph
from assembler.graph.modes import MODES, has_modes, in_mode
from assembler.graph.reach import computed
from assembler.graph.shares import owners
from assembler.recipe.expand import expand
from assembler.recipe.notes import MOST_PROBLEMS, in_order, note_all
from assembler.recipe.pause import no_collection
from assembler.recipe.steps import Step
from assembler.recipe.values import Leaf, Map, holds
from assembler.wiring.builder import Builder
from assembler.wiring.initial import begun
from assembler.wiring.interface import inputs_of, only_of, outputs_of


def build(tree: Map, *, name: str = "model") -> Graph:
    """The graph of a model recipe. Raises RecipeError with every problem of the recipe at once, each once."""
    problems: list[Problem] = []
    with no_collection():
        graph = draft(tree, problems, name=name)
    if problems:
        raise RecipeError(in_order(problems))
    return graph


def draft(tree: Map, problems: list[Problem], *, name: str = "model") -> Graph:
    """Like `build`, but adds what is wrong to `problems` and goes on as well as it can."""
    if (text := tree.get("graph")) is not None and isinstance(text, Leaf) and isinstance(text.value, str):
        from assembler.wiring.written import written  # few recipes are of imported models

        return written(tree, text.value, problems, draft)
    inputs = inputs_of(tree, problems)
    try:
        steps = expand(tree, problems)
    except RecipeError:  # noted; without all steps, wiring would only complain of what is missing
        return Graph(tuple(inputs.items()), {}, (), {}, name)
    if not steps:
        return Graph(tuple(inputs.items()), {}, (), {}, name)
    return wired(tree, steps, Builder(inputs, problems, tree.get("blocks")), name)


def wired(tree: Map, steps: Iterable[Step], work: Builder, name: str) -> Graph:
    """The graph of a recipe whose steps are laid out; what is wrong is added to the builder's problems."""
    last, problems = work.run(steps), work.problems
    outputs = outputs_of(tree, work, last)
    graph = Graph(tuple(work.inputs.items()), work.nodes, outputs, work.names, name, only_of(tree, problems))
    if work.spare and not problems:
        graph = _without(graph, work.spare)
    graph = begun(graph, tree, problems)
    if not problems:
        note_all(problems, unread(graph))
        note_all(problems, _read_out_of_mode(graph, tree))
    return graph


def left_out(tree: Map) -> tuple[str, ...]:
    """The steps that a sound recipe has and its model has not: what containers give out, and nothing reads.

    Their weights are in no `state_dict`.
    """
    if not isinstance(tree.get("graph"), Map) or not any(
        holds(tree.get(section), "outputs") for section in ("graph", "blocks")
    ):
        return ()
    work = Builder(inputs_of(tree, []), [], tree.get("blocks"))
    outputs = outputs_of(tree, work, work.run(expand(tree, [])))
    graph = Graph(tuple(work.inputs.items()), work.nodes, outputs, work.names)
    there = _without(graph, work.spare).nodes
    return tuple(i for i, node in graph if i not in there and node.op != ITEM)


def _without(graph: Graph, spare: set[str]) -> Graph:
    """The graph without what blocks give out and nobody reads, and without what is there for that alone."""
    users, ends = graph.users(), {i for _, i in graph.outputs}
    ends |= {owner for node in graph.nodes.values() for owner in owners(node, graph.nodes)}
    nodes, unread = dict(graph.nodes), set(spare)
    for i in reversed(list(graph.nodes)):
        if i in unread and i not in ends and not any(user in nodes for user, _ in users[i]):
            unread |= {*nodes.pop(i).sources}
    if len(nodes) == len(graph.nodes):
        return graph
    names = {p: i for p, i in graph.names.items() if i in nodes or i in graph.input_names}
    return replace(graph, nodes=nodes, names=names)


def _read_out_of_mode(graph: Graph, tree: Map) -> Iterator[Problem]:
    """Inputs of one mode that the other mode needs as well."""
    for mode in MODES if has_modes(graph) else ():
        there = in_mode(graph, mode)
        for name, when in graph.only:
            if when != mode and name in there.input_names:
                section = tree.get("inputs")
                span = section.key_span(name) if isinstance(section, Map) and name in section else tree.span
                yield _out_of_mode(there, name, f"there in {when} mode alone", f"in {mode} mode", span)


def _out_of_mode(there: Graph, name: str, when: str, mode: str, span: Span | None) -> Problem:
    run = computed(there)
    readers = [i for i, node in there if name in node.sources]
    reader = next((i for i in readers if i in run), "")
    if readers and not reader:  # what is not computed in this mode is needed for its weights
        lender = readers[0]
        taker = next((i for i, node in there if i in run and lender in owners(node, there.nodes)), "another step")
        said = f"'{taker}' uses the weights of '{lender}' {mode}, and input '{name}' of the latter is {when}"
        return Problem(said, span, hint=f"let '{lender}' share the weights of '{taker}', not the other way round")
    said = f"input '{name}' is {when}, and " + (f"'{reader}'" if reader else "an output") + f" reads it {mode}"
    return Problem(said, span, hint="let {op: switch, from: {train: a, eval: b}} choose, or drop 'when'")


def unread(graph: Graph) -> Iterator[Problem]:
    """Steps whose value nothing reads: a part of the model that its author believes to be there."""
    ends = {i for _, i in graph.outputs}
    if graph.nodes.keys() <= ends | {source for node in graph.nodes.values() for _, source in node.inputs}:
        return
    users = graph.users()
    found = [i for i in graph.nodes if not users[i] and i not in ends]
    for i in found[: MOST_PROBLEMS + 1]:
        node = graph.nodes[i]
        hint = "read it with from:, name it in outputs: (with when: train if only an objective reads it), or remove it"
        alone = _for_it_alone(graph, users, i, ends)
        more = f", and {', '.join(repr(j) for j in alone)} {'is' if len(alone) == 1 else 'are'} there for it alone"
        yield Problem(f"nothing reads '{i}'{more * bool(alone)}", node.span, "" if node.span else i, hint)


def _for_it_alone(
    graph: Graph, users: Mapping[str, tuple[tuple[str, str], ...]], end: str, ends: Collection[str]
) -> list[str]:
    """The steps that are read on the way to an unread one and nowhere else, in the order of the graph."""
    idle, waiting = {end}, [end]
    while waiting:
        for i in graph.nodes[waiting.pop()].sources:
            if i in graph.nodes and i not in ends and i not in idle and all(user in idle for user, _ in users[i]):
                idle.add(i)
                waiting.append(i)
    return [i for i in graph.nodes if i in idle and i != end] if len(idle) > 1 else []
