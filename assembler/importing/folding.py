"""Values of a draft that depend on no input, a mask or positions, as literals beside each step that reads them.

What was worked out once for all layers becomes part of each layer, so that a layer can be cut out of the graph. The
mask of causal attention is said in a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from assembler.compile.lower import lower
from assembler.graph.core import ITEM, Arg, Graph, Node, TensorType
from assembler.importing.batch import free_in
from assembler.importing.nodes import MOST_WRITTEN, Draft, literal, settled
from assembler.importing.operators import LATER, PLAIN
from assembler.registry.aten_names import LIKE, PREFIX

_ATTENTION = "aten.scaled_dot_product_attention"
_DROPPING = "dot_product_attention"
_RANDOM = ("rand", "bernoulli", "multinomial", "normal", "dropout", "poisson", "empty")
_BATCHES = (2, 3)


@dataclass(frozen=True)
class Constant:
    """A value that no input decides; `rows` where it is `value` once for each sample."""

    value: Tensor
    rows: bool


def folded(draft: Draft) -> Draft:
    """The draft with literals for what depends on no input and is not too long to write."""
    constants = _constants(draft)
    nodes: dict[str, Node] = {}
    places: dict[tuple[str, str], str] = {}
    opened = dict(draft.open)
    taken = {*draft.nodes, *(n for n, _ in draft.inputs)}
    for i, node in draft.nodes.items():
        node = _said(node, constants)
        for source in dict.fromkeys(node.sources) if i not in constants else ():
            if source not in constants or constants[source].value.numel() > MOST_WRITTEN:
                continue
            owner = i.rpartition(".")[0]
            if (source, owner) not in places:
                places[source, owner] = _put(nodes, taken, opened, owner, source, constants[source])
            node = _moved(node, source, places[source, owner])
        nodes[i] = node
    return replace(draft, nodes=nodes, open=opened)


def _moved(node: Node, old: str, new: str) -> Node:
    return replace(node, inputs=tuple((port, new if s == old else s) for port, s in node.inputs))


def _put(
    nodes: dict[str, Node], taken: set[str], opened: dict[str, bool], owner: str, source: str, found: Constant
) -> str:
    """Append the steps of a constant under `owner`; the id of its value."""
    name = f"{source.rpartition('.')[2]}_value"
    i = _free(f"{owner}.{name}" if owner else name, taken)
    nodes[i] = literal(found.value)
    if found.rows:
        size: tuple[Arg, ...] = ("B", *(-1 for _ in found.value.shape[1:]))
        rows = _free(f"{i}_rows", taken)
        nodes[rows] = Node("aten.expand", (("size", size),), (("self", i), (LIKE, LATER)))
        opened[rows] = True
        return rows
    return i


def _free(stem: str, taken: set[str]) -> str:
    found, n = stem, 0
    while found in taken:
        n += 1
        found = f"{stem}_{n}"
    taken.add(found)
    return found


def _said(node: Node, constants: Mapping[str, Constant]) -> Node:
    """Attention whose mask is the causal one, or lets everything through, without the mask."""
    port, word = {_ATTENTION: ("attn_mask", "is_causal"), _DROPPING: ("bias", "causal")}.get(node.op, ("", ""))
    mask = dict(node.inputs).get(port)
    if mask is None or mask not in constants or node.arg(word):
        return node
    value = constants[mask].value
    flat = value.reshape(-1, *value.shape[-2:])
    if value.dtype != torch.bool or len(flat) != 1:
        return node
    inputs = tuple((name, s) for name, s in node.inputs if name != port)
    if bool(flat.all()):
        return replace(node, inputs=inputs)
    if flat.shape[1] == flat.shape[2] and torch.equal(flat[0], torch.ones_like(flat[0]).tril()):
        return replace(node, inputs=inputs, args=tuple(sorted({**dict(node.args), word: True}.items())))
    return node


def _constants(draft: Draft) -> dict[str, Constant]:
    """Of the values that no input decides, those that are the same at every batch or for every sample."""
    free: dict[str, Node] = {}
    for i, node in draft.nodes.items():
        known = all(s == LATER or s in free for s in node.sources)
        operator = node.op.startswith(PREFIX) and not any(word in node.op for word in _RANDOM)
        free_size = bool(free_in(tuple(value for _, value in node.args)))
        if known and not free_size and (operator or node.op in (*PLAIN, ITEM, "literal")):
            free[i] = node
    if not free:
        return {}
    runs = [_values(free, batch) for batch in _BATCHES]
    found = {i: _constant(*(run[i] for run in runs)) for i in free}
    return {i: c for i, c in found.items() if c is not None}


def _values(free: Mapping[str, Node], batch: int) -> dict[str, Tensor]:
    name = "samples"
    while name in free:
        name += "_"
    nodes = {i: settled(node, name) for i, node in free.items()}
    outputs = tuple((f"v{n}", i) for n, i in enumerate(free))
    graph = Graph(((name, TensorType((batch, 1))),), nodes, outputs)
    with torch.no_grad():
        made = lower(graph)(torch.zeros(batch, 1))
    values = made.values() if isinstance(made, dict) else [made]
    return dict(zip(free, values, strict=True))


def _constant(small: Tensor, big: Tensor) -> Constant | None:
    if small.shape == big.shape:
        return Constant(small, False) if torch.equal(small, big) else None
    rows = (small.shape[0], big.shape[0]) == _BATCHES and small.shape[1:] == big.shape[1:] if small.dim() else False
    if rows and bool((big == big[:1]).all()) and torch.equal(small[:1], big[:1]):
        return Constant(small[:1].clone(), True)
    return None
