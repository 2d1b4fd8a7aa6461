"""What the card of a product tells people: its recipe, what enters and leaves, its host, its cost, a licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assembler.assemble.task import Task
from assembler.errors import AssemblerError
from assembler.graph.core import Graph, TensorType
from assembler.graph.text import from_text
from assembler.infer.batch import Sizes, batch_sizes
from assembler.infer.cost import measured, total
from assembler.recipe.choices import Space
from assembler.train.data.core import licence

if TYPE_CHECKING:
    from assembler.pipeline.state import Run


def about(made: Task, run: Run | None = None) -> dict[str, Any]:
    """Of a task that makes a part or a model: its recipe, interface, fingerprint, host, cost and its data's licence.

    A task of `run` is of that recipe, whatever its model is called; of a part of it the picks too that make it.
    Nothing of a task without a graph, or with one that fails.
    """
    inputs = made.parameters
    text = inputs.get("part") or inputs.get("graph")
    if not isinstance(text, str):
        return {}
    try:
        graph, host = from_text(text), _host(made)
        types = measured(graph)
        cost = total(graph, types)
        found = {
            "recipe": run.spec.name if run else host["recipe"] if host else graph.name,
            "picks": _picks(run, inputs["slot"], graph) if run and "part" in inputs else {},
            "interface": _interface(graph, types, part="part" in inputs),
            "fingerprint": graph.fingerprint,
            "host": host,
            "params": cost.params,
            "flops": cost.flops,
            "licence": licence(inputs["data"]) if "data" in inputs else "",
        }
    except AssemblerError:
        return {}
    return {name: value for name, value in found.items() if value not in ("", {})}


def _host(made: Task) -> dict[str, str]:
    """The model that a part was trained in, or that a training started from."""
    found = dict(made.needs).get("host")
    if found is None or "graph" not in (inputs := found.parameters):
        return {}
    graph = from_text(inputs["graph"])
    return {"phase": found.phase, "recipe": graph.name, "fingerprint": graph.fingerprint}


def _picks(run: Run, slot: str, part: Graph) -> dict[str, Any]:
    """What was picked of a slot's choices to make a part, in words, by path."""
    like = (v for v in run.variants.get(slot, ()) if v.graph.fingerprint == part.fingerprint)
    picks = dict(next((v.picks for v in like if v.graph.input_names == part.input_names), ()))
    return Space(tuple(d for d in run.spec.space.unmoved.decisions if d.name in picks)).named(picks)


def _interface(graph: Graph, types: Mapping[str, TensorType], *, part: bool) -> dict[str, Any]:
    """Types by name: what enters and leaves; of a part, what it reads beside that stands by itself."""
    sizes = batch_sizes(graph, types)
    enters = {name: _shown(types[name], sizes[name]) for name in graph.input_names}
    leaves = {name: _shown(types[i], sizes[i]) for name, i in graph.outputs}
    if not part:
        return {"enters": enters, "leaves": leaves}
    first, *sides = enters.items()
    return {"enters": dict([first]), "reads": dict(sides), "leaves": leaves}


def _shown(kind: TensorType, sizes: Sizes | None) -> str:
    """A type with the batch as `B`, where the recipe's own number is not what it says."""
    return str(kind) if sizes is None else f"{kind.dtype}[{', '.join(map(str, sizes))}]"
