"""Names to entries: the package's own definitions, entry points, plug-in files and live ones, in that order.

Nothing is imported to look a name up. A name that two providers claim is an error that names both.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import sys
from pathlib import Path

from assembler.errors import AssemblerError, InputError, near
from assembler.registry import torch_inits, torch_names
from assembler.registry.entry import Entry, digest
from assembler.registry.live import LIVE
from assembler.registry.static import Found, class_signature, read, scan

_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDERS = {
    "op": ("modules",),
    "loss": ("train/losses",),
    "dataset": ("train/data",),
    "optimizer": ("train",),
    "sampler": ("search/samplers",),
    "phase": ("pipeline/phases",),
    "rewrite": ("rewrites",),
    "check": ("checks",),
    "proxy": ("assemble/proxies",),
    "pruner": ("search/pruners",),
    "merge": ("assemble/merging",),
}
_SETTINGS = {
    "train": ("train/spec.py", "FitSpec"),
    "turn": ("train/spec.py", "TurnSpec"),
    "search": ("pipeline/search/settings.py", "Settings"),
    "screen": ("search/screenspec.py", "ScreenSpec"),
    "supernet": ("train/supernet.py", "SupernetSpec"),
}
_SEVERAL = {"loss": "losses", "proxy": "proxies"}
_GROUP = "assembler.plugins"
_plugins: list[Path] = []


def add_plugin(file: str | Path) -> None:
    """Make the registered definitions of a Python file known; it is read now and run only when one is used."""
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise InputError(f"no plug-in file {path}")
    if path not in _plugins:
        _plugins.append(path)
        _index.cache_clear()
        find.cache_clear()


def plugins() -> tuple[Path, ...]:
    """The plug-in files added so far, for worker processes to add as well."""
    return tuple(_plugins)


def _files(kind: str) -> list[tuple[str, Path]]:
    found = []
    for folder in _FOLDERS.get(kind, ()):
        for path in sorted((_PACKAGE / folder).glob("*.py")):
            found.append((f"assembler.{folder.replace('/', '.')}.{path.stem}", path))
    found += _installed()
    found += [(f"plugin_{path.stem}_{digest(str(path))}", path) for path in _plugins]  # two may have one file name
    return found


@functools.cache
def _installed() -> tuple[tuple[str, Path], ...]:
    """(module, file) of every plug-in that an installed package offers under the entry-point group."""
    if not any(map(_offers, sys.path)):
        return ()
    # Asked only where there is something to hear: importing it takes longer than checking a recipe.
    from importlib.metadata import entry_points

    found = ((point.module, _source(point.module)) for point in entry_points(group=_GROUP))
    return tuple((module, file) for module, file in found if file)


def _source(module: str) -> Path | None:
    """The file of a module, found without importing the packages that it lies in."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not rest:
        return Path(spec.origin) if spec and spec.origin else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *rest)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def _offers(place: str) -> bool:
    """Whether a package that is installed in a folder of `sys.path` has plug-ins for us."""
    try:
        packages = [e.path for e in os.scandir(place or ".") if e.name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return False
    for package in packages:
        try:
            with open(os.path.join(package, "entry_points.txt"), "rb") as stream:
                if f"[{_GROUP}]".encode() in stream.read():
                    return True
        except OSError:
            continue
    return False


@functools.cache
def _index(kind: str) -> dict[str, tuple[Found, str, Path]]:
    index: dict[str, tuple[Found, str, Path]] = {}
    for module, path in _files(kind):
        for found in scan(path.read_text(encoding="utf-8")):
            if found.kind != kind:
                continue
            if found.name in index:
                raise AssemblerError(f"{kind} '{found.name}' is registered by both {index[found.name][2]} and {path}")
            index[found.name] = (found, module, path)
    return index


@functools.cache
def find(kind: str, name: str) -> Entry | None:
    """The scanned entry of that name, or None. A loss is an op as well."""
    if kind == "op" and name.startswith("aten."):
        from assembler.registry import aten_names  # few recipes name one

        return aten_names.find(name)
    if name in _index(kind):
        found, module, path = _index(kind)[name]
        return read(found, module, str(path))
    if kind == "initializer":
        return torch_inits.find(name)
    return torch_names.find(name) or find("loss", name) if kind == "op" else None


def lookup(kind: str, name: str) -> Entry:
    """The entry of that name. Raises InputError with the nearest names."""
    entry = LIVE.get((kind, name)) or (LIVE.get(("loss", name)) if kind == "op" else None) or find(kind, name)
    if entry is None:
        raise InputError(f"unknown {kind} '{name}'", hint=suggest(kind, name))
    return entry


def has_body(op: str) -> bool:
    """Whether an op calls a sub-graph, which its steps hold under `body:`."""
    entry = LIVE.get(("op", op)) or find("op", op)
    return entry is not None and entry.has_body


def names(kind: str, *, torch: bool = False) -> list[str]:
    """Registered names of a kind, sorted; with `torch` also the op names of `torch.nn` classes."""
    known = {*_index(kind), *(n for k, n in LIVE if k == kind), *(torch_inits.names() if kind == "initializer" else ())}
    if kind == "op" and torch:
        known |= set(torch_names.by_snake())
    return sorted(known)


@functools.cache
def settings(section: str) -> Entry:
    """The keys of a recipe's `train:` or `search:`, read from the class that holds them."""
    file, name = _SETTINGS[section]
    text = (_PACKAGE / file).read_text(encoding="utf-8")
    tree = next(n for n in ast.parse(text).body if isinstance(n, ast.ClassDef) and n.name == name)
    return Entry(section, "", **class_signature(tree), doc=ast.get_docstring(tree) or "", shape="class")


def suggest(kind: str, name: str) -> str:
    """A "did you mean" among the names of a kind, or how to list them."""
    if kind == "op" and name.startswith("aten."):
        from assembler.registry import aten_names  # few recipes name one

        if forms := aten_names.overloads(name):
            return f"write which form is meant: {' or '.join(forms[:3])}"
        if near(name.removeprefix("aten."), [known.removeprefix("aten.") for known in aten_names.names()]):
            return near(name, aten_names.names())
    pool = names(kind, torch=True)
    if kind == "op":
        pool += [*torch_names.classes(), *names("loss")]
    listing = "assembler ops" if kind == "op" else f"assembler ls {_SEVERAL.get(kind, kind + 's')}"
    return near(name, pool) or f"`{listing}` lists them; --plugin FILE brings your own"
