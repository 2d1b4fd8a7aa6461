"""The shape and dtype of every value of a graph, by running each step on the `meta` device: no hand-written rules."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from assembler.errors import AssemblerError, GraphError, Problem, ShapeError
from assembler.graph.core import Arg, Graph, Node, TensorType
from assembler.infer.make import call_arguments, make, reason, written
from assembler.registry import Entry, lookup

BATCH = 2
"""The batch that stands in for a graph input whose own is 0 or None."""

Args = tuple[tuple[str, Arg], ...]
Ports = tuple[str, ...]
Types = tuple[TensorType, ...]


def shapes(graph: Graph) -> dict[str, TensorType]:
    """The type of every input and step of a graph, by id, in order.

    A step is run once per (op, its code, arguments, input types) and process. Raises ShapeError with a problem for
    every step that refuses what reaches it; steps that depend on such a step are not tried.
    """
    types: dict[str, TensorType] = {name: batched(name, given) for name, given in graph.inputs}
    failed: dict[str, Problem | None] = {}
    for i, node in graph.nodes.items():
        try:
            given = tuple([types[s] for _, s in node.inputs])
        except KeyError:
            _check_known(graph, i, node, types, failed)
            failed[i] = None
            continue
        code, ports = lookup("op", node.op).code, tuple([p for p, _ in node.inputs])
        found = step_type(code, node.op, node.args, ports, given, tuple([type(v) for _, v in node.args]))
        if isinstance(found, TensorType):
            types[i] = found
        else:
            failed[i] = _problem(i, node, given, found)
    if failed:
        raise ShapeError([p for p in failed.values() if p])
    return types


def batched(name: str, given: TensorType) -> TensorType:
    """An input's type with `BATCH` where its batch is left open. Raises ShapeError where another axis is empty."""
    shape = given.shape
    if shape and not shape[0]:
        shape = (BATCH, *shape[1:])
    if any(not isinstance(n, int) or n < 1 for n in shape):
        raise ShapeError(
            f"input '{name}' has shape {list(given.shape)}: every axis after the batch has to be at least 1"
        )
    dtype_of(given.dtype)
    return given if shape == given.shape else TensorType(shape, given.dtype)


def dtype_of(name: str) -> torch.dtype:
    """The torch dtype of that name. Raises ShapeError where there is none."""
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise ShapeError(f"there is no dtype '{name}'", hint="float32, float16, bfloat16, int64 and bool are usual")
    return found


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a step makes nothing; `at_call` says that it was made and then refused its inputs."""

    why: str
    hint: str = ""
    at_call: bool = False


@functools.lru_cache(maxsize=65536)
def step_type(
    code: str, op: str, args: Args, ports: Ports, types: Types, kinds: tuple[type, ...]
) -> TensorType | Refusal:
    """The type of what one step makes, or why it makes nothing.

    `code` is the digest of the op's source and `kinds` are the types of the arguments' values, since 1, 1.0 and True
    are equal keys: both are there for the cache.
    """
    try:
        made = run_step(op, args, ports, types)[1]
    except ShapeError as error:
        if error.__cause__:  # the constructor knew the shapes: to the user it is the step that refuses them
            return Refusal(reason(error.__cause__), at_call=True)
        return Refusal(error.problems[0].message, error.problems[0].hint)
    except AssemblerError as error:
        return Refusal(error.problems[0].message, error.problems[0].hint)
    except Exception as error:  # whatever the op raises is about what the user gave it
        return Refusal(reason(error), at_call=True)
    if not isinstance(made, torch.Tensor):
        return Refusal(f"makes a {type(made).__name__}, and a step has to make one tensor")
    if not all(made.shape[1:]):
        return Refusal(f"makes an empty tensor, {list(made.shape)}")
    return TensorType(tuple(made.shape), str(made.dtype).removeprefix("torch."))


def run_step(op: str, args: Args, ports: Ports, types: Types) -> tuple[Callable[..., Any], Any]:
    """A step and what it makes of `meta` tensors of these types, in eval mode and without gradients."""
    entry = lookup("op", op)
    with torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the real build gives them again
        step = make(entry, dict(args), [t.shape for t in types])
        if isinstance(step, torch.nn.Module):
            step.eval()
        node = Node(op, args, tuple(zip(ports, ports, strict=True)))
        return step, call_step(step, entry, node, meta_values(ports, types))


def call_step(step: Callable[..., Any], entry: Entry, node: Node, values: Mapping[str, Any]) -> Any:
    """Call what `make` made on the values that `node` reads."""
    positional, named = call_arguments(entry, node, values)
    made = step(*positional, **named)
    return made[0] if entry.option("first") else made


def meta_values(names: Iterable[str], types: Types) -> dict[str, torch.Tensor]:
    """By name, tensors of these types on the `meta` device: they have shapes and no data."""
    made = [torch.empty(t.shape, dtype=dtype_of(t.dtype), device="meta") for t in types]
    return dict(zip(names, made, strict=True))


def _check_known(
    graph: Graph, i: str, node: Node, types: Mapping[str, TensorType], failed: Mapping[str, Problem | None]
) -> None:
    for source in node.sources:
        if source not in types and source not in failed:
            what = "a later step" if source in graph.nodes else "nothing"
            raise GraphError(Problem(f"{i} ({node.op}) reads '{source}', which is {what}", node.span, i))


def _problem(i: str, node: Node, given: Types, found: Refusal) -> Problem:
    if not found.at_call:
        return Problem(f"{i} ({node.op}): {found.why}", node.span, i, found.hint)
    inputs = " and ".join(f"{s} {list(t.shape)}" for s, t in zip(node.sources, given, strict=True))
    refused = f"does not accept {inputs}" if inputs else "cannot run"
    args = f" with {written(dict(node.args))}" if node.args else ""
    return Problem(f"{i} ({node.op}) {refused}{args}: {found.why}", node.span, i)
