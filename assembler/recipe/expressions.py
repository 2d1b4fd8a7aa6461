"""Expressions: a recipe string that starts with `=`, on a white list of Python's grammar, bounded in size and time.

Python's meaning of the operators holds: `/` gives a float (`1/2` is 0.5 and `4/2` is 2.0), `//` of integers an integer.
Tuples are lists; `true`, `false` and `null` are understood as in YAML. Nothing else is evaluated, ever.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from assembler.errors import Problem, RecipeError, Span, near
from assembler.recipe.operators import BINARY, COMPARE, FUNCTIONS, MAX_LENGTH, SIGNS, size
from assembler.recipe.scalars import LARGEST_INT, shortened

MAX_SOURCE = 500
MAX_NODES = 300
MAX_DEPTH = 60
_MAX_NESTING = 16
_MAX_EXPONENT = 64

_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "null": None}
_REFUSED = {
    ast.Attribute: ("names have no dots here", "write the name alone: =dim, not =vars.dim"),
    ast.JoinedStr: ("f-strings are not allowed", "add strings with +"),
    ast.Slice: ("slices are not allowed", "take one element: =widths[0]"),
    ast.ListComp: ("comprehensions are not allowed", ""),
    ast.GeneratorExp: ("comprehensions are not allowed", ""),
    ast.Dict: ("mappings are not allowed in an expression", ""),
    ast.NamedExpr: ("':=' is not allowed", ""),
    ast.Starred: ("'*' before an argument is not allowed", "min, max and sum take a list as it is"),
    ast.keyword: ("arguments have no names here", "write max(a, b)"),
    ast.BitXor: ("'^' is not allowed", "a power is written **"),
    ast.BitAnd: ("'&' is not allowed", "write `and`"),
    ast.BitOr: ("'|' is not allowed", "write `or`"),
    ast.Is: ("'is' is not allowed", "write =="),
    ast.IsNot: ("'is not' is not allowed", "write !="),
}
_ALLOWED = (
    ast.Constant, ast.Name, ast.List, ast.Tuple, ast.Subscript, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare,
    ast.IfExp, ast.Call, ast.Load, ast.And, ast.Or, *SIGNS,
)  # fmt: skip
_MISTAKES = (
    (re.compile(r"&&|\|\|"), "write `and`, `or`, `not`"),
    (re.compile(r"\?"), "a choice is written: a if condition else b"),
    (re.compile(r"(?<![=!<>])=(?!=)"), "equality is written =="),
    (re.compile(r"\$"), "a name stands alone: =dim, not =${dim}"),
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression. Equality and hash look at `text` alone; `names` are the variables that it reads."""

    text: str
    names: frozenset[str] = field(compare=False)
    span: Span | None = field(default=None, compare=False, repr=False)
    tree: ast.expr | None = field(default=None, compare=False, repr=False)


_COUNTERS = ("i", "j", "t")
_WIDTHS = ("channels", "in_channels", "features", "in_features", "width")


