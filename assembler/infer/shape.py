"""The shape and dtype of every value of a graph, by running each step on the `meta` device: no hand-written rules."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from assembler.errors import AssemblerError, GraphError, Problem, ShapeError, near
from assembler.graph.core import ITEM, SWITCH, Arg, Graph, Node, TensorType
from assembler.graph.modes import in_mode
from assembler.graph.values import is_weight
from assembler.infer.follow import followed
from assembler.infer.hints import way_out
from assembler.infer.interpret import Interpreter, flat
from assembler.infer.make import reason, written
from assembler.infer.step import call_step, step_of
from assembler.infer.strict import Strict
from assembler.registry import lookup

BATCH = 2
"""The batch that stands in for a graph input whose own is 0 or None."""

Args = tuple[tuple[str, Arg], ...]
Ports = tuple[str, ...]
Types = tuple[TensorType, ...]
NO_CONTEXT = nullcontext()


def shapes(graph: Graph, typed: Callable[..., Outputs | Refusal] | None = None) -> dict[str, TensorType]:
    """The type of every input and step of a graph, by id, in order.

    A step is run once per (op, its code, arguments, input types) and process; `typed` is what runs it, by default
    `step_type`. Raises ShapeError with a problem for
    every step that refuses what reaches it; steps that depend on such a step are not tried.
    """
    typed = typed or step_type
    types: dict[str, TensorType] = {name: batched(name, given) for name, given in graph.inputs}
    further: dict[str, dict[str, TensorType]] = {}
    found: TensorType | Refusal
    failed: dict[str, Problem | None] = {}
    for i, node in graph.nodes.items():
        try:
            given = tuple([types[s] for _, s in node.inputs])
        except KeyError:
            _check_known(graph, i, node, types, failed)
            failed[i] = None
            continue
        if node.op == ITEM:
            found = item_type(graph, node, types, further.get(node.sources[0], {}))
        elif isinstance(made := typed(*signature(node, given)), Refusal):
            found = made
        else:
            found = made[0][1]
            if len(made) > 1:
                further[i] = dict(made)
        if isinstance(found, Refusal):
            failed[i] = _problem(i, node, given, found)
        else:
            types[i] = found
    if failed:
        raise ShapeError([p for p in failed.values() if p])
    _check_shared(graph, types)
    _check_training(graph, types)
    return types


def _check_shared(graph: Graph, types: Mapping[str, TensorType]) -> None:
    """A step that uses another's weights as a whole needs weights of the same shapes."""
    problems = []
    for i, node in graph.nodes.items():
        owner = graph.nodes.get(node.owner)
        if owner is None:  # it has its own, or those of a step in another body, which is seen when both are made
            continue
        mine, theirs = (tuple([types[s] for s in n.sources]) for n in (node, owner))
        if (node.args, node.body) != (owner.args, owner.body) and weight_sizes(owner, theirs):
            problems.append(other_arguments(i, node))
            continue
        if [t.shape[1:] for t in mine] == [t.shape[1:] for t in theirs]:
            continue
        needed, there = weight_sizes(node, mine), weight_sizes(owner, theirs)
        if there and needed != there:
            have = f"it needs {_sizes(needed)}, and they are {_sizes(there)}"
            said = f"'{i}' cannot use the weights of '{node.owner}': {have}"
            problems.append(Problem(said, node.span, i, "the inputs of both must have one width"))
    if problems:
        raise ShapeError(problems)


def other_arguments(i: str, node: Node) -> Problem:
    """What is wrong with a step that uses all weights of one with other arguments."""
    said = f"'{i}' cannot use the weights of '{node.owner}', whose arguments differ"
    return Problem(said, node.span, i, "give both the same, or share one parameter: {weight: a.weight}")


def _check_training(graph: Graph, types: Mapping[str, TensorType]) -> None:
    """What a switch gives in training may have another shape, but the steps behind it have to be the same modules."""
    switches = [dict(node.inputs) for node in graph.nodes.values() if node.op == SWITCH]
    if all(types[ways["train"]] == types[ways["eval"]] for ways in switches):
        return
    there = in_mode(graph, "train")
    training = shapes(there)
    problems = []
    for i, node in there.nodes.items():
        ours, theirs = (tuple(t[s] for s in n.sources) for t, n in ((types, graph.nodes[i]), (training, node)))
        if node.op != ITEM and ours != theirs and weight_sizes(node, ours) != weight_sizes(node, theirs):
            came = " and ".join(str(list(t.shape)) for t in ours), " and ".join(str(list(t.shape)) for t in theirs)
            said = f"{i} ({node.op}) has weights for {came[0]} in evaluation, and {came[1]} reaches it in training"
            problems.append(Problem(said, node.span, i))
    if problems:
        raise ShapeError(problems)


