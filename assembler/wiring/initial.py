"""`initializers:` of steps and models: how parameters begin, instead of what their op would draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from assembler import registry
from assembler.errors import AssemblerError, Problem, RecipeError, Span, near
from assembler.graph.core import Graph, Init, Node
from assembler.recipe.notes import note, note_all
from assembler.recipe.scope import Scope, origin, resolve, vars_of
from assembler.recipe.values import Map, Value
from assembler.registry import checks

_EXAMPLE = "for instance {weight: {name: normal, std: 0.02}, bias: zeros}"


def initializers_of(section: Value, scope: Scope, problems: list[Problem]) -> list[Init]:
    """(parameter, rule) of every entry of a section, as nodes hold them; what is wrong is added to `problems`."""
    if not isinstance(section, Map) or not len(section):
        note(problems, "'initializers' is a mapping of parameters to initialisers", section.span, _EXAMPLE)
        return []
    found = []
    for name, written in section:
        try:
            said = resolve(written, scope)
        except RecipeError as error:
            note_all(problems, error.at(origin(written, scope)).problems)
            continue
        rule = {"name": said} if isinstance(said, str) else said
        wrong = list(_wrong(rule, written))
        note_all(problems, wrong)
        if not wrong:
            args = sorted((k, v) for k, v in rule.items() if k != "name")
            found.append((name, (("name", rule["name"]), *args)))
    return found


def _wrong(rule: Any, written: Value) -> Iterator[Problem]:
    if not isinstance(rule, dict) or not isinstance(rule.get("name"), str):
        yield Problem("an initialiser is a name, or a mapping with 'name'", written.span, hint=_EXAMPLE)
        return
    try:
        entry = registry.lookup("initializer", rule["name"])
    except AssemblerError as error:
        span = written.get("name").span if isinstance(written, Map) else written.span
        yield Problem(error.problems[0].message, span, hint=error.problems[0].hint)
        return

    def key(name: str) -> Span | None:
        return written.key_span(name) if isinstance(written, Map) and name in written else written.span

    yield from checks.problems(entry, {k: v for k, v in rule.items() if k != "name"}, key, span=written.span)


def begun(graph: Graph, tree: Map, problems: list[Problem]) -> Graph:
    """The graph with the model's own `initializers:`, by op and parameter (`linear.weight`); a step's own go before."""
    section = tree.get("initializers")
    if section is None:
        return graph
    rules = initializers_of(section, vars_of(tree), problems)
    ops = {node.op for node in _all(graph)}
    for name, _ in rules:
        op = name.partition(".")[0]
        # An op that no step is of any more, since a change took the last one out, needs no value to begin with.
        known = op in ops or op in registry.names("op", torch=True)
        if (not known or "." not in name) and isinstance(section, Map):
            hint = near(op, ops) or "name an op and a parameter of it: linear.weight"
            said = f"no step is a '{op}'" if "." in name else f"'{name}' names no parameter of an op"
            note(problems, said, section.key_span(name), hint)
    return _marked(graph, rules)


def _marked(graph: Graph, rules: list[Init]) -> Graph:
    nodes: dict[str, Node] = {}
    for i, node in graph:
        own = dict(node.init)
        given = [(n.partition(".")[2], r) for n, r in rules if n.partition(".")[0] == node.op and not node.owner]
        init = (*node.init, *(pair for pair in given if pair[0] not in own))
        body = _marked(node.body, rules) if node.body is not None else None
        changed = init != node.init or body is not node.body
        nodes[i] = replace(node, init=init, body=body) if changed else node
    return replace(graph, nodes=nodes)


def _all(graph: Graph) -> Iterator[Node]:
    for _, node in graph:
        yield node
        if node.body is not None:
            yield from _all(node.body)
