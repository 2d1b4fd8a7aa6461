"""Where a model can be cut into slots, with what each part holds and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from assembler.errors import InputError
from assembler.graph.balance import balanced
from assembler.graph.core import Graph
from assembler.graph.cuts import cuts as cuts_of
from assembler.graph.edit import Slot
from assembler.graph.sides import side_paths
from assembler.infer.cost import costs
from assembler.infer.shape import shapes
from assembler.recipe.choices import first, space
from assembler.recipe.document import Document, load
from assembler.symbolic.recipe import Recipe, tree
from assembler.wiring.build import build

Unit = Literal["flops", "params"]


@dataclass(frozen=True)
class Part:
    """A region that one value enters and one leaves, by the name that `split:` knows: a path, or a run of steps.

    `sides` are the values that it reads beside, by path. Shapes are with the batch that they were inferred with; FLOPs
    are those of one sample.
    """

    name: str
    steps: int
    entering: tuple[int, ...]
    leaving: tuple[int, ...]
    params: int
    flops: int
    sides: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cutting:
    """Every part that can be cut out, those of them in a chain, a proposal of balanced slots, what is torn and why."""

    name: str
    parts: tuple[Part, ...]
    chain: tuple[str, ...]
    proposal: tuple[Part, ...]
    torn: Mapping[str, str]

    def data(self) -> dict[str, Any]:
        """The cutting as plain data, for `--json`."""
        return {
            "recipe": self.name,
            "parts": [_plain(p) for p in self.parts],
            "chain": list(self.chain),
            "split": [p.name for p in self.proposal],
            "slots": [_plain(p) for p in self.proposal],
            "torn": dict(self.torn),
        }


def cuts(
    source: str | Path | Document | Recipe | Graph, *overrides: str, slots: int | None = None, by: Unit = "flops"
) -> Cutting:
    """Where a model can be cut, and with `slots` into which so many the largest is smallest, in FLOPs or parameters.

    Raises GraphError where there are not so many slots to be had.
    """
    graph = _graph(source, overrides)
    if slots is not None and slots < 1:
        raise InputError(f"a model is cut into at least 1 slot, not {slots}")
    found, types, spent = cuts_of(graph), shapes(graph), costs(graph)

    def part(slot: Slot) -> Part:
        inside = [spent[i] for i in slot.ids]
        ends = types[slot.source].shape, types[slot.output].shape
        spent_there = sum(c.params for c in inside), sum(c.flops for c in inside)
        sides = {path: types[i].shape for i, path in side_paths(graph, slot.sides, slot.ids).items()}
        return Part(slot.path, len(slot.ids), *ends, *spent_there, sides)

    weights = weights_of(graph, by)[0]
    proposal: Sequence[Slot] = balanced(graph, found, weights, slots) if slots else ()
    names = tuple(s.path for s in found.chain)
    return Cutting(graph.name, tuple(map(part, found.slots)), names, tuple(map(part, proposal)), found.torn)


def _plain(part: Part) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(part).items()}


def weights_of(graph: Graph, by: Unit) -> tuple[dict[str, int], str]:
    """What each step weighs, and in which unit: FLOPs or parameters, the other where there are none, else steps."""
    spent = costs(graph)
    units = {"flops": "FLOPs", "params": "parameters"}
    for unit in dict.fromkeys((by, *units)):
        if any(getattr(cost, unit) for cost in spent.values()):
            return {i: getattr(cost, unit) for i, cost in spent.items()}, units[unit]
    return dict.fromkeys(spent, 1), "steps"


def _graph(source: str | Path | Document | Recipe | Graph, overrides: tuple[str, ...]) -> Graph:
    if isinstance(source, Graph):
        return source
    if isinstance(source, Recipe):
        model = tree(source)
        name = str(source.sym_getattr("name")) if source.sym_hasattr("name") else "model"
        return build(first(model, space(model, [])), name=name)
    document = source if isinstance(source, Document) else load(source, overrides)
    return build(document.default, name=document.name)
