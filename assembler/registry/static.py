"""Registered definitions read from source text, without importing it.

A registered thing is a top-level function or class under a decorator named after its kind (`@op`, `@loss("kl")`).
Its signature is its schema. Reading the text instead of importing the module keeps `lint`, `ls` and `schema` free
of torch, and means that looking at a plug-in never runs it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from assembler.registry.entry import REQUIRED, Entry, Param
from assembler.registry.types import INFERRED, parse

_HEAD = re.compile(
    r"^@(?:\w+\.)?(?P<kind>op|loss|dataset|sampler|optimizer|phase|rewrite|check|proxy|pruner|merge)\b"
    r"(?P<call>\((?:[^()]|\([^()]*\))*\))?[ \t]*\n"
    r"(?:@.*\n)*(?P<what>def|class) (?P<name>\w+)",
    re.MULTILINE,
)
_NEXT = re.compile(r"^(?![ \t)\]}]|$)", re.MULTILINE)


CALLED = {"phase": (), "sampler": (), "check": (), "proxy": (), "pruner": (), "merge": ()}
"""Kinds whose callers give the positional arguments (and these): only what stands behind the `*` is for recipes."""


@dataclass(frozen=True, slots=True)
class Found:
    """A decorated definition in a text: enough to list it; `read` parses the rest."""

    kind: str
    name: str
    qualname: str
    source: str


def scan(text: str) -> Iterator[Found]:
    """Every registered definition in a module's text, in order."""
    for match in _HEAD.finditer(text):
        end = _NEXT.search(text, match.end())
        source = text[match.start() : end.start() if end else len(text)].rstrip() + "\n"
        first = re.match(r"\(\s*[\"']([\w.]+)[\"']", match["call"] or "")
        yield Found(match["kind"], first[1] if first else match["name"], match["name"], source)


def read(found: Found, module: str, file: str) -> Entry:
    """The entry of a definition found by `scan`."""
    tree = ast.parse(found.source).body[0]
    assert isinstance(tree, ast.FunctionDef | ast.ClassDef)
    options = _options(tree.decorator_list[0])
    common: dict[str, Any] = {
        "kind": found.kind,
        "name": found.name,
        "doc": ast.get_docstring(tree) or "",
        "module": module,
        "file": file,
        "qualname": found.qualname,
        "source": found.source,
        "options": options,
    }
    if isinstance(tree, ast.ClassDef):
        common["options"] = (*options, *_constants(tree))
        signature = class_signature(tree)
        if found.kind in CALLED:
            inits = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"]
            signature["params"] = _keywords(inits[0], signature["params"], found.kind) if inits else ()
        return Entry(**common, **signature, shape="class")
    inputs, optional, variadic, params = function_signature(tree, skip_self=False)
    if found.kind in CALLED:
        params = _keywords(tree, params, found.kind)
    returns = ast.unparse(tree.returns) if tree.returns else ""
    shape = "factory" if "Module" in returns else "function"
    return Entry(**common, inputs=inputs, variadic=variadic, optional=optional, params=params, shape=shape)


def class_signature(tree: ast.ClassDef) -> dict[str, Any]:
    """Parameters of a class from `__init__` (or its dataclass fields), inputs from `forward` or `__call__`."""
    methods: dict[str, ast.FunctionDef] = {}
    for f in tree.body:
        # `def f(*args, **kwargs)` after overloads says nothing; the first overload does.
        if isinstance(f, ast.FunctionDef) and not (f.name in methods and f.args.vararg and f.args.kwarg):
            methods[f.name] = f
    params: tuple[Param, ...] = ()
    if "__init__" in methods:
        params = function_signature(methods["__init__"], skip_self=True)[3]
    elif any("dataclass" in ast.unparse(d) for d in tree.decorator_list):
        params = tuple(_field(f) for f in tree.body if isinstance(f, ast.AnnAssign) and _is_field(f))
    call = methods.get("forward") or methods.get("__call__")
    if call is None:
        return {"params": params}
    inputs, optional, variadic, _ = function_signature(call, skip_self=True, all_inputs=True)
    return {"params": params, "inputs": inputs, "variadic": variadic, "optional": optional}


def function_signature(
    tree: ast.FunctionDef, *, skip_self: bool, all_inputs: bool = False
) -> tuple[tuple[str, ...], int, bool, tuple[Param, ...]]:
    """(input names, how many of them are optional, whether they are variadic, parameters) of a definition."""
    args = [*tree.args.posonlyargs, *tree.args.args][1 if skip_self else 0 :]
    defaults: list[ast.expr | None] = list(tree.args.defaults)
    pairs = list(zip(args, [None] * (len(args) - len(defaults)) + defaults, strict=True))
    pairs += list(zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True))
    inputs, optional, params = [], 0, []
    for arg, default in pairs:
        note = ast.unparse(arg.annotation) if arg.annotation else ""
        if is_tensor(note) or (all_inputs and not note):
            inputs.append(arg.arg)
            optional += default is not None
        elif not all_inputs:
            params.append(_param(arg.arg, note, default))
    star = tree.args.vararg
    variadic = star is not None and (all_inputs or is_tensor(ast.unparse(star.annotation) if star.annotation else ""))
    return tuple(inputs), optional, variadic, tuple(params)


def is_tensor(annotation: str) -> bool:
    """Whether an annotation marks a tensor input: `Tensor`, `torch.Tensor`, `Tensor | None`, `Optional[Tensor]`."""
    return re.fullmatch(r"(Optional\[)?(torch\.)?Tensor\]?( \| None)?", annotation.strip("'\"")) is not None


def _param(name: str, note: str, default: ast.expr | None) -> Param:
    inferred = INFERRED.get(note.removeprefix("registry.").removeprefix("asm."), "")
    return Param(name, parse("int" if inferred else note), _literal(default), argument=name, inferred=inferred)


def _keywords(tree: ast.FunctionDef, params: tuple[Param, ...], kind: str) -> tuple[Param, ...]:
    own = {a.arg for a in tree.args.kwonlyargs} - set(CALLED[kind])
    return tuple(p for p in params if p.name in own)


def _is_field(tree: ast.AnnAssign) -> bool:
    """Whether a dataclass's field is one that people set: of an instance, and no private one."""
    return not _of_class(tree) and not ast.unparse(tree.target).startswith("_")


def _field(tree: ast.AnnAssign) -> Param:
    assert isinstance(tree.target, ast.Name)
    return _param(tree.target.id, ast.unparse(tree.annotation), tree.value)


def _constants(tree: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    """What a class says of itself: its `ClassVar`s with a plain value."""
    for f in tree.body:
        if isinstance(f, ast.AnnAssign) and _of_class(f) and isinstance(f.value, ast.Constant):
            yield ast.unparse(f.target), f.value.value


def _of_class(tree: ast.AnnAssign) -> bool:
    return ast.unparse(tree.annotation).startswith("ClassVar")


def _literal(default: ast.expr | None) -> Any:
    if default is None:
        return REQUIRED
    try:
        return ast.literal_eval(default)
    except ValueError:
        return None  # a computed default: the callable knows it, a recipe only sees that it may be left out


def _options(decorator: ast.expr) -> tuple[tuple[str, Any], ...]:
    if not isinstance(decorator, ast.Call):
        return ()
    return tuple((k.arg, ast.literal_eval(k.value)) for k in decorator.keywords if k.arg)
