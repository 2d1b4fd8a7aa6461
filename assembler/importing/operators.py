"""One call of an ATen operator in a trace as a node: its arguments by name, sizes by batch, tensors as inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from assembler.graph.core import Node
from assembler.graph.edit import step
from assembler.importing.batch import free_in, free_of, size_of
from assembler.registry import Entry, lookup
from assembler.registry.aten_names import LIKE, PLACES, PREFIX, Schema, find, schema

LATER = ""
"""The source of an input that only tells batch and device, until it is chosen."""

_SAME = ("alias", "lift_fresh_copy", "contiguous", "clone", "to", "_to_copy", "slice", "expand", "view", "reshape")
_NOTHING = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size")
_RESHAPES = ("view", "reshape", "_unsafe_view")
_ALONE = ("relu", "sigmoid", "tanh", "silu")
_PAIRS = ("add", "mul", "sub")
_VIEWS = {"_conj": "aten.conj_physical", "_conj_physical": "aten.conj_physical", "_neg_view": "aten.neg"}
"""Views that only note what is to be done to their values, and the operators that do it."""
PLAIN = (*_ALONE, *_PAIRS, "gelu", "softmax")
"""The ops of ours that operators become."""


class UnknownOperatorError(Exception):
    """An operator that the namespace has not, or that is called with something that a graph cannot hold."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a call comes to: a node and what its id is made of, or with no node the value of `same`."""

    name: str
    node: Node | None = None
    same: fx.Node | None = None


def converted(call: fx.Node, ids: Callable[[fx.Node], str]) -> Made:
    """The node of a call. `ids` gives the id of a tensor. Raises UnknownOperatorError."""
    given = dict(_given(call))
    base = call.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    if base in _NOTHING:
        return Made(base)
    source = given.get("self")
    if base in _SAME and isinstance(source, fx.Node) and _alike(call, source):
        return Made(base, same=source)
    if base in ("to", "_to_copy"):
        return Made(
            "to", _node("aten.to.dtype", {"dtype": _name(call.meta["val"].dtype)}, [("self", ids(given["self"]))])
        )
    if base in _VIEWS:
        return Made(base.strip("_"), _node(_VIEWS[base], {}, [("self", ids(given["self"]))]))
    if (known := _trained(base, given, ids)) is not None:
        return Made(base, known)
    if (plain := _plain_op(base, given, ids)) is not None:
        return Made(base, plain)
    if base in _RESHAPES:
        given = {"self": source, "size" if base != "reshape" else "shape": _target(call)}
        return Made("reshape", _reshaped(given, ids))
    if base == "floor_divide" and isinstance(given["other"], int | float):
        args = {"other": given["other"], "rounding_mode": "floor"}
        return Made(base, _node("aten.div.Scalar_mode", args, [("self", ids(given["self"]))]))
    if base == "expand":
        given["size"] = _target(call, source)
    return Made(base.strip("_"), _operator(call, given, ids))


def _trained(base: str, given: Mapping[str, Any], ids: Callable[[Any], str]) -> Node | None:
    """The op of ours that does in either mode what an operator does in the one that it was traced in."""
    if base in ("dropout", "alpha_dropout"):
        return step(base, {"p": float(given["p"])}, (ids(given["input"]),))
    if base == "feature_dropout" and (axes := _value(given["input"]).dim() - 2) in (1, 2, 3):
        return step(f"dropout{axes}d", {"p": float(given["p"])}, (ids(given["input"]),))
    if base == "scaled_dot_product_attention" and given.get("dropout_p"):
        ports = {"q": "query", "k": "key", "v": "value", "bias": "attn_mask"}
        inputs = [(ours, ids(given[theirs])) for ours, theirs in ports.items() if given.get(theirs) is not None]
        args = {"dropout": float(given["dropout_p"]), "causal": bool(given.get("is_causal", False))}
        return _node("dot_product_attention", args | {"scale": given.get("scale")}, inputs)
    return None


def _plain_op(base: str, given: Mapping[str, Any], ids: Callable[[Any], str]) -> Node | None:
    """The op of ours that an operator is, so that what looks for ops finds it."""
    if base in _ALONE and len(given) == 1:
        return step(base, {}, (ids(given["self"]),))
    if base == "gelu":
        return step(base, {"approximate": given.get("approximate", "none")}, (ids(given["self"]),))
    if base == "softmax" and given.get("dtype") is None:
        return step(base, {"dim": given["dim"]}, (ids(given["self"]),))
    pair = [v for v in (given.get("self"), given.get("other")) if isinstance(_value(v), Tensor)]
    if base in _PAIRS and len(given) == len(pair) == 2:
        a, b = map(_value, pair)
        if a.dim() == b.dim() > 0 and a.dtype == b.dtype:  # ours do not align axes of other numbers
            return step(base, {}, tuple(map(ids, pair)))
    return None


def _given(call: fx.Node) -> Iterator[tuple[str, Any]]:
    arguments = call.target._schema.arguments  # type: ignore[union-attr]
    for argument, value in zip(arguments, call.args, strict=False):
        yield argument.name, value
    yield from call.kwargs.items()


def _alike(call: fx.Node, source: fx.Node) -> bool:
    a, b = call.meta["val"], source.meta["val"]
    return a.dtype == b.dtype and len(a.shape) == len(b.shape) and all(map(_equal, a.shape, b.shape))


