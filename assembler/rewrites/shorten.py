"""Fewer copies of repeated blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Literal

from assembler.errors import GraphError, RecipeError
from assembler.graph.core import Graph
from assembler.graph.edit import cut, remove
from assembler.graph.runs import ends
from assembler.registry import rewrite
from assembler.rewrites.core import Rewrite, Types, Values, Weights
from assembler.rewrites.ops import features
from assembler.rewrites.view import View


@rewrite("shorten")
@dataclass(frozen=True)
class Shorten(Rewrite):
    """Keep so many `blocks` of a container that repeats them one after the other (`stage.0.block`, `encoder.layer`).

    Kept are the `first` ones, with `spread` the ones at equal distances, the first among them, or with `important`, in
    a run, those that change most what they read: one minus the cosine of what enters and leaves on samples of the
    training split (block influence, ShortGPT, Men et al. 2024, arXiv:2403.03853). They keep their names; what read the
    last copy reads the last that is left. Where such containers lie in one another, each is a place by itself. Deep
    Incubation makes its meta model so (Ni et al. 2023, one block a stage), and shallow students of BERT are begun so
    (DistilBERT, Sanh et al. 2019, every second layer).
    """

    keeps: ClassVar[bool] = False

    blocks: int = 1
    keep: Literal["first", "spread", "important"] = "first"
    _values: Values | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise RecipeError(f"'blocks' of shorten must be at least 1, not {self.blocks}")

    @property
    def needs_values(self) -> bool:
        """Whether what the blocks do on data decides."""
        return self.keep == "important"

    def sites(self, graph: Graph, types: Types) -> tuple[str, ...]:
        """The containers of more copies than that, each reading the one before it, all of one type."""
        view = View(graph, types)
        return tuple(path for path, copies in _repeated(graph) if len(copies) > self.blocks and _chain(view, copies))

    def edit(self, graph: Graph, types: Types, at: str, state: Weights | None) -> Graph:
        """The graph without the other copies."""
        copies = dict(_repeated(graph))[at]
        kept = self._kept(graph, types, copies)
        for n in reversed(range(len(copies))):
            if n not in kept:
                graph = remove(graph, copies[n])
        return graph

    def _kept(self, graph: Graph, types: Types, copies: list[str]) -> set[int]:
        """The numbers, in their order, of the copies that stay."""
        count = len(copies)
        if self.keep == "important":
            if self._values is None:
                raise GraphError("shorten by importance needs data", hint="say it in a phase `rewrite` of a run")
            view = View(graph, types)
            found = [_influence(self._values, view, path) for path in copies]
            return set(sorted(range(count), key=lambda n: -found[n])[: self.blocks])
        return {n * count // self.blocks if self.keep == "spread" else n for n in range(self.blocks)}


def _influence(values: Values, view: View, path: str) -> float:
    """How much a block changes what it reads: one minus the mean cosine of what enters and leaves."""
    from torch.nn.functional import cosine_similarity

    slot = cut(view.graph, path)
    readers = (view.graph.nodes[i].op for i in view.readers[slot.source] if i)
    axis = features(*readers, otherwise=1 if len(view.types[slot.source].shape) > 3 else -1)
    return float(1 - cosine_similarity(values(slot.source, axis), values(slot.output, axis), dim=1).mean())


def shallow(graph: Graph, slots: Iterable[str], blocks: int) -> Graph:
    """The graph whose slots keep so many of their repeated blocks, those of the outermost containers inside of them.

    Of a container that a run cuts through these are the copies that lie in the run as a whole. Raises GraphError where
    no slot has several, or none more than `blocks`.
    """
    from assembler.infer.shape import shapes  # a lint reads this file without torch

    Shorten(blocks)
    view, found = View(graph, shapes(graph)), graph
    whole = {slot: dict(_whole(view, slot)) for slot in slots}
    if not any(len(copies) > 1 for some in whole.values() for copies in some.values()):
        at = next((copies[-1] for some in reversed(whole.values()) for copies in some.values()), "")
        hint = "say the shallow model by `set:`, {vars.depth: 1} for instance"
        hint += f", or of an imported one {{{at}: identity}}" if at else ""
        raise GraphError(f"no slot of {graph.name} holds several blocks that repeat, so none can have fewer", hint=hint)
    most = max(len(copies) for some in whole.values() for copies in some.values())
    if most <= blocks:
        said = f"no slot of {graph.name} has more than {most} blocks that repeat, so `blocks: {blocks}` leaves none out"
        raise GraphError(said, hint=f"`blocks` from 1 to {most - 1} makes the slots shorter")
    for slot, some in whole.items():
        several = {path: copies for path, copies in some.items() if len(copies) > 1}
        outermost = (path for path in several if not any(path.startswith(f"{other}.") for other in several))
        found = _shallow(found, slot, [several[path][blocks:] for path in outermost])
    return found


def _whole(view: View, slot: str) -> Iterator[tuple[str, list[str]]]:
    """(container, the copies of it that lie in a slot as a whole, each reading the one before it)."""
    inside = set(view.graph.region(slot))
    for path, copies in _repeated(view.graph):
        within = [copy for copy in copies if inside.issuperset(view.graph.region(copy))]
        if within and _chain(view, within):
            yield path, within


def _shallow(graph: Graph, slot: str, gone: list[list[str]]) -> Graph:
    """The graph without these copies, each the last ones of a container; the slot keeps its name."""
    run, output = ends(slot), cut(graph, slot).output
    for copies in gone:
        for copy in reversed(copies):
            place = cut(graph, copy)
            output = place.source if output == place.output else output
            graph = remove(graph, copy)
    if run is None or run[1] in graph.nodes or run[1] in graph.names:
        return graph
    return replace(graph, names={**graph.names, run[1]: output})


def _repeated(graph: Graph) -> Iterator[tuple[str, list[str]]]:
    """(container, its numbered children by number) of every container that has several."""
    found: dict[str, set[int]] = {}
    for i in graph.nodes:
        parts = i.split(".")
        for n, part in enumerate(parts[1:], 1):
            if part.isdecimal():
                found.setdefault(".".join(parts[:n]), set()).add(int(part))
    for path, numbers in found.items():
        if len(numbers) > 1:
            yield path, [f"{path}.{n}" for n in sorted(numbers)]


def _chain(view: View, copies: list[str]) -> bool:
    """Whether each copy carries on the value of the one before it, of one type, and no other step uses its weights."""
    try:
        slots = [cut(view.graph, path) for path in copies]
    except GraphError:
        return False
    types = {view.types[value] for slot in slots for value in (slot.source, slot.output)}
    follow = all(b.source == a.output for a, b in pairwise(slots))
    return follow and len(types) == 1 and not any(view.is_shared_outside(slot.ids) for slot in slots)
