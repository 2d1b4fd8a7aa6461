"""One draft of a module that returns other outputs in training than in evaluation, from a trace in each mode.

What both compute alike is there once: a step of the same operation on the same values, with the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from assembler.errors import GraphError
from assembler.graph.core import Node
from assembler.importing.nodes import Draft
from assembler.importing.operators import LATER
from assembler.importing.tracing import LEAF

_DROPS = ("dropout", "alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "drop_path")
"""Ops that do nothing in evaluation."""


def in_both(training: Draft, evaluation: Draft) -> Draft:
    """The draft of training with what evaluation returns beside it; `only` says which outputs one mode alone has.

    The one value of evaluation that training returns among others is that output, whatever it is called. Raises
    GraphError where the two cannot be one graph.
    """
    mine, theirs = dict(training.outputs), dict(evaluation.outputs)
    united = replace(training, nodes=dict(training.nodes), open=dict(training.open), axes=dict(training.axes))
    try:
        same, key = _joined(united, evaluation)
    except GraphError as error:
        raise GraphError(f"{_differ(mine, theirs)}; {error.problems[0].message}") from None
    made = {name: same[i] for name, i in theirs.items()}
    both = {name for name, i in mine.items() if len(made) == 1 and key[i] in map(key.get, made.values())}
    beside = {} if both else {name: i for name, i in made.items() if name not in mine}
    if any(one.startswith(f"{other}.") or other.startswith(f"{one}.") for one in mine for other in beside):
        raise GraphError(_differ(mine, theirs))
    united.outputs = [*training.outputs, *beside.items()]
    both = both or mine.keys() & made.keys()
    united.only = [(name, "train" if name in mine else "eval") for name, _ in united.outputs if name not in both]
    if clash := {name for name, _ in united.only} & {name for name, _ in united.inputs}:
        raise GraphError(f"{_differ(mine, theirs)}; '{min(clash)}' is an input as well")
    return united


def _differ(mine: dict[str, str], theirs: dict[str, str]) -> str:
    return f"in training it returns {' and '.join(mine)}, in evaluation {' and '.join(theirs)}"


def _joined(into: Draft, other: Draft) -> tuple[dict[str, str], dict[str, str]]:
    """Put the steps of another draft into one that does not have them yet.

    The ids of those that it has or gets, and by id the first that has the same value in evaluation.
    """
    holding = _holding(into) | _holding(other)
    same = {name: name for name, _ in into.inputs} | {LATER: LATER}
    key = dict(same)
    first: dict[str, str] = {}
    for i, node in into.nodes.items():
        known = i if i in holding else first.setdefault(_said(node, key), i)
        key[i] = key[node.sources[0]] if node.op in _DROPS else known
    for i, node in other.nodes.items():
        if node.op in _DROPS:
            same[i] = same[node.sources[0]]
            continue
        moved = replace(node, inputs=tuple((port, same[s]) for port, s in node.inputs))
        said, there = _said(moved, key), into.nodes.get(i)
        alike = there is not None and _said(there, key) == said and _equal(i, into, other)
        if i in holding and there is not None and not alike:
            raise GraphError(f"'{i}' ({node.op}) is another step in each", path=i)
        at = i if alike or i in holding else first.get(said) or _free(i, into)
        same[i] = at
        if at not in into.nodes:
            into.nodes[at], key[at] = moved, at
            into.open[at], into.axes[at] = other.open.get(i, False), other.axes.get(i, ())
    into.literals = other.literals | into.literals
    return same, key


def _holding(draft: Draft) -> set[str]:
    """The steps that may have weights, which are called by their ids."""
    leaves = {i for node, i in draft.steps.items() if node.target is LEAF}
    return leaves | {i for i, node in draft.nodes.items() if node.op == "stored"}


def _said(node: Node, key: Mapping[str, str]) -> str:
    return repr(replace(node, inputs=tuple((port, key[s]) for port, s in node.inputs)))


def _equal(i: str, a: Draft, b: Draft) -> bool:
    return i not in a.literals or i not in b.literals or a.literals[i].equal(b.literals[i])


def _free(i: str, draft: Draft) -> str:
    found, n = i, 0
    while found in draft.nodes:
        n += 1
        found = f"{i}_{n}"
    return found
