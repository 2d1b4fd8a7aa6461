"""Every initialiser of `torch.nn.init` by its name without the underscore, read without importing torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
from dataclasses import replace
from pathlib import Path

from assembler.registry.entry import Entry
from assembler.registry.static import function_signature
from assembler.registry.types import ANY

_PRIVATE = ("generator",)


@functools.cache
def _functions() -> dict[str, ast.FunctionDef]:
    spec = importlib.util.find_spec("torch")
    file = Path(spec.origin).parent / "nn" / "init.py" if spec and spec.origin else None
    if file is None or not file.is_file():
        return {}
    found = [f for f in ast.parse(file.read_text()).body if isinstance(f, ast.FunctionDef)]
    return {f.name[:-1]: f for f in found if f.name.endswith("_") and not f.name.startswith("_")}


def names() -> list[str]:
    """The names of all initialisers, sorted."""
    return sorted(_functions())


@functools.cache
def find(name: str) -> Entry | None:
    """The entry of an initialiser (`normal`, `xavier_uniform`, ...), or None."""
    tree = _functions().get(name)
    if tree is None:
        return None
    params = [p for p in function_signature(tree, skip_self=False)[3] if p.name not in _PRIVATE]
    known = tuple(replace(p, type=ANY) if p.name == "nonlinearity" else p for p in params)  # a name for many words
    doc = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
    return Entry("initializer", name, known, doc=doc, module="torch.nn.init", qualname=f"{name}_", source=name)
