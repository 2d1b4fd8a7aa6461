"""The decorators that register a definition, one a kind: `@op`, `@loss`, `@dataset`, ..., `@rewrite`.

In a file that the registry scans (the package's own, an entry point's, a `--plugin`) the decorator is a marker and
the text is the entry. Anywhere else - a notebook, a test - it enters the definition at once, by its live signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from assembler.errors import AssemblerError
from assembler.registry.entry import REQUIRED, Entry, Param
from assembler.registry.static import CALLED, is_tensor
from assembler.registry.types import INFERRED, parse

T = TypeVar("T", bound=Callable[..., Any])
LIVE: dict[tuple[str, str], Entry] = {}


class Decorator:
    """The decorator of one kind; `@kind`, `@kind()` and `@kind("name", option=...)` are all allowed."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @overload
    def __call__(self, name: T) -> T: ...
    @overload
    def __call__(self, name: str | None = None, **options: Any) -> Callable[[T], T]: ...
    def __call__(self, name: Any = None, **options: Any) -> Any:
        if callable(name):
            return self._enter(name, name.__name__, {})
        return lambda obj: self._enter(obj, name or obj.__name__, options)

    def _enter(self, obj: Any, name: str, options: dict[str, Any]) -> Any:
        if obj.__module__.startswith(("assembler.", "plugin_")):
            return obj  # known from its text
        known = LIVE.get((self.kind, name))
        if known and (known.module, known.qualname) != (obj.__module__, obj.__qualname__):
            where = f"{known.module}.{known.qualname}"
            raise AssemblerError(f"{self.kind} '{name}' is already registered by {where}", hint="choose another name")
        LIVE[self.kind, name] = describe(self.kind, name, obj, options)
        return obj


op = Decorator("op")
loss = Decorator("loss")
dataset = Decorator("dataset")
sampler = Decorator("sampler")
optimizer = Decorator("optimizer")
phase = Decorator("phase")
rewrite = Decorator("rewrite")
check = Decorator("check")
proxy = Decorator("proxy")
pruner = Decorator("pruner")
merge = Decorator("merge")


def describe(kind: str, name: str, obj: Any, options: dict[str, Any]) -> Entry:
    """The entry of a live function or class."""
    inputs: tuple[str, ...]
    if inspect.isclass(obj):
        params = _split(obj.__init__, skip=1)[3]
        call = getattr(obj, "forward", None)
        inputs, optional, variadic, _ = _split(call, skip=1, all_inputs=True) if call else ((), 0, False, ())
        options = {**options, **_constants(obj)}
        shape = "class"
    else:
        inputs, optional, variadic, params = _split(obj)
        shape = "factory" if "Module" in str(inspect.signature(obj).return_annotation) else "function"
    if kind in CALLED:
        call = obj.__init__ if inspect.isclass(obj) else obj
        kinds = {n: p.kind for n, p in inspect.signature(call).parameters.items()}
        keyword = inspect.Parameter.KEYWORD_ONLY
        params = tuple(p for p in params if kinds[p.name] is keyword and p.name not in CALLED[kind])
    try:
        source = inspect.getsource(obj)
    except (OSError, TypeError):  # typed at a prompt: no source, so its bytecode stands for it
        source = repr(getattr(obj, "__code__", obj.__qualname__))
    return Entry(
        kind,
        name,
        params,
        inputs,
        variadic,
        optional,
        doc=inspect.getdoc(obj) or "",
        module=obj.__module__,
        qualname=obj.__qualname__,
        source=source,
        options=tuple(options.items()),
        live=obj,
        shape=shape,
    )


def _constants(obj: type) -> dict[str, Any]:
    """What a class says of itself: its `ClassVar`s with a plain value."""
    notes = {name: str(note) for name, note in vars(obj).get("__annotations__", {}).items()}
    said = {name: vars(obj).get(name) for name, note in notes.items() if "ClassVar" in note}
    return {name: value for name, value in said.items() if isinstance(value, bool | int | float | str)}


def _split(
    call: Any, *, skip: int = 0, all_inputs: bool = False
) -> tuple[tuple[str, ...], int, bool, tuple[Param, ...]]:
    inputs, optional, variadic, params = [], 0, False, []
    for p in list(inspect.signature(call).parameters.values())[skip:]:
        note = _text(p.annotation)
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            variadic = variadic or (p.kind is p.VAR_POSITIONAL and (all_inputs or is_tensor(note)))
        elif is_tensor(note) or (all_inputs and not note):
            inputs.append(p.name)
            optional += p.default is not p.empty
        elif not all_inputs:
            inferred = INFERRED.get(note.rsplit(".", 1)[-1], "")
            default = REQUIRED if p.default is p.empty else p.default
            params.append(Param(p.name, parse("int" if inferred else note), default, p.name, inferred))
    return tuple(inputs), optional, variadic, tuple(params)


def _text(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, str):
        return annotation
    name = getattr(annotation, "__name__", "")
    return name if name in (*INFERRED, "Tensor") else inspect.formatannotation(annotation)
