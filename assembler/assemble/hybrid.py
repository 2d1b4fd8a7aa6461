"""A part in its host: the graph split into what training the part never changes and what it does.

Everything that trains parts is this one thing: a host, a slot in it, a candidate, a target, and all else frozen.
Deep Incubation (Ni et al. 2023) puts the slot into a shallow meta model and trains on the task; block-wise
distillation (DNA, Li et al. 2020; Puzzle, Bercovich et al. 2024) puts it into the teacher and compares block outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from assembler.errors import RecipeError, near
from assembler.graph.core import ITEM, Graph, TensorType
from assembler.graph.edit import cut, inner_id, outer_id, prune, with_outputs
from assembler.graph.modes import Mode, has_modes, in_mode
from assembler.graph.reach import computed
from assembler.graph.shares import owners
from assembler.infer.shape import shapes
from assembler.train.steps import free

SLOT = "slot"
"""In an objective, the value that leaves the slot, whichever slot it is."""


@dataclass(frozen=True)
class Split:
    """A graph cut in two at the values that enter what depends on one slot.

    `frontier` maps the input names of `tail` to the ids of those values; the ids in `tail` are the whole graph's.
    """

    frontier: Mapping[str, str]
    tail: Graph


def value_paths(graph: Graph, names: Iterable[str], slot: str = "") -> dict[str, str]:
    """The id in `graph` of each named value: an output, an input, a recipe path, `slot`, a path in that (`slot.mlp`).

    Raises RecipeError with the nearest names for one that is neither.
    """
    outputs = dict(graph.outputs)
    found = {}
    for name in names:
        if name in outputs:
            found[name] = outputs[name]
        elif name == SLOT and slot:
            found[name] = cut(graph, slot).output
        elif (path := _whole(name, slot)) in graph.nodes or path in graph.names:
            found[name] = graph.resolve(path)
        elif name in graph.input_names:
            found[name] = name
        else:
            inside = [SLOT, *(f"{SLOT}.{inner_id(slot, i)}" for i in graph.region(slot))] if slot else []
            known = [*outputs, *graph.input_names, *graph.names, *graph.nodes, *inside]
            hint = near(name, known) or f"outputs are {', '.join(outputs)}; any step's path names its value"
            raise RecipeError(f"the objective reads '{name}', which {graph.name} does not have", hint=hint)
    return found


def _whole(name: str, slot: str) -> str:
    """The path in the model of a value that may be one in the slot."""
    inner = name.removeprefix(f"{SLOT}.")
    return outer_id(slot, inner) if slot and inner != name else name


def split(
    graph: Graph, slot: str, wanted: Mapping[str, str], types: Mapping[str, TensorType], taken: Collection[str] = ()
) -> Split:
    """Split `graph` so that the tail computes `wanted` (name -> id) from values that the slot has no part in.

    The tail's inputs have none of the names `taken`, which fields of a batch have that these values join.
    """
    moved = set(graph.region(slot))
    for i, node in graph:
        if any(s in moved for s in node.sources):
            moved.add(i)
    needed = {i for i in prune(replace(graph, outputs=tuple(wanted.items()))).nodes if i in moved}
    waiting = list(needed)
    while waiting:  # what the tail uses the weights of is in it, whatever becomes of its value
        kept = [i for i in owners(graph.nodes[waiting.pop()], graph.nodes) if i not in needed]
        needed.update(kept)
        waiting += kept
        moved.update(kept)
    border = {s: None for i in needed for s in graph.nodes[i].sources if s not in moved}
    ordered = [i for i in (*graph.input_names, *graph.nodes) if i in border]
    ordered += [i for i in wanted.values() if i not in moved and i not in border]
    stem = "x"
    while any(i.startswith(stem) for i in (*needed, *taken)):
        stem += "_"
    names = {i: f"{stem}{n}" for n, i in enumerate(dict.fromkeys(ordered))}
    nodes = {i: graph.nodes[i].reading(names) for i in graph.nodes if i in needed}
    tail = Graph(
        tuple((name, types[i]) for i, name in names.items()),
        nodes,
        tuple((name, names.get(i, i)) for name, i in wanted.items()),
        {p: i for p, i in graph.names.items() if i in needed},
        f"{graph.name}.{slot}",
    )
    return Split({name: i for i, name in names.items()}, tail)


def values_of(graph: Graph, wanted: Mapping[str, str]) -> Graph:
    """The part of a graph that computes `wanted` (name -> id), as its outputs."""
    inputs = tuple((name, mode) for name, mode in graph.only if name in graph.input_names)
    return prune(with_outputs(replace(graph, only=inputs), wanted))


def cut_down(
    graph: Graph, wanted: Mapping[str, str], given: Mapping[str, str], mode: Mode = "eval"
) -> tuple[Graph, dict[str, str]]:
    """What computes `wanted` (name -> id) where it is told some values (id -> what they are), and those by input.

    Raises RecipeError where nothing wanted depends on one that is given, as the model is in this mode.
    """
    if not given:
        return values_of(graph, wanted), {}
    whole, inputs = told(graph, given)
    inner = values_of(whole, {name: inputs.get(i, i) for name, i in wanted.items()})
    read = computed(in_mode(inner, mode))
    if unread := next((i for i, name in inputs.items() if name not in read), ""):
        how = "in evaluation, as models beside the one in training are" if mode == "eval" else "in training"
        raise RecipeError(f"nothing that is read of {graph.name} depends on '{unread}', which is given", hint=how)
    return inner, {inputs[i]: value for i, value in given.items()}


def told(graph: Graph, ids: Iterable[str]) -> tuple[Graph, dict[str, str]]:
    """The graph in which the values `ids` are inputs, and the names of these by id.

    Nothing computes them then but where their weights, or further outputs of their steps, are read.
    """
    types, taken = shapes(graph), {*graph.input_names, *graph.nodes, *graph.names}
    inputs = {i: i if i in graph.input_names else free(i, taken) for i in ids}
    more = tuple((name, types[i]) for i, name in inputs.items() if i != name)
    nodes = {i: node if node.op == ITEM else node.reading(inputs) for i, node in graph}
    outputs = tuple((name, inputs.get(i, i)) for name, i in graph.outputs)
    names = {path: inputs.get(i, i) for path, i in graph.names.items()}
    return replace(graph, inputs=(*graph.inputs, *more), nodes=nodes, outputs=outputs, names=names), inputs


def with_values(graph: Graph, wanted: Mapping[str, str]) -> Graph:
    """The graph with further outputs; those that it has already stay as they are.

    Where training and evaluation run different steps, the further ones are there in training alone.
    """
    own = dict(graph.outputs)
    extra = {name: i for name, i in wanted.items() if name not in own}
    bound = tuple((name, "train") for name in extra) if has_modes(graph) else ()
    more = with_outputs(graph, {**own, **extra}) if extra else graph
    return replace(more, only=(*more.only, *bound)) if bound else more