def _equal(a: Any, b: Any) -> bool:
    first, second = (free_of(n) or size_of(n) for n in (a, b))
    return first is not None and first == second


def _target(call: fx.Node, kept: fx.Node | None = None) -> list[Any]:
    """The shape that a call makes; -1 for an axis of `kept` that stays as it is, or for the only open size."""
    shape = list(call.meta["val"].shape)
    if kept is not None:
        old = kept.meta["val"].shape
        added = len(shape) - len(old)
        return [-1 if n >= added and _equal(size, old[n - added]) else size for n, size in enumerate(shape)]
    open_ = [n for n, size in enumerate(shape) if isinstance(size, torch.SymInt)]
    hard = [n for n in open_ if size_of(shape[n]) is None]
    if hard:  # the least simple one: a graph can say the others by the axis of a value
        shape[max(hard, key=lambda n: len(str(shape[n])))] = -1
    elif len(open_) == 1:
        shape[open_[0]] = -1
    return shape


def _reshaped(given: dict[str, Any], ids: Callable[[fx.Node], str]) -> Node:
    shape = _plain(next(v for n, v in given.items() if n != "self"), "aten.reshape")
    open_ = any(isinstance(n, str) for n in shape)
    return _node("aten.reshape", {"shape": shape}, [("self", ids(given["self"])), *([(LIKE, LATER)] if open_ else [])])


def _operator(call: fx.Node, given: dict[str, Any], ids: Callable[[fx.Node], str]) -> Node:
    name = _overload(call, given)
    said, entry = schema(name), find(name)
    if said is None or entry is None:
        raise UnknownOperatorError(f"the operator {call.target} is none that a graph may hold")
    args: dict[str, Any] = {}
    inputs: list[tuple[str, str]] = []
    listed: list[tuple[str, str]] = []
    for argument in said.arguments:
        value = given.get(argument.name)
        if argument.tensors and value is not None:
            single = argument.name in entry.inputs
            (inputs if single else listed).extend(_tensors(argument.name, value, single, ids, call))
        elif argument.name in given and (param := entry.param(argument.name)):
            args |= {} if value is None and not param.required else {argument.name: _plain(value, name)}
    args |= _places(said, listed)
    inputs += [(str(n), i) for n, (_, i) in enumerate(listed)]
    if entry.inputs == (LIKE,) or (LIKE in entry.inputs and _mentions_batch(args)):
        inputs.append((LIKE, LATER))
    return _node(name, args, inputs)


def _overload(call: fx.Node, given: Mapping[str, Any]) -> str:
    """The operator's name; a number where a tensor may stand makes it the overload for numbers."""
    name = PREFIX + str(call.target).removeprefix("aten.")
    number = isinstance(given.get("other"), bool | int | float) or isinstance(_value(given.get("other")), torch.SymInt)
    return name.replace(".Tensor", ".Scalar") if number else name


def _value(value: Any) -> Any:
    return value.meta.get("val") if isinstance(value, fx.Node) else value


def _tensors(
    name: str, value: Any, single: bool, ids: Callable[[fx.Node], str], call: fx.Node
) -> Iterator[tuple[str, str]]:
    if isinstance(value, fx.Node):
        if not isinstance(value.meta.get("val"), Tensor):
            raise UnknownOperatorError(f"{call.target} takes a number of the batch as a tensor")
        yield name, ids(value)
        return
    if not isinstance(value, list | tuple):
        raise UnknownOperatorError(f"{call.target} takes the number {value} as a tensor")
    for n, member in enumerate(value):
        if member is not None:
            yield f"{name}.{n}", ids(member)


def _places(said: Schema, listed: list[tuple[str, str]]) -> dict[str, Any]:
    if not said.scattered:
        return {}
    first = next(a.name for a in said.arguments if a.tensors and a.listed)
    places = tuple(place for place, _ in listed)
    return {} if places == tuple(f"{first}.{n}" for n in range(len(places))) else {PLACES: places}


def _plain(value: Any, op: str) -> Any:
    """An argument as a graph holds it: dtypes by name, sizes that depend on the batch as text."""
    if isinstance(value, list | tuple):
        return tuple(_plain(v, op) for v in value)
    if isinstance(value, fx.Node):
        value = value.meta["val"]
    if isinstance(value, torch.SymInt):
        size = size_of(value)
        if size is None and (free := free_of(value)) is not None:
            return str(free)
        if size is None:
            raise UnknownOperatorError(f"{op} takes {value}, which is no multiple of the batch plus a number")
        return str(size) if size.times else size.plus
    if isinstance(value, torch.dtype | torch.memory_format):
        return _name(value)
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    raise UnknownOperatorError(f"{op} takes {value!r}, which a graph cannot hold")


def _name(value: Any) -> str:
    return str(value).removeprefix("torch.")


def _mentions_batch(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_mentions_batch, value.values()))
    if isinstance(value, tuple):
        return any(map(_mentions_batch, value))
    return isinstance(value, str) and ("B" in value or bool(free_in(value)))


def _node(op: str, args: dict[str, Any], inputs: list[tuple[str, str]]) -> Node:
    entry: Entry = lookup("op", op)
    like = Node(entry.name, (), tuple(inputs))
    made = step(entry.name, args, tuple(i for _, i in inputs), like)
    return Node(entry.name, made.args, tuple(inputs))
