"""ATen operators as ops called `aten.NAME[.OVERLOAD]`, their signatures read from torch's list without importing torch.

A closed namespace: operators that make tensors of tensors and numbers. What writes into its inputs, reads files, takes
a storage or is internal to a backend is not among them.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembler.registry.entry import REQUIRED, Entry, Param
from assembler.registry.types import ANY, Type

PREFIX = "aten."
LIKE = "like"
"""The input that tells the batch size, which `B` stands for in sizes, and the device of what an operator makes anew."""
PLACES = "places"
"""Where the numbered inputs of an operator go that takes lists of tensors (`indices.1`); unless given, in order."""

_LIST = "packaged/ATen/native/native_functions.yaml"
_NAME = re.compile(
    r"(?:__[a-z]+__|[a-z][A-Za-z0-9_]*|_to_copy|_softmax|_log_softmax|_weight_norm|_unsafe_view)(?:\.\w+)?"
)
_REFUSED = re.compile(r"from_file|(?:mkldnn|cudnn|miopen|fbgemm|xnn|sparse|quantize|choose_qparams|sspaddmm)")
_ARGUMENT = re.compile(r"(?P<type>\w+(?:\([^)]*\))?(?:\[\d*\])?\??(?:\[\d*\])?\??) (?P<name>\w+)(?:=(?P<default>.*))?")
_DROPPED = ("Device?", "Layout?", "Generator?", "Stream?")
_ENUMS = {"Mean": 1, "Sum": 2, "contiguous_format": "contiguous_format"}
_INT, _TEXT = Type("int"), Type("str")
_SIZE = Type("union", (_INT, _TEXT))
_BASE = {
    "int": _INT,
    "SymInt": _SIZE,
    "float": Type("float"),
    "bool": Type("bool"),
    "str": _TEXT,
    "Scalar": Type("union", (Type("float"), Type("bool"), _TEXT)),
    "ScalarType": _TEXT,
    "MemoryFormat": _TEXT,
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an operator as its schema has it: `Tensor? bias=None`."""

    type: str
    name: str
    default: Any = REQUIRED

    @property
    def tensors(self) -> bool:
        """Whether it is a tensor or a list of them."""
        return self.type.startswith("Tensor")

    @property
    def listed(self) -> bool:
        """Whether it is a list."""
        return "[" in self.type


@dataclass(frozen=True, slots=True)
class Schema:
    """An operator's arguments, those behind `*` marked as keywords, and what it returns."""

    name: str
    arguments: tuple[Argument, ...]
    keywords: tuple[str, ...]  # no set: its order, which the digest of the source has, is another in each process
    returns: str

    @property
    def scattered(self) -> bool:
        """Whether it takes a list of tensors: its inputs are then numbered."""
        return any(a.tensors and a.listed for a in self.arguments)


def find(name: str) -> Entry | None:
    """The entry of `aten.NAME[.OVERLOAD]`, or None where the namespace has no such operator."""
    found = schema(name)
    if found is None:
        return None
    base, _, overload = found.name.partition(".")
    inputs, optional = _inputs(found)
    return Entry(
        kind="op",
        name=name.removesuffix(".default"),
        params=tuple(_params(found)),
        inputs=inputs,
        variadic=found.scattered,
        optional=optional,
        doc=f"ATen's {found.name}({', '.join(f'{a.type} {a.name}' for a in found.arguments)}) -> {found.returns}.",
        module="assembler.modules.aten",
        qualname=f"ATEN.{base}.{overload or 'default'}",
        file=str(_file() or ""),
        source=repr(found),
        options=_options(found.returns),
    )


@functools.cache
def schema(name: str) -> Schema | None:
    """What torch's list says of `aten.NAME[.OVERLOAD]`, or None where that is none of the namespace."""
    short = name.removeprefix(PREFIX).removesuffix(".default")
    if not name.startswith(PREFIX) or not _NAME.fullmatch(short) or _REFUSED.match(short):
        return None
    found = re.search(rf"^- func: {re.escape(short)}\((.*)\) -> (.*)$", _text(), re.MULTILINE)
    if found is None or "!" in found[1] or not re.fullmatch(r"\(?(Tensor\S*( \w+)?(, )?)+\)?", found[2]):
        return None
    texts = _split(found[1])
    star = texts.index("*") if "*" in texts else len(texts)
    arguments = tuple(_argument(text) for text in texts if text != "*")
    if any(a is None for a in arguments):
        return None
    keywords = tuple(a.name for a in arguments[star:] if a)
    return Schema(short, tuple(a for a in arguments if a and a.type not in _DROPPED), keywords, found[2])


