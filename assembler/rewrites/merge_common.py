"""Equal steps of equal inputs to one: common-subexpression elimination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from assembler.graph.core import ITEM, SWITCH, Graph, Node
from assembler.registry import lookup, rewrite
from assembler.rewrites.core import Rewrite, Types, Weights
from assembler.rewrites.view import View, rewired


@rewrite("merge_common")
@dataclass(frozen=True)
class MergeCommon(Rewrite):
    """Compute once what is computed twice: steps of one op, arguments and inputs, in training and evaluation alike.

    Only steps without weights and without chance, or whose weights are shared. Nothing is taken to be equal that has
    been trained apart.
    """

    keeps: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The steps that repeat an earlier one."""
        return tuple(i for i, _ in _repeats(View(graph, types)))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph without the later of the two."""
        first = dict(_repeats(View(graph, types)))[at]
        return rewired(graph, {i: node for i, node in graph if i != at}, {at: first})


def _repeats(view: View) -> Iterator[tuple[str, str]]:
    """Every step that repeats an earlier one, with that one."""
    from assembler.rewrites.traits import traits

    seen: dict[object, str] = {}
    for i, node in view.graph:
        owner = node.owner or i
        first = seen.setdefault(_key(node), i)
        if first == i or i in view.sharers or node.arg("inplace"):
            continue
        known = traits(node, tuple(view.types[s] for s in node.sources))
        shared = owner == (view.graph.nodes[first].owner or first) and not known.buffers
        if not known.chance and (shared or not known.weights):
            yield i, first


def _key(node: Node) -> object:
    inputs = node.inputs
    if node.op not in (ITEM, SWITCH) and lookup("op", node.op).option("commutative"):
        inputs = tuple(("", s) for s in sorted(node.sources))
    # 1, 1.0 and True are equal keys and different arguments.
    return node.op, repr(node.args), inputs, node.body, node.share if not node.owner else ()
