"""For which sizes of its inputs a trace holds: an axis at which a trace of another size is the very same graph is free.

Any other is said by a `sized` step behind its input, unless the steps refuse another size by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from assembler.errors import AssemblerError, GraphError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.edit import step
from assembler.importing.example import Inputs, evaluating
from assembler.infer.lengths import fixed_by
from assembler.registry.aten_names import LIKE
from assembler.wiring.edits import SIZED

_SMALL = (1, 2, 3, 4, 5, 7, 8, 11, 13, 16)
MOST = 10
"""Sizes of free axes at which a graph is compared with the module."""
Axis = tuple[str, int]
Traced = tuple[Graph, Mapping[str, Tensor]]
"""A graph with the tensors that it is too short to write."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of one module's example.

    `traced` makes the graph of other inputs, or raises AssemblerError; `agrees` says whether the graph of the example
    makes of other inputs, which the module takes, what the module does.
    """

    module: nn.Module
    inputs: Inputs
    traced: Callable[[Inputs], Traced]
    agrees: Callable[[Inputs], bool]

    def guarded(self, made: Traced, free: Mapping[Axis, int]) -> tuple[Graph, dict[Axis, list[int]]]:
        """The graph with a `sized` step behind each input that may not have any size, and the axes that may.

        `free` are the axes that the trace left open, each with its greatest size, or -1; those that may have any size
        without it come with the sizes at which they were tried.
        """
        graph = made[0]
        tried = {axes: self._tried(axes, made) for axes in self._groups(free)}
        fixed = {axis for axes, sizes in tried.items() for axis in axes if not sizes}
        fixed = {axis for axis in fixed if not self._refused(graph, (axis,))}
        for name in self.inputs.named:
            value = self.inputs.named[name]
            shape = tuple(n if (name, axis) in fixed else -1 for axis, n in enumerate(value.shape))
            most = tuple(free.get((name, axis), -1) for axis in range(value.dim()))
            if name in graph.input_names and (max((*shape, *most), default=-1) >= 0):
                bounds = {"most": most} if max(most) >= 0 else {}
                made_step = step(SIZED, {"shape": shape, "name": name, **bounds}, (name,))
                graph = _behind(graph, name, _free_id(graph, name), made_step)
        return graph, {axis: sizes for axes, sizes in tried.items() for axis in axes if sizes}

    def _groups(self, free: Mapping[Axis, int]) -> list[tuple[Axis, ...]]:
        """The axes that are not free so far; those of one size, which are often one length, together."""
        found: dict[int, list[Axis]] = {}
        for name, value in self.inputs.named.items():
            for axis in range(1 if self.inputs.batched(value) else 0, value.dim()):
                if (name, axis) not in free:
                    found.setdefault(value.shape[axis], []).append((name, axis))
        return [tuple(axes) for axes in found.values()]

    def _tried(self, axes: Sequence[Axis], made: Traced) -> list[int]:
        """The other sizes at which the module was found to be the graph; none where it is another at one of them.

        At some it is traced again, at more it is run beside the graph. Sizes that it does not take do not count.
        """
        if self._refused(made[0], axes):
            return []
        size = self.inputs.named[axes[0][0]].shape[axes[0][1]]
        trials = [(axes, size + 1), (axes, 2 * size), *([(axes[:1], 2 * size)] if len(axes) > 1 else [])]
        there = [self._same(some, other, made) for some, other in dict.fromkeys((tuple(a), n) for a, n in trials)]
        if True not in there or False in there:
            return []
        others = {n: self.inputs.resized(dict.fromkeys(axes, n)) for n in drawn(size)[1:MOST]}
        run = {n: other for n, other in others.items() if runs(self.module, other)}
        return sorted({*run, *(n for _, n in trials)}) if all(map(self.agrees, run.values())) else []

    def _same(self, axes: Sequence[Axis], size: int, made: Traced) -> bool | None:
        """Whether the graph is right at a size; None where neither it nor the module takes it."""
        other = self.inputs.resized(dict.fromkeys(axes, size))
        if not runs(self.module, other):
            return None if _refuses(made[0], self._types(axes, size)) else False
        try:
            again, tensors = self.traced(other)
        except AssemblerError:
            return False
        same = replace(again, inputs=made[0].inputs) == made[0] and tensors.keys() == made[1].keys()
        return same and all(t.equal(made[1][name]) for name, t in tensors.items())

    def _refused(self, graph: Graph, axes: Sequence[Axis]) -> bool:
        """Whether a step with weights for this size, such as a convolution of so many channels, refuses any other."""
        size = self.inputs.named[axes[0][0]].shape[axes[0][1]]
        found = [_refuses(graph, self._types(axes, n)) for n in (1, size + 1, 2 * size) if n != size]
        return all(step and self._weighs(step) for step in found)

    def _weighs(self, path: str) -> bool:
        known = dict(self.module.named_modules())
        return path in known and any(True for _ in known[path].parameters())

    def _types(self, axes: Sequence[Axis], size: int) -> Iterator[tuple[str, TensorType]]:
        for name, value in self.inputs.resized(dict.fromkeys(axes, size)).named.items():
            yield name, TensorType(tuple(value.shape), str(value.dtype).removeprefix("torch."))


def _refuses(graph: Graph, types: Iterator[tuple[str, TensorType]]) -> str:
    """The first step that refuses inputs of these types, or ""."""
    known = dict(types)
    found = fixed_by(graph, {name: known[name] for name in graph.input_names if name in known})
    return found[0] if found else ""


def runs(module: nn.Module, inputs: Inputs) -> bool:
    """Whether a module takes these inputs."""
    try:
        with evaluating(module):
            module(**inputs.kwargs)
    except Exception:  # whatever the module raises for a size that it is not made for
        return False
    return True


def _behind(graph: Graph, name: str, i: str, guard: Node) -> Graph:
    """The graph with a step behind an input; what only tells sizes and the device goes on reading the input."""

    def reads(node: Node, port: str) -> bool:
        return port != LIKE and node.op not in ("stored", "literal")

    users = graph.users()[name]
    some = any(reads(graph.nodes[user], port) for user, port in users)

    def moved(node: Node) -> Node:
        inputs = ((port, i if s == name and (reads(node, port) or not some) else s) for port, s in node.inputs)
        return replace(node, inputs=tuple(inputs)) if name in node.sources else node

    nodes = {i: guard, **{known: moved(node) for known, node in graph}}
    outputs = tuple((output, i if s == name else s) for output, s in graph.outputs)
    return replace(
        graph, nodes=nodes, outputs=outputs, names={p: i if s == name else s for p, s in graph.names.items()}
    )


def _free_id(graph: Graph, name: str) -> str:
    i = stem = f"{name.replace('.', '_')}_{SIZED}"
    n = 0
    while i in graph.nodes or i in graph.names or i in graph.input_names:
        n += 1
        i = f"{stem}_{n}"
    return i


def drawn(size: int, most: int = -1) -> list[int]:
    """Other sizes for an axis to try, up to `most`: near it, 1, small primes, powers of two.

    >>> drawn(6, 8)
    [3, 7, 5, 1, 2, 4, 8]
    """
    near = (2 * size, size // 2, size + 1, size - 1)
    return [n for n in dict.fromkeys((*near, *_SMALL)) if 0 < n != size and (most < 0 or n <= most)]


def batches(module: nn.Module, inputs: Inputs) -> list[Inputs]:
    """The example in other batches that the module takes: twice its own, 1, and others."""
    sizes = dict.fromkeys((2 * inputs.batch, 1, 3, 4, 7))
    return [other for n in sizes if n != inputs.batch and runs(module, other := inputs.of_batch(n))]


def resizings(module: nn.Module, inputs: Inputs, free: Mapping[Axis, int]) -> list[Inputs]:
    """The example at other sizes of its free axes that the module takes; axes of one size, often one length, together.

    Raises GraphError where it takes none.
    """
    if not free:
        return []
    groups: dict[int, list[Axis]] = {}
    for name, axis in free:
        groups.setdefault(inputs.named[name].shape[axis], []).append((name, axis))
    tried = {n: drawn(n, min((free[a] for a in axes if free[a] >= 0), default=-1)) for n, axes in groups.items()}
    found: list[Inputs] = []
    for turn in range(max(map(len, tried.values()))):
        sizes = {a: tried[n][turn % len(tried[n])] for n, axes in groups.items() if tried[n] for a in axes}
        if runs(module, other := inputs.resized(sizes)):
            found.append(other)
    if not found:
        said = " and ".join(f"{name}.{axis}" for name, axis in free)
        raise GraphError(f"{said} cannot be free: the module takes no other size of it that was tried")
    return found[:MOST]