class _BadError(Exception):
    """What is wrong, and at which part of the expression."""

    def __init__(self, message: str, node: ast.AST | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.node, self.hint = message, node, hint


def is_expression(value: object) -> bool:
    """Whether a recipe value is an expression.

    >>> is_expression("=dim*2"), is_expression("dim")
    (True, False)
    """
    return isinstance(value, str) and value.startswith("=")


def parse(text: str, span: Span | None = None) -> Expression:
    """The expression that `text` (with its leading `=`) says. Raises RecipeError at `span`.

    >>> sorted(parse("=2 if i==0 else dim*k").names)
    ['dim', 'i', 'k']
    """
    try:
        tree, names = _parsed(text)
    except _BadError as bad:
        raise _error(bad, text, span) from None
    return Expression(text, names, span, tree)


def evaluate(expression: Expression, env: Mapping[str, Any]) -> Any:
    """The value of `expression` where `env` gives its variables: a number, string, bool, None or list.

    Raises RecipeError for an unknown name, a type that an operator refuses, a division by zero, or a value out of
    bounds (integers beyond 64 bits, floats that are not finite, strings and lists over 10,000 elements).
    """
    if expression.tree is None:
        expression = parse(expression.text, expression.span)
    assert expression.tree is not None
    try:
        return _value(expression.tree, env)
    except _BadError as bad:
        raise _error(bad, expression.text, expression.span) from None
    except RecursionError:  # `env` may evaluate other expressions to find a name
        deep = _BadError("the names in this expression depend on each other too deeply")
        raise _error(deep, expression.text, expression.span) from None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[ast.expr, frozenset[str]]:
    if not text.startswith("="):
        raise _BadError("an expression starts with '='")
    if len(text) > MAX_SOURCE:
        raise _BadError(f"an expression has at most {MAX_SOURCE} characters, this one has {len(text)}")
    source = re.sub(r"\s", " ", text[1:]).strip()
    if not source:
        raise _BadError("the expression is empty", hint="write =name, or quote the '='")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        raise _syntax(error, text) from None
    except (ValueError, MemoryError, RecursionError):
        raise _BadError("the expression is too deeply nested") from None
    return tree, _checked(tree)


def _syntax(error: SyntaxError, text: str) -> _BadError:
    hint = next((hint for found, hint in _MISTAKES if found.search(text[1:])), "")
    reserved = [w for w in re.findall(r"[A-Za-z_]\w*", text) if keyword.iskeyword(w) and w not in _WORDS]
    if reserved and not hint:
        hint = f"{reserved[0]!r} is a reserved word of Python; use another name"
    return _BadError(f"this expression does not read: {error.msg.partition('. ')[0]}", hint=hint)


_WORDS = frozenset({"and", "or", "not", "if", "else", "in", "True", "False", "None"})


def _checked(tree: ast.expr) -> frozenset[str]:
    """The names that `tree` reads; raises for whatever is not on the white list. Not recursive."""
    names: set[str] = set()
    functions: set[int] = set()
    todo: list[tuple[ast.AST, int, ast.AST]] = [(tree, 1, tree)]
    count = 0
    while todo:
        node, depth, owner = todo.pop()
        count += not isinstance(node, ast.Load)
        if depth > MAX_DEPTH:
            raise _BadError(
                f"the expression is nested more than {MAX_DEPTH} deep", hint="add many values with sum([...])"
            )
        if count > MAX_NODES:
            raise _BadError(f"the expression has more than {MAX_NODES} parts", hint="split it over several vars")
        _check(node, owner)
        if isinstance(node, ast.Call):
            functions.add(id(node.func))
        elif isinstance(node, ast.Name) and id(node) not in functions and node.id not in _CONSTANTS:
            names.add(node.id)
        todo += [(child, depth + 1, node) for child in ast.iter_child_nodes(node)]
    return frozenset(names)


def _check(node: ast.AST, owner: ast.AST) -> None:
    if isinstance(node, ast.Call):
        _check_call(node)
    elif isinstance(node, ast.Constant):
        if not isinstance(node.value, bool | int | float | str | None):
            raise _BadError(f"{shortened(ast.unparse(node))} is not a number, string or bool", node)
        _bounded(node.value, node)
    elif not isinstance(node, _ALLOWED):
        message, hint = _REFUSED.get(type(node), (f"{_kind(node)} is not allowed in an expression", ""))
        raise _BadError(message, node if hasattr(node, "lineno") else owner, hint)


def _check_call(node: ast.Call) -> None:
    known = ", ".join(FUNCTIONS)
    if not isinstance(node.func, ast.Name):
        raise _BadError("only a function's name can be called", node, f"functions: {known}")
    if node.func.id not in FUNCTIONS:
        hint = near(node.func.id, FUNCTIONS) or f"functions: {known}"
        raise _BadError(f"there is no function {shortened(node.func.id)!r} in expressions", node.func, hint)


def _kind(node: ast.AST) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).lower()


def _value(node: ast.AST, env: Mapping[str, Any]) -> Any:
    handler = _HANDLERS[type(node)]
    try:
        return _bounded(handler(node, env), node)
    except ZeroDivisionError:
        raise _BadError("division by zero", node) from None
    except OverflowError:
        raise _BadError("the result is too big", node) from None
    except (TypeError, ValueError, IndexError) as error:
        raise _BadError(str(error), node) from None


