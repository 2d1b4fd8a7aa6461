"""How the sizes of a graph's values depend on the batch: each is a whole multiple of it plus a whole number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler.graph.core import ITEM, Graph, Node, TensorType
from assembler.graph.values import is_weight
from assembler.infer.shape import signature, step_type


@dataclass(frozen=True, slots=True)
class Size:
    """`times * B + plus`, where B is the batch."""

    times: int
    plus: int

    def at(self, batch: Any) -> Any:
        """The size at a batch."""
        if not self.times:
            return self.plus
        scaled = batch if self.times == 1 else batch * self.times
        return scaled + self.plus if self.plus else scaled

    def __str__(self) -> str:
        if not self.times:
            return str(self.plus)
        times = "B" if self.times == 1 else f"{self.times}*B"
        return f"{times}{self.plus:+d}" if self.plus else times


def fitted(small: int, big: int, batches: tuple[int, int]) -> Size:
    """The size that is `small` at one batch and `big` at another."""
    if small == big:
        return Size(0, small)
    times = (big - small) // (batches[1] - batches[0])
    return Size(times, small - times * batches[0])


Sizes = tuple[Size, ...]

_BY_SAMPLE = frozenset((
    *("linear", "embedding", "conv1d", "conv2d", "conv_transpose2d", "layer_norm", "rms_norm", "group_norm"),
    *("batch_norm2d", "layer_norm2d", "dropout", "relu", "gelu", "silu", "attention", "mlp", "gated_mlp", "conv_mlp"),
    *("conv_bn_act", "inverted_residual", "dwconv", "patch_embed", "layer_scale", "drop_path", "max_pool2d", "pool"),
))  # fmt: skip
"""Ops that make of each sample what they make of it alone, and most of what a model consists of."""


def batch_sizes(graph: Graph, types: Mapping[str, TensorType]) -> dict[str, Sizes | None]:
    """The sizes of every value of a graph, by id; None where one depends on the batch in another way.

    `types` are those that `shapes` gives. They are compared with those for one sample more. That is found out once for
    the steps of one op and arguments, its width aside, where each input and output has the batch as axis 0 and nowhere
    else, and not at all for layers that treat each sample by itself.
    """
    found: dict[str, Sizes | None] = {}
    batch = next((types[n].shape[0] for n in graph.input_names if types[n].shape), 1)
    for name in graph.input_names:
        found[name] = _plain(types[name]) if types[name].shape else ()
    each = _Steps(graph, types, found, batch)
    for i, node in graph.nodes.items():
        found[i] = each.sizes(i, node)
    return found


def _plain(kind: TensorType) -> Sizes:
    return (Size(1, 0), *(Size(0, n) for n in kind.shape[1:]))


@dataclass(slots=True)
class _Steps:
    """What the sizes of steps are, one after another; `grown` holds what those of several outputs make of one more."""

    graph: Graph
    types: Mapping[str, TensorType]
    found: Mapping[str, Sizes | None]
    batch: int
    grown: dict[str, dict[str, TensorType]] = field(default_factory=dict)
    usual: set[Any] = field(default_factory=set)

    def sizes(self, i: str, node: Node) -> Sizes | None:
        """The sizes of a step whose sources are found."""
        if node.op == ITEM:
            source = node.sources[0]
            if self.found[source] is not None and is_weight(self.graph, node):
                return tuple(Size(0, n) for n in self.types[i].shape)
            big = self.grown.get(source, {}).get(str(node.arg("output")))
            return self._fit(self.types[i], big) if big else None
        if any(self.found[s] is None for s in node.sources):
            return None
        key = self._key(node)
        if (key in self.usual or self._by_sample(node)) and self.types[i].shape[:1] == (self.batch,):
            return _plain(self.types[i])
        made = self._made(node, self.batch + 1)
        if len(made) > 1:
            self.grown[i] = made
        fit = self._fit(self.types[i], next(iter(made.values()))) if made else None
        if fit and any(size.times and size.plus for size in fit):
            further = self._made(node, self.batch + 3)  # two numbers lie on a line whatever they depend on
            shape = tuple(size.at(self.batch + 3) for size in fit)
            return fit if further and next(iter(further.values())).shape == shape else None
        if len(made) == 1 and fit and fit == _plain(self.types[i]):
            self.usual.add(key)
        return fit

    def _by_sample(self, node: Node) -> bool:
        known = (self.found[s] == _plain(self.types[s]) for s in node.sources if self.types[s].shape)
        return node.op in _BY_SAMPLE and all(known)

    def _key(self, node: Node) -> Any:
        args = tuple((name, type(value), value) for name, value in node.args if name != "out")
        axes = tuple(tuple(size.times and size for size in self.found[s] or ()) for s in node.sources)
        return node.op, args, tuple(port for port, _ in node.inputs), axes, node.body

    def _made(self, node: Node, batch: int) -> dict[str, TensorType]:
        given = []
        for source in node.sources:
            shape = tuple(size.at(batch) for size in self.found[source] or ())
            given.append(TensorType(shape, self.types[source].dtype))
        made = step_type(*signature(node, tuple(given)))
        return dict(made) if isinstance(made, tuple) else {}

    def _fit(self, small: TensorType, big: TensorType) -> Sizes | None:
        if len(big.shape) != len(small.shape):
            return None
        pairs = zip(small.shape, big.shape, strict=True)
        return tuple(fitted(a, b, (self.batch, self.batch + 1)) for a, b in pairs)
