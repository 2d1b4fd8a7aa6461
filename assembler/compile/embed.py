"""The source of op definitions and of all that they use, put together so that it stands without this package."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

from assembler.errors import GraphError

_PLAIN = {"Channels": "int", "Features": "int", "Shape": "tuple[int, ...]", "Shapes": "tuple[tuple[int, ...], ...]"}
_TYPE = "assembler.graph.core.TensorType"
_ERROR = '''class {name}(ValueError):
    """It says what is wrong, and what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{{message}}: {{hint}}" if hint else message)
'''
_MARKS = {"op", "loss", "dataset", "sampler", "optimizer", "phase"}


class Embedding:
    """Definitions collected for one file, each after what it uses, and the imports that they need.

    `taken` are names that the file uses itself; a definition of such a name, or of one that another module's
    definition has already, is renamed.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.imports: dict[str, str] = {}
        self.definitions: dict[tuple[str, str], str] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._taken = {*taken, *dir(builtins)}

    @property
    def names(self) -> frozenset[str]:
        """Every name that the collected text binds."""
        return frozenset((*self.imports, *self._names.values()))

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that the collected text imports beside torch and the standard library."""
        roots = {target.split(".")[0] for target in self.imports.values()}
        return tuple(sorted(roots - sys.stdlib_module_names - {"torch"}))

    def import_lines(self) -> list[str]:
        """The import statements, sorted."""
        lines = []
        for alias, target in self.imports.items():
            head, _, tail = target.rpartition(".")
            if _is_module(target):
                lines.append(f"import {target}" if alias == target else f"import {target} as {alias}")
            else:
                lines.append(f"from {head} import {tail}" + (f" as {alias}" if alias != tail else ""))
        return sorted(lines)

    def add(self, obj: Any) -> str:
        """Collect a function or class and what it uses; its name in the file. Raises GraphError without source."""
        try:
            if "<locals>" not in obj.__qualname__:
                return self._collect(obj.__module__, obj.__qualname__)
            source = textwrap.dedent(inspect.getsource(obj))
        except (OSError, TypeError) as error:
            what = f"the source of {obj.__qualname__} is not known, so no stand-alone file can hold it"
            raise GraphError(what, hint="define it in a file") from error
        if getattr(getattr(obj, "__code__", None), "co_freevars", ()):
            what = f"{obj.__qualname__} uses variables of the function around it, so no stand-alone file can hold it"
            raise GraphError(what, hint="define it at the top level of a file")
        return self._enter((obj.__module__, obj.__qualname__), obj.__name__, ast.parse(source).body[0], source)

    def _collect(self, module: str, name: str) -> str:
        if (module, name) in self._names:
            return self._names[module, name]
        node = _top(module).get(name)
        if node is None or isinstance(node, ast.alias):
            raise GraphError(f"cannot find the definition of {name} in {module}")
        return self._enter((module, name), name, node, _text(module))

    def _enter(self, key: tuple[str, str], name: str, node: ast.stmt, source: str) -> str:
        if key in self._names:
            return self._names[key]
        final = name
        while final in self._taken or final in self.names:
            final = f"{final}_{key[0].rsplit('.', 1)[-1]}"
        self._names[key] = final
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = [d for d in node.decorator_list if not _registers(key[0], d)]
        renamed = {name: final} | self._uses(key[0], node)
        self.definitions[key] = _render(node, source, renamed)
        return final

    def _uses(self, module: str, node: ast.stmt) -> dict[str, str]:
        """Collect what a definition uses of its module; the new texts of those names that change."""
        renamed = {}
        top = _top(module)
        inferred = {id(n.value) for n in ast.walk(node) if isinstance(n, ast.Attribute) and n.attr in _PLAIN}
        for inner in ast.walk(node):
            if isinstance(inner, ast.ImportFrom) and _ours(_absolute(module, inner)):
                raise GraphError(
                    f"{module} imports {inner.module} inside a function, so no stand-alone file can hold it"
                )
            if isinstance(inner, ast.Name) and inner.id in top and id(inner) not in inferred:
                renamed[inner.id] = self._use(module, inner.id, top[inner.id])
        return {old: new for old, new in renamed.items() if old != new}

    def _error(self, name: str) -> str:
        """The package's own errors say where in a recipe they are from; here they say what and what would be right."""
        key = ("assembler.errors", name)
        if key not in self._names:
            self._names[key] = name
            self.definitions[key] = _ERROR.format(name=name)
        return name

    def _use(self, module: str, name: str, found: ast.stmt | ast.alias) -> str:
        if not isinstance(found, ast.alias):
            return name if self._names.get((module, name)) == name else self._collect(module, name)
        origin, _, target = found.name.rpartition(".")
        if origin in ("assembler", "assembler.registry") or origin.startswith("assembler.registry."):
            return _PLAIN.get(target, name if target != "Body" else target)
        if found.name == _TYPE:
            return target  # a file with bodies has a class of this name
        if origin == "assembler.errors":
            return self._error(target)
        if _ours(origin):
            return self._collect(origin, target)
        if _ours(found.name):
            raise GraphError(f"{module} uses {found.name} itself, so no stand-alone file can hold its ops")
        if self.imports.setdefault(name, found.name) != found.name or name in self._names.values():
            raise GraphError(f"'{name}' means both {self.imports[name]} and {found.name} in the ops of this model")
        return name


@functools.cache
def _text(module: str) -> str:
    return inspect.getsource(sys.modules.get(module) or importlib.import_module(module))


@functools.cache
def _top(module: str) -> dict[str, ast.stmt | ast.alias]:
    """What the names at the top of a module are bound by; an import is an alias of an absolute dotted name."""
    found: dict[str, ast.stmt | ast.alias] = {}
    for node in ast.parse(_text(module)).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
            case ast.Import(names=names):
                for a in names:
                    root = a.name.split(".")[0]
                    found[a.asname or root] = ast.alias(a.name if a.asname else root)
            case ast.ImportFrom(names=names) if node.module != "__future__":
                origin = _absolute(module, node)
                found |= {a.asname or a.name: ast.alias(f"{origin}.{a.name}") for a in names}
    return found


def _absolute(module: str, node: ast.ImportFrom) -> str:
    base = module.split(".")[: -node.level] if node.level else []
    return ".".join([*base, *([node.module] if node.module else [])])


def _ours(module: str) -> bool:
    return module == "assembler" or module.startswith("assembler.")


def _is_module(target: str) -> bool:
    if target in sys.modules:
        return True
    head, _, tail = target.rpartition(".")
    return not head or not hasattr(importlib.import_module(head), tail)


def _registers(module: str, decorator: ast.expr) -> bool:
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(call, ast.Attribute):
        return call.attr in _MARKS
    found = _top(module).get(getattr(call, "id", ""))
    return isinstance(found, ast.alias) and found.name.startswith("assembler.")


def _render(node: ast.stmt, source: str, renamed: dict[str, str]) -> str:
    """A definition's own text, comments and all, without registry decorators and with names changed."""
    lines = [line.encode() for line in source.splitlines()]
    changes: list[tuple[int, int, str, str]] = []  # row, column, old, new
    for n in ast.walk(node):
        if isinstance(n, ast.Name) and n.id in renamed:
            changes.append((n.lineno - 1, n.col_offset, n.id, renamed[n.id]))
        elif isinstance(n, ast.Attribute) and n.attr in _PLAIN:  # `asm.Channels`
            changes.append((n.lineno - 1, n.col_offset, ast.unparse(n), _PLAIN[n.attr]))
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and renamed.get(node.name, node.name) != node.name:
        keyword = b"class " if isinstance(node, ast.ClassDef) else b"def "
        changes.append((node.lineno - 1, len(keyword), node.name, renamed[node.name]))
    for row, column, old, new in sorted(changes, reverse=True):
        line = lines[row]
        lines[row] = line[:column] + new.encode() + line[column + len(old.encode()) :]
    kept = getattr(node, "decorator_list", [])
    decorators = [line for d in kept for line in (b"@" + b"\n".join(lines[d.lineno - 1 : d.end_lineno]).lstrip(b"@"),)]
    body = lines[node.lineno - 1 : node.end_lineno]
    return b"\n".join([*decorators, *body]).decode()