def _bounded(value: Any, node: ast.AST) -> Any:
    """`value`, if a recipe can hold it."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _BadError("the result is not a finite number", node)
    elif isinstance(value, int):
        if abs(value) > LARGEST_INT:
            raise _BadError("the integer does not fit in 64 bits", node)
    elif isinstance(value, complex):
        raise _BadError("the result is not a real number", node)
    elif isinstance(value, str):
        if len(value) > MAX_LENGTH:
            raise _BadError(f"the string has more than {MAX_LENGTH:,} characters", node)
    elif isinstance(value, list | tuple):
        if size(value, MAX_LENGTH, _MAX_NESTING) > MAX_LENGTH:
            raise _BadError(f"the list has more than {MAX_LENGTH:,} elements or is nested too deep", node)
        return list(value)
    return value


def _name(node: ast.Name, env: Mapping[str, Any]) -> Any:
    with suppress(KeyError):
        return env[node.id]
    if node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if node.id in FUNCTIONS:
        raise _BadError(f"{node.id} is a function", node, f"call it: {node.id}(...)")
    raise _BadError(f"unknown name {node.id!r}", node, _hint(node.id, env))


def _hint(name: str, env: Mapping[str, Any]) -> str:
    """What to do about a name that stands for nothing."""
    if name in _COUNTERS:
        said = f"'{name}' counts the copies of a step with for: or repeat:, and a block sees vars and its params alone"
        return f"{said}; give it to the block: params: {{{name}: null}}, and {name}: ={name} where it is called"
    if name in _WIDTHS:
        said = "what width reaches a step is found once all steps are laid out, and is no name in an expression"
        return f"{said}; give the block a parameter for it"
    known = ", ".join(sorted(env)[:12])
    return near(name, env) or (f"known here: {known}" if known else f"vars: {{{name}: ...}} would make it one")


def _binary(node: ast.BinOp, env: Mapping[str, Any]) -> Any:
    left, right = _value(node.left, env), _value(node.right, env)
    sign = SIGNS[type(node.op)]
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if not numbers and not _joins(sign, left, right):
        named = isinstance(left, str) and left.endswith(".") and isinstance(right, int)
        hint = f"name the copies themselves, for: {{k: [{left}{right}, ...]}}, and write =k" if named else ""
        raise _BadError(f"{_shown(left)} {sign} {_shown(right)} makes no sense", node, hint)
    if sign == "*" and not numbers:
        times, text = (left, right) if isinstance(left, int) else (right, left)
        if times * len(text) > MAX_LENGTH:
            raise _BadError(f"the result has more than {MAX_LENGTH:,} elements", node)
    if sign == "**" and isinstance(left, int) and isinstance(right, int) and abs(left) > 1 and right > _MAX_EXPONENT:
        raise _BadError("the integer does not fit in 64 bits", node)
    return BINARY[type(node.op)](left, right)


def _joins(sign: str, left: Any, right: Any) -> bool:
    """Whether strings or lists are added to their like or repeated."""
    if sign == "+":
        return type(left) is type(right) and isinstance(left, str | list)
    pair = (left, right)
    return sign == "*" and any(isinstance(v, str | list) for v in pair) and any(isinstance(v, int) for v in pair)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, Mapping) else shortened(repr(value), 24)


def _unary(node: ast.UnaryOp, env: Mapping[str, Any]) -> Any:
    value = _value(node.operand, env)
    if isinstance(node.op, ast.Not):
        return not value
    if not isinstance(value, int | float):
        raise _BadError(f"{SIGNS[type(node.op)]}{_shown(value)} makes no sense", node)
    return -value if isinstance(node.op, ast.USub) else +value


def _boolean(node: ast.BoolOp, env: Mapping[str, Any]) -> Any:
    value: Any = None
    for part in node.values:
        value = _value(part, env)
        if bool(value) is isinstance(node.op, ast.Or):
            break
    return value


def _compare(node: ast.Compare, env: Mapping[str, Any]) -> bool:
    left = _value(node.left, env)
    for op, part in zip(node.ops, node.comparators, strict=True):
        right = _value(part, env)
        try:
            holds = COMPARE[type(op)](left, right)
        except TypeError:
            raise _BadError(f"{_shown(left)} {SIGNS[type(op)]} {_shown(right)} makes no sense", node) from None
        if not holds:
            return False
        left = right
    return True


def _subscript(node: ast.Subscript, env: Mapping[str, Any]) -> Any:
    values, index = _value(node.value, env), _value(node.slice, env)
    if not isinstance(values, list | str):
        raise _BadError(f"{_shown(values)} has no elements to take", node)
    if not isinstance(index, int):
        raise _BadError(f"the index {_shown(index)} is not an integer", node)
    if not -len(values) <= index < len(values):
        raise _BadError(f"index {index} is out of range: there are {len(values)} elements", node)
    return values[index]


def _call(node: ast.Call, env: Mapping[str, Any]) -> Any:
    assert isinstance(node.func, ast.Name)
    name, arguments = node.func.id, [_value(a, env) for a in node.args]
    try:
        return FUNCTIONS[name](*arguments)
    except (TypeError, ValueError) as error:
        shown = ", ".join(_shown(a) for a in arguments[:4])
        raise _BadError(f"{name}({shown}) does not work: {error}", node) from None


_HANDLERS: dict[type[ast.AST], Callable[[Any, Mapping[str, Any]], Any]] = {
    ast.Constant: lambda node, env: node.value,
    ast.Name: _name,
    ast.List: lambda node, env: [_value(e, env) for e in node.elts],
    ast.Tuple: lambda node, env: [_value(e, env) for e in node.elts],
    ast.IfExp: lambda node, env: _value(node.body if _value(node.test, env) else node.orelse, env),
    ast.Subscript: _subscript,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.Call: _call,
}


def _error(bad: _BadError, text: str, span: Span | None) -> RecipeError:
    message = bad.message if span and span.text else f"{bad.message} (in {shortened(text)!r})"
    return RecipeError(Problem(message, _part(bad.node, text, span), hint=bad.hint))


def _part(node: ast.AST | None, text: str, span: Span | None) -> Span | None:
    """The stretch of `node` inside `span`, where the source shows the expression as it was parsed."""
    start, end = getattr(node, "col_offset", None), getattr(node, "end_col_offset", None)
    if span is None or start is None or end is None or not text.isascii() or getattr(node, "lineno", 1) != 1:
        return span
    offset = span.text.find(text, span.column - 1, span.column + len(text))
    if offset not in (span.column - 1, span.column):
        return span
    offset += len(text) - len(text[1:].lstrip())
    return Span(span.file, span.line, offset + start + 1, span.text, max(1, end - start))
