"""The operators and functions of expressions, each bounded in what it makes."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

MAX_LENGTH = 10_000

SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.UAdd: "+", ast.USub: "-", ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
    ast.GtE: ">=", ast.In: "in", ast.NotIn: "not in", ast.Not: "not",
}  # fmt: skip


def size(values: list[Any] | tuple[Any, ...], most: int, levels: int) -> int:
    """How many elements `values` has through all levels, counted no further than past `most`."""
    total = len(values)
    if levels == 0:
        return most + 1
    for value in values if total <= most else ():
        if isinstance(value, list | tuple):
            total += size(value, most - total, levels - 1)
        elif isinstance(value, str):
            total += len(value) // 100
        if total > most:
            break
    return total


def _range(*bounds: int) -> list[int]:
    numbers = range(*bounds)
    if len(numbers) > MAX_LENGTH:
        raise OverflowError
    return list(numbers)


def _round(number: float, digits: int = 0) -> int | float:
    if not isinstance(digits, int) or abs(digits) > 20:
        raise ValueError("digits is an integer from -20 to 20")
    return round(number, digits) if digits else round(number)


def _sum(values: list[Any]) -> Any:
    if not isinstance(values, list):
        raise TypeError("give a list")
    return sum(values)


def _str(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        raise ValueError("str takes a number, a word or a flag")
    return str(value)


def _count(values: list[Any], value: Any) -> int:
    if not isinstance(values, list):
        raise TypeError("give a list, then what is counted in it")
    return values.count(value)


def _correlation(first: list[float], second: list[float]) -> float:
    import statistics  # it takes longer to import than a recipe to read

    if not isinstance(first, list) or not isinstance(second, list):
        raise TypeError("give two lists of numbers")
    return statistics.correlation(first, second)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min, "max": max, "round": _round, "int": int, "float": float, "abs": abs, "len": len, "sum": _sum,
    "sqrt": math.sqrt, "log": math.log, "log2": math.log2, "ceil": math.ceil, "floor": math.floor,
    "range": _range, "list": list, "str": _str, "count": _count, "correlation": _correlation,
}  # fmt: skip
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
