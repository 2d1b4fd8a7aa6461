"""Which step of a parent each step of a child is: by path first, then by the longest runs of equal steps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from difflib import SequenceMatcher

from torch import Tensor

from assembler.graph.core import Graph, Node

Sizes = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Of each step with weights of its own the shapes of them, by their names within the step."""


def matched(parent: Graph, child: Graph, old: Sizes, new: Sizes) -> dict[str, str]:
    """For steps of `child` the step of `parent` that they were, by id.

    A step of the same path, op and weight shapes is itself. Of the rest the longest runs of equal steps are matched
    first, which finds sub-graphs that were renamed or moved; then steps of the same path and op whose sizes differ.
    """
    found = {i: i for i, node in child if i in parent.nodes and _same(i, node, parent, old, new)}
    if any(i not in found for i in new):  # else nothing that has weights is left to be found
        left = [i for i in parent.nodes if i not in found]
        wanted = [i for i in child.nodes if i not in found]
        found |= _runs(
            [(i, _token(i, parent.nodes[i], old)) for i in left], [(i, _token(i, child.nodes[i], new)) for i in wanted]
        )
    taken = set(found.values())
    for i, node in child:
        if i not in found and i in parent.nodes and i not in taken and parent.nodes[i].op == node.op:
            found[i] = i
    return found


def sizes(graph: Graph, state: Mapping[str, Tensor]) -> dict[str, dict[str, tuple[int, ...]]]:
    """The weights of a `state_dict` by the step that owns them."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, tensor in state.items():
        owner = owner_of(key, graph)
        found.setdefault(owner, {})[key[len(owner) + 1 :]] = tuple(tensor.shape)
    return found


def owner_of(key: str, graph: Graph) -> str:
    """The step that a `state_dict` key belongs to, or ""."""
    path = key
    while path and path not in graph.nodes:
        path = path.rpartition(".")[0]
    return path


def _same(i: str, node: Node, parent: Graph, old: Sizes, new: Sizes) -> bool:
    return parent.nodes[i].op == node.op and old.get(i, {}) == new.get(i, {})


def _token(i: str, node: Node, found: Sizes) -> Hashable:
    return node.op, node.args, node.body, tuple(sorted(found.get(i, {}).items()))


def _runs(old: Sequence[tuple[str, Hashable]], new: Sequence[tuple[str, Hashable]]) -> dict[str, str]:
    """Pairs (new, old) of the longest common runs, the longest first, each step once."""
    left: list[Hashable] = [token for _, token in old]
    wanted: list[Hashable] = [token for _, token in new]
    found: dict[str, str] = {}
    while True:
        match = SequenceMatcher(None, left, wanted, autojunk=False).find_longest_match()
        if not match.size:
            return found
        for n in range(match.size):
            found[new[match.b + n][0]] = old[match.a + n][0]
            left[match.a + n], wanted[match.b + n] = ("old", match.a + n), ("new", match.b + n)
