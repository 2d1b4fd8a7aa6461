"""A function op written as torch expressions, from the calls that tracing it found."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from assembler.compile.literal import Leaf, plain

_INFIX = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.matmul: "@",
    operator.pow: "**",
}


def expressions(body: fx.Graph, inputs: Sequence[str], name: str, leaf: Leaf = plain) -> list[tuple[str, str]] | None:
    """(variable, expression) lines that compute a traced function of the variables `inputs`; the last one is `name`.

    What is used once is written where it is used; `leaf` writes numbers. None where a call is not one of torch's public
    functions.
    """
    text = _Texts(leaf)
    *steps, end = body.nodes
    last = end.args[0]
    lines = []
    sources = iter(inputs)
    try:
        for node in steps:
            if node.op == "placeholder":
                text[node] = next(sources)
                continue
            written = _call(node, text)
            if node is last or len(node.users) > 1:
                lines.append((name if node is last else f"{name}_{node.name}", written))
                written = lines[-1][0]
            text[node] = written
    except _Unwritable:
        return None
    return lines or [(name, text[last])]


class _Texts(dict[fx.Node, str]):
    """The texts of calls by node, and what writes numbers."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__()
        self.leaf = leaf


class _Unwritable(Exception):  # noqa: N818
    pass


def _call(node: fx.Node, text: _Texts) -> str:
    args = [_value(a, text) for a in node.args]
    named = [f"{k}={_value(v, text)}" for k, v in node.kwargs.items()]
    if node.op == "call_method":
        return f"{_group(args[0])}.{node.target}({', '.join([*args[1:], *named])})"
    if node.op != "call_function" or isinstance(node.target, str):
        raise _Unwritable
    if node.target in _INFIX and not named:
        return f"{_group(args[0])} {_INFIX[node.target]} {_group(args[1])}"
    if node.target is operator.neg:
        return f"-{_group(args[0])}"
    if node.target is operator.getitem:
        return f"{_group(args[0])}[{_index(node.args[1], text)}]"
    if node.target is getattr:
        return f"{_group(args[0])}.{node.args[1]}"
    return f"{_torch_name(node.target)}({', '.join([*args, *named])})"


def _torch_name(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":
        return f"torch.ops.{target}"
    name = getattr(target, "__name__", "")
    for space, prefix in ((torch, "torch"), (F, "F")):
        if getattr(space, name, None) is target:
            return f"{prefix}.{name}"
    raise _Unwritable


def _group(text: str) -> str:
    """An operand: parenthesised where an operator stands outside all brackets."""
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == " " and depth == 0:
            return f"({text})"
    return f"({text})" if text.startswith("-") else text


def _value(value: Any, text: _Texts) -> str:
    if isinstance(value, fx.Node):
        return text[value]
    if isinstance(value, list):
        return f"[{', '.join(_value(v, text) for v in value)}]"
    if isinstance(value, tuple):
        inner = ", ".join(_value(v, text) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if value is None or isinstance(value, bool | int | float | str):
        return text.leaf(value, "")
    if isinstance(value, torch.dtype | torch.memory_format):
        return repr(value)
    if isinstance(value, slice | type(Ellipsis)):
        return _slice(value, text)
    raise _Unwritable


def _slice(value: Any, text: _Texts) -> str:
    if value is Ellipsis:
        return "..."
    return f"slice({_value(value.start, text)}, {_value(value.stop, text)}, {_value(value.step, text)})"


def _index(value: Any, text: _Texts) -> str:
    if isinstance(value, tuple) and value:
        return ", ".join(_index(v, text) for v in value)
    if isinstance(value, slice):
        start, stop, step = ("" if v is None else _value(v, text) for v in (value.start, value.stop, value.step))
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
    return _value(value, text)
