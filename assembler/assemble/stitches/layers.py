"""A part between stitch layers: linear maps of the features, on tokens, rows or the positions of a map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from assembler.errors import GraphError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.edit import ROOT, step
from assembler.graph.runs import ends
from assembler.graph.shares import renamed as sharing

ENTER, LEAVE, INNER = "stitch_in", "stitch_out", "unstitched"


class Stitches(NamedTuple):
    """The ids of the stitch layers before and after a part, "" where it fits without."""

    enter: str = ""
    leave: str = ""


NONE = Stitches()


def stitched(
    part: Graph, made: TensorType, enters: TensorType, leaves: TensorType, slot: str
) -> tuple[Graph, Stitches]:
    """A part that makes a value of the type `made`, for a slot where other types enter and leave.

    A linear layer maps features [B, .., D], a 1x1 convolution the channels of maps [B, C, H, W]; between maps and
    tokens the positions are laid out anew. Raises GraphError where more differs than the features.
    """
    first, last = ends(slot) or ("", "")
    enter, before = _layers(enters, part.inputs[0][1], f"{first}.{ENTER}" if first else ENTER)
    if leaves == made and not before:
        return part, NONE
    x, end = part.input_names[0], part.outputs[0][1]
    nodes = _feeding(before, x)
    moved = {x: list(nodes)[-1]} if nodes else {}
    own = last or ROOT
    leave, after = _layers(made, leaves, own if own in part.nodes else f"{last}.{LEAVE}" if last else LEAVE)
    moved |= renamed(Stitches(enter, leave), slot) if after and own in part.nodes else {}
    nodes |= {moved.get(i, i): _reading(node, moved) for i, node in part}
    end = moved.get(end, end)
    nodes |= _feeding(after, end)
    names = {p: moved.get(i, i) for p, i in part.names.items()}
    graph = Graph(
        ((x, enters), *part.inputs[1:]), nodes, ((part.outputs[0][0], list(nodes)[-1] if after else end),), names,
        part.name,
    )  # fmt: skip
    return graph, Stitches(enter, leave)


def renamed(stitches: Stitches, slot: str) -> dict[str, str]:
    """What the slot's own step is called in a part whose stitch is what leaves the slot, by the id that it had."""
    run = ends(slot)
    own = run[1] if run else ROOT
    return {own: f"{own}.{INNER}" if run else INNER} if stitches.leave == own else {}


def _layers(given: TensorType, wanted: TensorType, name: str) -> tuple[str, dict[str, tuple[str, Mapping[str, Any]]]]:
    """(id of the layer with weights, steps by id) that make one type of another; the last step is called `name`.

    Raises GraphError where no linear map of the features does.
    """
    if given.shape[1:] == wanted.shape[1:] and given.dtype == wanted.dtype:
        return "", {}
    a, b = given.shape[1:], wanted.shape[1:]
    steps: list[tuple[str, dict[str, Any]]]
    if given.dtype != wanted.dtype:
        steps = []
    elif len(a) == len(b) and len(a) < 3 and a[:-1] == b[:-1]:
        steps = [("linear", {"out": b[-1]})]
    elif len(a) == len(b) == 3 and a[1:] == b[1:]:
        steps = [("conv2d", {"out": b[0], "kernel_size": 1})]
    elif len(a) == 3 and len(b) == 2 and a[1] * a[2] == b[0]:
        steps = [("map_to_tokens", {}), ("linear", {"out": b[1]})]
    elif len(a) == 2 and len(b) == 3 and a[0] == b[1] * b[2]:
        steps = [("linear", {"out": b[0]}), ("tokens_to_map", {"grid": b[1:]})]
    else:
        steps = []
    if not steps:
        raise GraphError(f"no stitch makes {wanted} of {given}", hint="a stitch changes the features alone")
    ids = [f"{name}.{op}" for op, _ in steps[:-1]] + [name]
    layer = next(i for i, (op, _) in zip(ids, steps, strict=True) if op in ("linear", "conv2d"))
    return layer, dict(zip(ids, steps, strict=True))


def _feeding(steps: Mapping[str, tuple[str, Mapping[str, Any]]], source: str) -> dict[str, Node]:
    """A chain of steps that begins with `source`."""
    found: dict[str, Node] = {}
    for i, (op, args) in steps.items():
        found[i] = step(op, args, (source,))
        source = i
    return found


def _reading(node: Node, moved: Mapping[str, str]) -> Node:
    return sharing(node.reading(moved), moved)
