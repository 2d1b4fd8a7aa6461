"""ATen operators as functions of named tensors: what the ops `aten.NAME[.OVERLOAD]` call."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from assembler.registry import REQUIRED
from assembler.registry.aten_names import LIKE, PLACES, PREFIX, Argument, Schema, schema

_SIZE = re.compile(r"(?:(?P<times>\d+)\*)?(?:B|N(?P<axis>\d+))(?P<plus>[+-]\d+)?")


class _Operator:
    """The overloads of one operator, as attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, overload: str) -> Callable[..., Any]:
        return _function(f"{self._name}.{overload}")


class _Space:
    """The operators of the namespace, as attributes."""

    def __getattr__(self, name: str) -> _Operator:
        return _Operator(name)


ATEN = _Space()


@functools.cache
def _function(name: str) -> Callable[..., Any]:
    """The operator as a function: tensors by their names, those of lists by position, numbers by name.

    One function for each operator, so that what is known of it can be kept.
    """
    said = schema(PREFIX + name)
    if said is None:
        raise AttributeError(f"there is no operator aten.{name}")
    base, _, overload = name.partition(".")
    target = getattr(getattr(torch.ops.aten, base), overload)
    fixed = [a.name for a in said.arguments if a.tensors and not a.listed and not a.type.endswith("?")]
    anew = any(a.name == "device" for a in target._schema.arguments)

    def call(*tensors: Any, **given: Any) -> Any:
        like = given.pop(LIKE, None)
        if said.scattered:
            given |= _placed(said, dict(zip(fixed, tensors, strict=False)), tensors[len(fixed) :], given)
        positional, named = _arguments(said, given, like)
        if anew and like is not None:
            named["device"] = like.device
        made = target(*positional, **named)
        return tuple(made) if isinstance(made, list) else made

    call.__name__ = call.__qualname__ = f"aten_{base}_{overload}"
    return call


def _placed(said: Schema, found: dict[str, Any], listed: tuple[Any, ...], given: dict[str, Any]) -> Mapping[str, Any]:
    """The tensors of lists in their lists, by argument; a place that nothing is given for holds None."""
    places = given.pop(PLACES, None)
    if places is None:
        name = next(a.name for a in said.arguments if a.tensors and a.listed)
        return found | {name: list(listed)}
    if len(places) != len(listed):
        raise ValueError(f"places names {len(places)} inputs, and there are {len(listed)}")
    for place, tensor in zip(places, listed, strict=True):
        name, _, index = place.partition(".")
        if not index:
            found[name] = tensor
            continue
        members = found.setdefault(name, [])
        members += [None] * (int(index) + 1 - len(members))
        members[int(index)] = tensor
    return found


def _arguments(said: Schema, given: Mapping[str, Any], like: Any) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    ordered = True
    for argument in said.arguments:
        needed = argument.type == "Tensor?" and argument.default == REQUIRED
        ordered = ordered and (needed or argument.name in given) and argument.name not in said.keywords
        if argument.name not in given and not needed:
            continue
        value = _value(argument, given.get(argument.name), like)
        if ordered:
            positional.append(value)
        else:
            named[argument.name] = value
    return positional, named


def _value(argument: Argument, value: Any, like: Any) -> Any:
    if argument.tensors or value is None:
        return value
    kind = argument.type.rstrip("?")
    if kind in ("ScalarType", "MemoryFormat"):
        return _attribute(str(value))
    if kind.startswith(("SymInt", "Scalar")):
        return [_size(v, like) for v in value] if isinstance(value, list | tuple) else _size(value, like)
    return list(value) if isinstance(value, tuple) else value


def _attribute(name: str) -> Any:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype | torch.memory_format):
        raise ValueError(f"there is no dtype or memory format '{name}'")
    return found


def _size(value: Any, like: Any) -> Any:
    """A number; `B`, `4*B` or `B+1` stand for one that the batch of `like` tells, `N2` for the size of its axis 2."""
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value)
    if found is None or like is None:
        raise ValueError(f"'{value}' is no size" if found is None else f"'{value}' needs the input '{LIKE}'")
    size = like.shape[int(found["axis"] or 0)]
    times, plus = int(found["times"] or 1), int(found["plus"] or 0)
    size = size * times if times != 1 else size
    return size + plus if plus else size