def weight_sizes(node: Node, given: Types) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a step whose inputs have these types."""
    step = run_step(*signature(node, given)[1:5], node.body)[0]
    return {name: tuple(p.shape) for name, p in step.named_parameters()} if isinstance(step, torch.nn.Module) else {}


def _sizes(weights: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(size)}" for name, size in weights.items())


def signature(node: Node, given: Types) -> tuple[str, str, Args, Ports, Types, tuple[type, ...], Graph | None]:
    """What the type and cost of a step depend on, for inputs of these types: the key of everything that is cached.

    It is (the digest of the op's source, op, arguments, input names, types, types of the arguments' values, since 1,
    1.0 and True are equal keys, body).
    """
    code, ports = lookup("op", node.op).code, tuple([p for p, _ in node.inputs])
    return code, node.op, node.args, ports, given, tuple([type(v) for _, v in node.args]), node.body


def item_type(
    graph: Graph, node: Node, types: Mapping[str, TensorType], outputs: Mapping[str, TensorType]
) -> TensorType | Refusal:
    """The type of a further output of a step, or of one of its weights; `types` are those of what the step reads."""
    name = str(node.arg("output"))
    if is_weight(graph, node):
        source = graph.nodes[node.sources[0]]
        sizes = weight_sizes(source, tuple(types[s] for s in source.sources))
        found = next((size for own, size in sizes.items() if flat(own) == flat(name)), None)
        if found is not None:
            return TensorType(found)
        listing = f"its weights are {', '.join(sizes)}" if sizes else "it has no weights"
        said = f"'{node.sources[0]}' ({source.op}) has no output and no weight '{name}'"
        return Refusal(said, near(name, [*outputs, *sizes]) or listing)
    listing = f"it has {', '.join(outputs)}" if outputs else "it has one output"
    return outputs.get(name) or Refusal(f"'{node.sources[0]}' has no output '{name}'", listing)


def batched(name: str, given: TensorType) -> TensorType:
    """An input's type with `BATCH` where its batch is left open. Raises ShapeError where another axis is empty."""
    shape = given.shape
    if shape and not shape[0]:
        shape = (BATCH, *shape[1:])
    if any(not isinstance(n, int) or n < 1 for n in shape):
        raise ShapeError(
            f"input '{name}' has shape {list(given.shape)}: every axis after the batch has to be at least 1"
        )
    dtype_of(given.dtype, name)
    return given if shape == given.shape else TensorType(shape, given.dtype)


def dtype_of(name: str, path: str = "") -> torch.dtype:
    """The torch dtype of that name, which `path` is of. Raises ShapeError where there is none."""
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        hint = "float32, float16, bfloat16, int64 and bool are usual"
        raise ShapeError(f"there is no dtype '{name}'", hint=hint, path=path)
    return found


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a step makes nothing; `at_call` says that it was made and then refused its inputs."""

    why: str
    hint: str = ""
    at_call: bool = False


Outputs = tuple[tuple[str, TensorType], ...]
"""The types of what a step makes, by output name."""


@functools.lru_cache(maxsize=65536)
def step_type(
    code: str, op: str, args: Args, ports: Ports, types: Types, kinds: tuple[type, ...], body: Graph | None = None
) -> Outputs | Refusal:
    """The types of what one step makes, or why it makes nothing; the arguments are `signature`'s."""
    return types_of(lambda: run_step(op, args, ports, types, body)[1])


def types_of(run: Callable[[], Mapping[str, Any]]) -> Outputs | Refusal:
    """The types of what a step's run makes, or why it makes nothing."""
    try:
        made = run()
    except ShapeError as error:
        if error.__cause__:  # the constructor knew the shapes: to the user it is the step that refuses them
            own = error.__cause__.problems[0].hint if isinstance(error.__cause__, AssemblerError) else ""
            return Refusal(reason(error.__cause__), own, at_call=True)
        return Refusal(error.problems[0].message, error.problems[0].hint)
    except AssemblerError as error:
        return Refusal(error.problems[0].message, error.problems[0].hint)
    except NotImplementedError as error:
        if "meta" not in str(error).lower():
            return Refusal(reason(error), at_call=True)
        return Refusal("torch cannot tell the shape of what it makes without its values", "make it of other ops")
    except Exception as error:  # whatever the op raises is about what the user gave it
        return Refusal(reason(error), at_call=True)
    for name, value in made.items():
        which = f"'{name}' is " if name else "makes "
        if not isinstance(value, torch.Tensor):
            return Refusal(
                f"{which}a {type(value).__name__}, and a step has to make {'tensors' if name else 'one tensor'}"
            )
        if not all(value.shape[1:]):
            return Refusal(f"{which}an empty tensor, {list(value.shape)}")
    return tuple((n, TensorType(tuple(v.shape), str(v.dtype).removeprefix("torch."))) for n, v in made.items())


def run_step(
    op: str,
    args: Args,
    ports: Ports,
    types: Types,
    body: Graph | None = None,
    around: AbstractContextManager[Any] = NO_CONTEXT,
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """A step and what it makes of `meta` tensors of these types, in eval mode and without gradients.

    It is called inside of `around`, where it was not made: to make a step with a body, that is run as well.
    """
    entry = lookup("op", op)
    node = Node(op, args, tuple(zip(ports, ports, strict=True)), body=body)
    with torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the real build gives them again
        step = step_of(node, types, _interpreted, shapes)
        if isinstance(step, torch.nn.Module):
            step.eval().requires_grad_(False)  # what counts FLOPs asks for the gradient of whatever wants one
            _check_weights(step)
        values = meta_values(ports, types)
        with Strict(), around:  # within `around`, which is not to see what the CPU is asked
            return step, followed(lambda given: call_step(step, entry, node, given), values)


def _check_weights(step: torch.nn.Module) -> None:
    for name, p in step.named_parameters():
        if not p.numel():
            raise ShapeError(f"its '{name}' would be empty, {list(p.shape)}")


def _interpreted(graph: Graph, name: str) -> torch.nn.Module:
    return Interpreter(graph, shapes(graph), shapes)


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
    return Problem(
        f"{i} ({node.op}) {refused}{args}: {found.why}", node.span, i, found.hint or way_out(node, i, given, found.why)
    )
