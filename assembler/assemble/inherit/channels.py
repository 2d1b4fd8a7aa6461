"""For each value of a child, which channel of the parent's value each of its channels is a copy of."""

from __future__ import annotations

from collections.abc import Mapping

from assembler.assemble.inherit.resize import modulo
from assembler.graph.core import Graph, TensorType

_DENSE = ("linear", "conv1d", "conv2d", "conv3d", "mlp", "conv_mlp", "gated_mlp", "attention")
"""Steps of which every output reads every input."""


def origins(
    parent: Graph, child: Graph, pairs: Mapping[str, str], old: Mapping[str, TensorType], new: Mapping[str, TensorType]
) -> dict[str, list[int]]:
    """Origins by id of the child's values, for those steps whose values both graphs have.

    Channels of a join are the joined values' channels side by side; a step with one input that leaves their number as
    it is leaves them in their places; of others, channel c of `n` in the parent comes again as c + n, c + 2n, ..., or
    as it does in what their values are added to.
    """
    known = {**{n: n for n in child.input_names if n in parent.input_names}, **pairs}
    found: dict[str, list[int]] = {}
    for i in (*child.input_names, *child.nodes):
        if i not in known:
            continue
        sizes = _channels(old[known[i]]), _channels(new[i])
        made = _joined(i, parent, child, known, old, found) or _passed(i, child, new, found, sizes[0])
        found[i] = made if made is not None and len(made) == sizes[1] else modulo(*sizes)
        if i in child.nodes and child.nodes[i].op == "add":
            found[i] = _agreed(child, child.nodes[i].sources, found, found[i])
    return found


def _agreed(child: Graph, sources: tuple[str, ...], found: dict[str, list[int]], usual: list[int]) -> list[int]:
    """What values that are summed up have in common, once those that may take their channels in any order follow."""
    fixed = [found[s] for s in sources if s in found and found[s] != usual and len(found[s]) == len(usual)]
    if not fixed:
        return usual
    for i in sources:
        while i in child.nodes and len(found.get(i, ())) == len(usual) and found[i] != fixed[0]:
            found[i] = fixed[0]
            node = child.nodes[i]
            if len(node.sources) != 1 or node.op in _DENSE or found.get(node.sources[0]) != usual:
                break
            i = node.sources[0]
    return fixed[0]


def _channels(kind: TensorType) -> int:
    """Features of tokens or rows, channels of maps."""
    shape = kind.shape
    return shape[1] if len(shape) > 3 else shape[-1] if len(shape) > 1 else 1


def _joined(
    i: str,
    parent: Graph,
    child: Graph,
    known: Mapping[str, str],
    old: Mapping[str, TensorType],
    found: Mapping[str, list[int]],
) -> list[int] | None:
    node = child.nodes.get(i)
    if node is None or node.op != "concat":
        return None
    sources = parent.nodes[known[i]].sources
    if [known.get(s) for s in node.sources] != list(sources) or any(s not in found for s in node.sources):
        return None
    made: list[int] = []
    start = 0
    for here, there in zip(node.sources, sources, strict=True):
        made += [start + c for c in found[here]]
        start += _channels(old[there])
    return made


def _passed(
    i: str, child: Graph, new: Mapping[str, TensorType], found: Mapping[str, list[int]], size: int
) -> list[int] | None:
    node = child.nodes.get(i)
    if node is None or len(node.sources) != 1 or node.sources[0] not in found or node.op in _DENSE:
        return None
    before = found[node.sources[0]]
    return before if _channels(new[i]) == len(before) and max(before, default=0) < size else None
