"""The cost of a graph that was put together from pieces: a piece is looked at once for each type that it is given."""

from __future__ import annotations

from collections.abc import Mapping

from assembler.graph.core import ITEM, SWITCH, Graph, Node, TensorType
from assembler.infer.cost import Cost, measured, per_sample, step_cost, total
from assembler.infer.shape import Refusal, batched, signature
from assembler.wiring.pieces import Part, Piece
from assembler.wiring.variants import Variant

Found = tuple[TensorType, int, int, int]
"""The type of what a piece gives, its parameters, its FLOPs for one sample, and the bytes of its weights."""


def variant_cost(variant: Variant) -> Cost:
    """What `total` says of a variant's graph. Raises ShapeError with every step that refuses what reaches it."""
    graph = variant.graph
    found = _summed(graph, variant.parts) if variant.parts and not graph.only else None
    return total(graph, measured(graph)) if found is None else found


def _summed(graph: Graph, parts: tuple[Part, ...]) -> Cost | None:
    """The sum over parts; None where something is not as simple as that."""
    types = {name: batched(name, kind) for name, kind in graph.inputs}
    batch = next((kind.shape[0] for kind in types.values() if kind.shape), 1)
    found = _of_parts(graph.nodes, parts, types, batch)
    return None if found is None else Cost(*found)


def _of_parts(
    nodes: Mapping[str, Node], parts: tuple[Part, ...], types: dict[str, TensorType], batch: int
) -> tuple[int, int, int] | None:
    """Parameters, FLOPs and bytes of parts, one after another; `types` grows with what they give."""
    params = flops = size = 0
    for part in parts:
        if isinstance(part, Piece):
            end, found = part.last, _of_piece(part, types, batch)
        else:
            end, found = part, _of_step(nodes[part], types, batch)
        if found is None:
            return None
        types[end] = found[0]
        params, flops, size = params + found[1], flops + found[2], size + found[3]
    return params, flops, size


def _of_piece(piece: Piece, types: dict[str, TensorType], batch: int) -> Found | None:
    kind = types.get(piece.current)
    key = "cost", kind, batch
    if key not in piece.tables:
        piece.tables[key] = None if kind is None else _reckoned(piece, kind, batch)
    found: Found | None = piece.tables[key]
    return found


def _reckoned(piece: Piece, kind: TensorType, batch: int) -> Found | None:
    types = {piece.current: kind}
    found = _of_parts(piece.nodes, piece.parts, types, batch)
    return None if found is None else (types[piece.last], *found)


def _of_step(node: Node, types: dict[str, TensorType], batch: int) -> Found | None:
    if node.op in (ITEM, SWITCH) or node.share or any(s not in types for s in node.sources):
        return None
    made, cost = step_cost(*signature(node, tuple([types[s] for s in node.sources])))
    if isinstance(made, Refusal) or cost is None:
        return None
    own = per_sample(cost, batch)
    return made[0][1], own.params, own.flops, own.bytes
