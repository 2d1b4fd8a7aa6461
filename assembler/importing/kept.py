"""Opaque parts in another process: a plug-in file beside the graph that makes them by the code that they came from.

The file is never run by itself. Who names it with `--plugin` runs that code, as the import did.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.importing.example import inputs_of, single
from assembler.importing.opaque import PREFIX, Signature, copied, named
from assembler.importing.recording import recorded
from assembler.importing.sources import HUB, example_of, module_of
from assembler.registry import lookup

_TEXT = '''"""Parts of {source} that are kept as they are. Named with --plugin, this file runs that code."""

from torch import Tensor, nn

from assembler.importing.kept import {names}
from assembler.registry import op

SOURCE = {place}
INPUTS = {inputs!r}
'''
_PART = '''

@op("{name}"{outputs})
class Part{n}(nn.Module):
    """The module {kind}, as it is."""

    def __new__(cls) -> nn.Module:
        return part(SOURCE, "{path}", "{name}", INPUTS)

    def forward(self, *xs: Tensor) -> Tensor: ...
'''


def told_from(folder: Path, source: str) -> str:
    """A source as `module_of` takes it with its file told from a folder, "" where it has no file."""
    begin, name = (HUB, "") if source.startswith(HUB) else ("", f":{source.rpartition(':')[2]}")
    file = source.removeprefix(begin).removesuffix(name)
    there = Path(file).is_dir() if begin else file.endswith(".py")
    return "" if not there else f"{begin}{os.path.relpath(file, folder)}{name}"


def beside(file: str, source: str) -> str:
    """The inverse of `told_from` for the folder of the plug-in `file`."""
    begin = HUB if source.startswith(HUB) else ""
    return f"{begin}{os.path.normpath(Path(file).resolve().parent / source.removeprefix(begin))}"


def plugin(graph: Graph, source: str, folder: Path) -> str:
    """The text of a plug-in with every opaque op of a graph, made by a source as `module_of` takes it.

    It lies in `folder` and finds the source's file from there, so that both can be moved together.
    """
    near = told_from(folder, source)
    place, names = (f"beside(__file__, {near!r})", "beside, part") if near else (repr(source), "part")
    inputs = {name: {"shape": list(kind.shape), "dtype": kind.dtype} for name, kind in graph.inputs}
    parts = {node.op: path_of(graph, i) for i, node in reversed(list(graph)) if node.op.startswith(PREFIX)}
    text = _TEXT.format(source=near or source, names=names, place=place, inputs=inputs)
    for n, (name, path) in enumerate(reversed(parts.items())):
        entry = lookup("op", name)
        outputs = ', outputs="numbered"' if entry.option("outputs") else ""
        text += _PART.format(name=name, outputs=outputs, n=n, kind=entry.qualname, path=path)
    return text


def path_of(graph: Graph, i: str) -> str:
    """The path of the module that an opaque step calls: its own, or that of its first call."""
    return graph.nodes[i].owner or i


def part(source: str, path: str, name: str, inputs: Mapping[str, Any]) -> nn.Module:
    """The module at a path of a source, as the op `name`. Raises InputError where the source makes another one now."""
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):  # whoever asks may be on the meta device
        module, known = _known(source, path, json.dumps(inputs))
    if name not in known:
        hint = "import the model again"
        raise InputError(f"{source} makes another '{path}' than the one that was imported", hint=hint)
    return copied(module.get_submodule(path), known[name])


@functools.lru_cache(maxsize=4)
def _made(source: str) -> tuple[nn.Module, Any]:
    file = source.rpartition(":")[0]
    if not source.startswith(HUB) and not Path(file).is_file():
        raise InputError(f"there is no file {file}, which the model was imported from: move it with the model's folder")
    module, example = module_of(source)
    return single(module), example


@functools.lru_cache(maxsize=256)
def _known(source: str, path: str, inputs: str) -> tuple[nn.Module, dict[str, Signature]]:
    """The module of a source, and how its part at a path is called, by the name that it has as an op."""
    module, example = _made(source)
    if path not in dict(module.named_modules()):
        raise InputError(f"{source} makes a {type(module).__name__} without '{path}'", hint="import the model again")
    given = inputs_of(module, example_of(json.loads(inputs)) if example is None else example).single()
    calls = recorded(module, given, frozenset((path,)))[path]
    return module, {named(module.get_submodule(path), call): call for call in calls}
