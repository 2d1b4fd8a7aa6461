"""The check of a graph: one small rule per property, all problems reported at once.

A rule is a function from a graph to its problems. What depends on one step alone (op, arguments, input names) is
cached.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Set
from dataclasses import replace
from typing import Any

from assembler.errors import AssemblerError, GraphError, Problem, near
from assembler.graph.core import ITEM, Arg, Graph, Node, TensorType
from assembler.graph.modes import MODES
from assembler.graph.values import is_weight
from assembler.graph.verify_shares import known_shares
from assembler.registry import Entry, Param, checks, lookup

Rule = Callable[[Graph], Iterator[Problem]]
Fault = tuple[str, str]
"""What is wrong with a step and a hint."""

ID = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


def verify(graph: Graph, sound: Set[str] = frozenset()) -> None:
    """Check a graph; raises GraphError with every problem found, each with the step's path and source line.

    Steps and containers in `sound` are not looked at again: each belongs to a part that was verified with what it
    reads as its input, shares no weights, and stands behind what it reads.
    """
    rest = _besides(graph, sound) if sound else None
    if rest is not None and not any(True for rule in RULES for _ in rule(rest)):
        return
    problems = [problem for rule in (*RULES, known_shares) for problem in rule(graph)]
    if problems:
        raise GraphError(problems)


def _besides(graph: Graph, sound: Set[str]) -> Graph | None:
    """The graph without its sound steps, inputs standing for those that are read; None where the others need them."""
    nodes = {i: graph.nodes[i] for i in graph.nodes.keys() - sound}
    if any(node.op == ITEM or node.share or node.body is not None for node in nodes.values()):
        return None
    ordered = {i: nodes[i] for i in graph.nodes if i in nodes} if nodes else {}
    names = {path: graph.names[path] for path in graph.names.keys() - sound}
    read = {i for _, i in graph.outputs}.union(names.values(), *(node.sources for node in nodes.values()))
    inner = {i: f"sound{n}" for n, i in enumerate(read & graph.nodes.keys() - nodes.keys())}
    for i, node in ordered.items():
        ordered[i] = node.reading(inner)
    return Graph(
        (*graph.inputs, *((name, TensorType(())) for name in inner.values())),
        ordered,
        tuple((name, inner.get(i, i)) for name, i in graph.outputs),
        {path: inner.get(i, i) for path, i in names.items()},
        graph.name,
        graph.only,
    )


def well_formed_ids(graph: Graph) -> Iterator[Problem]:
    """Ids and input names are dotted words, and no two values share one."""
    seen: set[str] = set()
    for name in graph.input_names:
        if name in seen:
            yield Problem(f"two inputs are called '{name}'", path=name)
        if name in graph.nodes:
            yield _problem(graph, name, f"step '{name}' has the name of an input", "rename one of them")
        seen.add(name)
    yield from _one_inside_another(seen)
    for i in (*graph.input_names, *graph.nodes):
        if not ID.fullmatch(i):
            yield _problem(graph, i, f"'{i}' is not a path", "letters, digits and _, joined by single dots")


def _one_inside_another(names: Collection[str]) -> Iterator[Problem]:
    """Names that are both a value and a mapping or list of values: `y` and `y.0`."""
    for name in names:
        parts = name.split(".")
        outer = next((o for n in range(1, len(parts)) if (o := ".".join(parts[:n])) in names), "")
        if outer:
            yield Problem(f"'{name}' is a part of '{outer}', which is one value", path=name, hint="rename one of them")


def known_sources(graph: Graph) -> Iterator[Problem]:
    """Every step reads inputs of the graph and steps that exist."""
    nodes, inputs = graph.nodes, set(graph.input_names)
    for i, node in nodes.items():
        for port, source in node.inputs:
            if source not in nodes and source not in inputs:
                hint = near(source, _values(graph))
                yield _problem(graph, i, f"input '{port}' of step '{i}' reads '{source}', which does not exist", hint)


def topological_order(graph: Graph) -> Iterator[Problem]:
    """Steps come after what they read; a cycle is reported once, step by step."""
    seen: set[str] = set()
    late = []
    for i, node in graph.nodes.items():
        seen.add(i)
        late += [(i, s) for _, s in node.inputs if s == i or (s not in seen and s in graph.nodes)]
    if not late:
        return
    if cycle := find_cycle(graph):
        yield _problem(graph, cycle[0], f"steps read each other in a cycle: {' -> '.join(cycle)}", "")
        return
    for i, source in late:
        yield _problem(graph, i, f"step '{i}' stands before '{source}', which it reads", "order the steps")


def find_cycle(graph: Graph) -> list[str]:
    """The ids on one cycle, the first repeated at the end, in the order that values flow; empty if there is none."""
    done: set[str] = set()
    for start in graph.nodes:
        path: dict[str, Iterator[str]] = {} if start in done else {start: iter(graph.nodes[start].sources)}
        while path:
            last = next(reversed(path))
            step = next((s for s in path[last] if s in graph.nodes and s not in done), None)
            if step is None:
                done.add(last)
                del path[last]
            elif step in path:
                trail = list(path)
                return [step, *reversed(trail[trail.index(step) :])]
            else:
                path[step] = iter(graph.nodes[step].sources)
    return []


def known_ops(graph: Graph) -> Iterator[Problem]:
    """Ops are registered; their arguments and inputs fit their signatures."""
    for i, node in graph.nodes.items():
        for fault, hint in step_faults(node):
            yield Problem(f"step '{i}': {fault}", node.span, i, hint)


def sound_bodies(graph: Graph) -> Iterator[Problem]:
    """The sub-graphs of steps are sound, and their inputs are those of the step."""
    for i, node in graph.nodes.items():
        if node.body is None:
            continue
        problems = (p for rule in RULES for p in rule(node.body))  # what they share may lie outside of them
        yield from (replace(p, path=f"{i}.{p.path}" if p.path else i) for p in problems)


def known_modes(graph: Graph) -> Iterator[Problem]:
    """What is there in one mode alone is an input or an output, and the other mode can do without it."""
    known = {*graph.input_names, *(name for name, _ in graph.outputs)}
    for name, mode in graph.only:
        if name not in known or mode not in MODES:
            hint = near(name, known) if name not in known else "train, or eval"
            yield Problem(f"'{name}' is said to be there in mode '{mode}' alone", path=name, hint=hint)


def further_outputs(graph: Graph) -> Iterator[Problem]:
    """An `item` reads an output that its source has."""
    for i, node in graph.nodes.items():
        if node.op == ITEM and node.sources and (source := graph.nodes.get(node.sources[0])):
            if is_weight(graph, node):
                continue
            outputs = _outputs(source)
            name = str(node.arg("output"))
            if outputs is None or (name not in outputs and not (not outputs and name.isdecimal())):
                hint = near(name, outputs or ()) or (f"it has {', '.join(outputs)}" if outputs else "it has one output")
                yield _problem(graph, i, f"'{node.sources[0]}' ({source.op}) has no output '{name}'", hint)


def _outputs(node: Node) -> tuple[str, ...] | None:
    try:
        return lookup("op", node.op).outputs(dict(node.args))
    except AssemblerError:
        return ()


def known_outputs(graph: Graph) -> Iterator[Problem]:
    """There is an output, output names differ, and each output holds a value that exists."""
    if not graph.outputs:
        yield Problem(f"{graph.name} has no outputs")
    seen: set[str] = set()
    for name, source in graph.outputs:
        if name in seen:
            yield Problem(f"two outputs are called '{name}'", path=name)
        seen.add(name)
        if not ID.fullmatch(name):
            yield Problem(f"'{name}' is not a name for an output", hint="letters, digits and _, joined by single dots")
        if source not in graph.nodes and source not in graph.input_names:
            hint = near(source, _values(graph))
            yield Problem(f"output '{name}' reads '{source}', which does not exist", path=name, hint=hint)
    yield from _one_inside_another(seen)


def known_names(graph: Graph) -> Iterator[Problem]:
    """Container paths are well formed, are not steps, and point at values that exist."""
    inputs = graph.input_names
    for path, i in graph.names.items():
        if not ID.fullmatch(path) or path in graph.nodes or path in inputs:
            yield Problem(f"'{path}' cannot name a container", path=path, hint="a step or an input may not have it too")
        if i not in graph.nodes and i not in inputs:
            hint = near(i, _values(graph))
            yield Problem(f"container '{path}' holds '{i}', which does not exist", path=path, hint=hint)


RULES: tuple[Rule, ...] = (
    well_formed_ids,
    known_sources,
    topological_order,
    known_ops,
    sound_bodies,
    known_modes,
    further_outputs,
    known_outputs,
    known_names,
)


def step_faults(node: Node) -> tuple[Fault, ...]:
    """What is wrong with a step taken alone, each with a hint."""
    try:
        entry = lookup("op", node.op)
    except AssemblerError as error:
        return tuple((p.message, p.hint) for p in error.problems)
    # The text tells 1, 1.0 and True apart, which are one key to a dictionary; the source follows redefinitions.
    faults = _faults(node.op, entry.source, node.args, repr(node.args), tuple([port for port, _ in node.inputs]))
    return (*faults, *_body_faults(entry, node)) if entry.has_body or node.body is not None else faults


@functools.lru_cache(maxsize=65536)
def _faults(
    op: str, source: str, args: tuple[tuple[str, Arg], ...], text: str, ports: tuple[str, ...]
) -> tuple[Fault, ...]:
    entry = lookup("op", op)
    return (*_argument_faults(entry, args), *_port_faults(entry, ports))


def _body_faults(entry: Entry, node: Node) -> Iterator[Fault]:
    """What is wrong between a step and its body: the body's inputs are the step's, and those that the op provides."""
    what = f"op '{entry.name}'"
    if not entry.has_body or node.body is None:
        yield (
            (f"{what} needs a body", "give the steps under body:") if entry.has_body else (f"{what} takes no body", "")
        )
        return
    provided = {str(node.arg(key)) for key in entry.option("provides") or () if node.arg(key)}
    ports, wanted = {port for port, _ in node.inputs}, set(node.body.input_names)
    for name in sorted(wanted - ports - provided):
        yield f"the body of {what} reads '{name}', which the step does not", ""
    for name in sorted(ports - wanted):
        yield f"the step reads '{name}', which the body of {what} does not know", near(name, wanted)
    outputs = [name for name, _ in node.body.outputs]
    for key in entry.of_body:
        said = node.arg(key)
        for name in said if isinstance(said, tuple) else (said,) if said else ():
            if isinstance(name, str) and name not in outputs:
                yield f"the body of {what} has no output '{name}'", near(name, outputs)


def _argument_faults(entry: Entry, args: tuple[tuple[str, Arg], ...]) -> Iterator[Fault]:
    names = [name for name, _ in args]
    if names != sorted(set(names)):
        yield f"arguments stand in the order {', '.join(names)}", "each once, sorted by name"
    given = {name: _plain(entry.param(name), value) for name, value in args}
    yield from ((p.message, p.hint) for p in checks.problems(entry, given, lambda _: None))
    for param in entry.params:
        if param.argument != param.name and {param.argument, param.name} <= set(names):
            yield f"'{param.argument}' and '{param.name}' of op '{entry.name}' are one argument", "write one of them"


def _plain(param: Param | None, value: Any) -> Any:
    """A value as its type knows it: a mapping stands in a node as pairs."""
    pairs = isinstance(value, tuple) and all(isinstance(v, tuple) and len(v) == 2 for v in value)
    if param is None or not pairs or param.type.accepts(value):
        return value
    return dict(value)


def _port_faults(entry: Entry, ports: tuple[str, ...]) -> Iterator[Fault]:
    if entry.has_body:
        return
    what = f"op '{entry.name}'"
    known = () if entry.variadic and not entry.inputs else input_names(entry)
    listing = f"its inputs are {', '.join(known)}" if known else "its inputs are numbered from 0"
    numbered = tuple(p for p in ports if p.isdecimal()) if entry.variadic else ()
    for port in dict.fromkeys(p for p in ports if ports.count(p) > 1):
        yield f"input '{port}' of {what} is fed more than once", ""
    if entry.variadic and not ports:
        yield f"{what} needs at least one input", ""
    if sorted(numbered, key=int) != [str(n) for n in range(len(numbered))]:
        yield f"the inputs of {what} are numbered {', '.join(numbered)}", "count from 0, leave none out"
    for port in known[: len(known) - entry.optional]:
        if port not in ports:
            yield f"{what} needs the input '{port}'", listing
    for port in dict.fromkeys(ports):
        if port not in known and port not in numbered:
            yield f"{what} has no input '{port}'", near(port, known) or listing


def input_names(entry: Entry) -> tuple[str, ...]:
    """The names of an op's inputs; a factory does not say them and has one, called "input"."""
    return entry.inputs or ("input",)


def _values(graph: Graph) -> list[str]:
    return [*graph.nodes, *graph.input_names]


def _problem(graph: Graph, i: str, message: str, hint: str) -> Problem:
    node = graph.nodes.get(i)
    return Problem(message, node.span if node else None, i, hint)
