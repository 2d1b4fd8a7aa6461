"""From an op's entry to something that can be called on tensors: a module, or a function with its arguments bound."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from assembler.errors import AssemblerError, GraphError, InputError, RecipeError, ShapeError, near
from assembler.graph.core import Node
from assembler.registry import Body, Entry, Param

V = TypeVar("V")


def make(
    entry: Entry, args: Mapping[str, Any], shapes: Sequence[tuple[int, ...]], body: Body | None = None
) -> Callable[..., Any]:
    """What computes a step: an `nn.Module` for a class or a factory, a `functools.partial` for a function.

    `args` are the recipe's arguments by their recipe names; `shapes` are those of the inputs, batch included, and
    fill the inferred arguments that `args` leaves out; `body` is the sub-graph of an op that has one. Raises
    RecipeError for an unknown argument or where the callable refuses its arguments, ShapeError where the shapes are
    part of the reason.
    """
    bound = arguments(entry, args, shapes) | {p.argument: body for p in entry.params if p.inferred == "body"}
    call = entry.load()
    if entry.shape == "function":
        return functools.partial(call, **bound)
    try:
        made: Callable[..., Any] = call(**bound)
    except Exception as error:  # an op may raise anything; the user wants to know which op and why
        if isinstance(error, GraphError | InputError) and error.problems[0].span:  # of a step of its body
            raise
        raise _refusal(entry, bound, args, shapes, error) from error
    return made


def arguments(entry: Entry, args: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """The keyword arguments of the callable itself: its own names, with the inferred ones filled from `shapes`.

    Raises RecipeError for an argument that the op does not have or that is missing, ShapeError where a shape has too
    few axes.
    """
    bound = {_param(entry, name).argument: value for name, value in args.items()}
    for param in entry.params:
        if param.inferred and param.inferred != "body" and param.argument not in bound:
            bound[param.argument] = _inferred(entry, param, shapes)
    missing = [p.name for p in entry.params if p.required and p.argument not in bound]
    if missing:
        raise RecipeError(f"{entry.name} needs {' and '.join(repr(m) for m in missing)}")
    return bound


def call_arguments(
    entry: Entry, node: Node, values: Mapping[str, V], pack: Callable[[tuple[V, ...]], Any] = tuple
) -> tuple[tuple[V, ...], dict[str, Any]]:
    """How a step is called: positional and keyword inputs, each looked up in `values` by the id it comes from.

    A module's required inputs go by position, so that forward hooks see them; its optional ones go by name.
    A function's inputs go by name, since its arguments may stand between them; a variadic one's by position. Inputs
    that an op takes as one argument (the state of an LSTM) are made one by `pack`. Raises RecipeError where one of
    those is missing.
    """
    required = entry.inputs[: len(entry.inputs) - entry.optional]
    by_name = set(entry.inputs) if entry.shape == "function" else set(entry.inputs) - set(required)
    if entry.has_body:
        return (), {p: values[source] for p, source in node.inputs}
    if entry.variadic or entry.shape == "factory":
        by_name = set()
    ports = dict(node.inputs)
    order = [p for p in required if p in ports] + [p for p in ports if p not in required]
    positional = tuple(values[ports[p]] for p in order if p not in by_name)
    return positional, _packed(entry, {p: values[source] for p, source in node.inputs if p in by_name}, pack)


def _packed(entry: Entry, named: dict[str, Any], pack: Callable[[tuple[V, ...]], Any]) -> dict[str, Any]:
    argument, ports = entry.option("packed") or ("", ())
    given = [p for p in ports if p in named]
    if not given:
        return named
    if missing := [p for p in ports if p not in named]:
        raise RecipeError(f"{entry.name} reads '{given[0]}' and '{missing[0]}' together, or none of them")
    held = tuple(named[p] for p in ports)
    rest = {p: value for p, value in named.items() if p not in ports}
    return {**rest, argument: pack(held) if len(ports) > 1 else held[0]}


def reason(error: BaseException) -> str:
    """The sentence of an exception that says what is wrong, in lower case and without torch's call-site noise."""
    if isinstance(error, AssemblerError) and error.problems:
        return error.problems[0].message.splitlines()[0]
    text = str(error).strip() or type(error).__name__
    text = re.sub(r"torch\.Size\((\[[^]]*\])\)", r"\1", text.splitlines()[0])
    sentences = re.split(r"(?<=[^.\s])[.!] (?=[A-Z])", re.sub(r"^[\w.]+\(\): ", "", text))
    # torch's pooling and convolution list the sizes first and say what is wrong with them last
    text = sentences[-1 if re.match("Given input size|Calculated ", sentences[0]) else 0].rstrip(". ")
    if isinstance(error, KeyError | IndexError | AttributeError):
        return f"{type(error).__name__}: {text}"
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def written(args: Mapping[str, Any]) -> str:
    """Arguments as a recipe would name them: `num_groups=3, bias=False`; tuples as lists."""
    return ", ".join(f"{k}={list(v) if isinstance(v, tuple) else v!r}" for k, v in args.items())


def _param(entry: Entry, name: str) -> Param:
    found = entry.param(name)
    if found is None:
        hint = near(name, entry.arguments) or f"it has {', '.join(entry.arguments) or 'no arguments'}"
        raise RecipeError(f"{entry.name} has no argument '{name}'", hint=hint)
    return found


def _inferred(entry: Entry, param: Param, shapes: Sequence[tuple[int, ...]]) -> Any:
    if param.inferred == "shapes":
        return tuple(shapes)
    if not shapes:
        raise ShapeError(f"{entry.name} takes its '{param.name}' from an input, and it has none")
    if param.inferred == "shape":
        return shapes[0]
    axis = int(param.inferred.removeprefix("axis "))
    if len(shapes[0]) <= max(axis, 0):
        raise ShapeError(f"{entry.name} takes its '{param.name}' from axis {axis}, and its input is {list(shapes[0])}")
    return shapes[0][axis]


def _refusal(
    entry: Entry,
    bound: Mapping[str, Any],
    args: Mapping[str, Any],
    shapes: Sequence[tuple[int, ...]],
    error: Exception,
) -> RecipeError:
    what = f"cannot make {entry.name}({written(args)})"
    if len(bound) == len(args):
        return RecipeError(f"{what}: {reason(error)}")
    given = " and ".join(str(list(s)) for s in shapes)
    return ShapeError(f"{what} for {given}: {reason(error)}")
