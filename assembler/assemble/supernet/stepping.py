"""Candidates run step by step on modules that are made once for each step, whatever the candidate around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from assembler.compile.lower import check_names, steps_of
from assembler.compile.steps import seeding
from assembler.graph.core import ITEM, Graph, Node
from assembler.graph.modes import has_modes
from assembler.infer.shape import shapes, signature
from assembler.infer.step import call_step
from assembler.recipe.pause import no_collection
from assembler.registry import lookup


@dataclass(frozen=True, eq=False)
class Place:
    """Where a tensor of a candidate is: its `state_dict` key, the library's key, and the layer that holds it."""

    name: str
    key: str
    tensor: Tensor
    layer: nn.Module

    def put(self, tensor: Tensor) -> None:
        """Let the layer compute with a tensor."""
        last = self.name.rpartition(".")[2]
        held: dict[str, Any] = self.layer._parameters if last in self.layer._parameters else self.layer._buffers
        held[last] = tensor  # a piece of a parameter is none, which `setattr` would refuse


Key = Callable[[str, Node, Tensor], str]
"""The library's key for a tensor of that name, of a node."""


@dataclass(frozen=True, eq=False)
class Step:
    """What computes a step, and the places of its tensors."""

    call: Callable[..., Any]
    places: tuple[Place, ...]


@dataclass
class Stepping:
    """The modules of all steps that candidates have had so far, by path and by what a step is made from."""

    key: Key
    seed: int
    device: torch.device | str
    made: dict[tuple[Any, ...], Step] = field(default_factory=dict)

    @staticmethod
    def takes(graph: Graph) -> bool:
        """Whether each step of a graph can be made by itself: none shares weights, or is there in one mode alone."""
        return not has_modes(graph) and all(map(_is_alone, graph.nodes.values()))

    def steps(self, graph: Graph) -> dict[str, Step]:
        """The steps of a graph that `takes` says yes to, by id, further outputs left out."""
        types = shapes(graph)
        keys = {i: (i, *signature(n, tuple([types[s] for _, s in n.inputs])), n.init, n.frozen)
                for i, n in graph if n.op != ITEM}  # fmt: skip
        missing = [i for i, key in keys.items() if key not in self.made]
        if missing:
            check_names(graph)
            with no_collection(), seeding(self.seed):
                make = steps_of(graph, types, self.seed, self.device)
                for i in missing:
                    self.made[keys[i]] = self._step(i, graph.nodes[i], make(i))
        return {i: self.made[key] for i, key in keys.items()}

    def _step(self, i: str, node: Node, call: Callable[..., Any]) -> Step:
        return Step(call, tuple(self._places(i, node, call)) if isinstance(call, nn.Module) else ())

    def _places(self, i: str, node: Node, module: nn.Module) -> Iterator[Place]:
        seen: dict[int, str] = {}
        for inner, tensor in module.state_dict(keep_vars=True).items():
            name = f"{i}.{inner}"
            first = seen.setdefault(id(tensor), name)
            yield Place(name, self.key(first, node, tensor), tensor, module.get_submodule(inner.rpartition(".")[0]))


def run(
    graph: Graph, steps: Mapping[str, Step], values: Mapping[str, Any], mode: Callable[[nn.Module], None]
) -> dict[str, Any]:
    """The outputs of a graph by name, from its inputs by name; `mode` puts each module into the mode it is to have."""
    known = {name: values[name] for name in graph.input_names}
    further: dict[str, dict[str, Any]] = {}
    for i, node in graph:
        if node.op == ITEM:
            known[i] = further[node.sources[0]][str(node.arg("output"))]
            continue
        call = steps[i].call
        if isinstance(call, nn.Module) and not node.frozen:
            mode(call)
        further[i] = call_step(call, lookup("op", node.op), node, known)
        known[i] = next(iter(further[i].values()))
    return {name: known[i] for name, i in graph.outputs}


def _is_alone(node: Node) -> bool:
    if node.share or lookup("op", node.op).option("bare"):
        return False
    return node.body is None or Stepping.takes(node.body)


def places_of(steps: Iterable[Step]) -> Iterator[Place]:
    """The places of all tensors of some steps."""
    for step in steps:
        yield from step.places