def overloads(name: str) -> list[str]:
    """The forms of an operator that has none under its bare name: `aten.lt.Scalar` of `aten.lt`."""
    short = name.removeprefix(PREFIX)
    if not name.startswith(PREFIX) or not _NAME.fullmatch(short) or "." in short:
        return []
    found = re.findall(rf"^- func: ({re.escape(short)}\.\w+)\(", _text(), re.MULTILINE)
    return [f"{PREFIX}{form}" for form in found if schema(f"{PREFIX}{form}")]


@functools.cache
def names() -> tuple[str, ...]:
    """The operators of the namespace that go by their bare names."""
    found = dict.fromkeys(re.findall(r"^- func: (\w+)[(.]", _text(), re.MULTILINE))
    return tuple(f"{PREFIX}{name}" for name in found if name.strip("_") == name)


def _argument(text: str) -> Argument | None:
    found = _ARGUMENT.fullmatch(text)
    if found is None:
        return None
    kind = re.sub(r"\([^)]*\)", "", found["type"])
    known = kind.startswith("Tensor") or kind in _DROPPED or re.sub(r"[?\[\]\d]", "", kind) in _BASE
    return Argument(kind, found["name"], _default(found["default"])) if known else None


def _default(text: str | None) -> Any:
    if text is None:
        return REQUIRED
    if text in _ENUMS:
        return _ENUMS[text]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    return tuple(value) if isinstance(value, list) else value


def _inputs(found: Schema) -> tuple[tuple[str, ...], int]:
    """The names of an operator's inputs and how many of them, the last ones, are optional."""
    single = [a for a in found.arguments if a.tensors and not a.listed]
    needed = [a.name for a in single if not a.type.endswith("?")]
    if found.scattered:
        return tuple(needed), 0
    rest = [a.name for a in single if a.type.endswith("?")]
    anew = not single or any(a.type.startswith("SymInt") or a.type == "Scalar" for a in found.arguments)
    like = [LIKE] if anew else []
    return (*needed, *rest, *like), len(rest) + (len(like) if single else 0)


def _params(found: Schema) -> Iterator[Param]:
    for a in found.arguments:
        if not a.tensors and a.name != "pin_memory":
            yield Param(a.name, _type(a.type), a.default, a.name)
    if found.scattered:
        yield Param(PLACES, Type("union", (Type("list", (_TEXT,)), Type("None"))), None, PLACES)


def _type(kind: str) -> Type:
    base = _BASE.get(re.sub(r"[?\[\]\d]", "", kind), ANY)
    kinds = [Type("list", (base,))] if "[" in kind else [base]
    if re.search(r"\[\d+\]", kind):
        kinds.append(base)
    if kind.endswith("?"):
        kinds.append(Type("None"))
    flat = [u for k in kinds for u in (k.of if k.kind == "union" else (k,))]
    return Type("union", tuple(dict.fromkeys(flat))) if len(flat) > 1 else flat[0]


def _options(returns: str) -> tuple[tuple[str, Any], ...]:
    if not returns.startswith("(") and "[]" not in returns:
        return ()
    words = [text.split() for text in returns.strip("()").split(", ")]
    named = "[]" not in returns and all(len(w) == 2 for w in words)
    return (("outputs", tuple(w[1] for w in words) if named else "numbered"),)


def _split(text: str) -> list[str]:
    return re.split(r", (?![^\[(]*[\])])", text) if text else []


@functools.cache
def _file() -> Path | None:
    spec = importlib.util.find_spec("torchgen")
    found = Path(spec.origin).parent / _LIST if spec and spec.origin else None
    return found if found and found.is_file() else None


@functools.cache
def _text() -> str:
    file = _file()
    return file.read_text(encoding="utf-8") if file else ""
