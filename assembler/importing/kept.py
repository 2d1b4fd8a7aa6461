"""Opaque parts in another process: a plug-in file beside the graph that makes them by the code that they came from.

The file is never run by itself. Who names it with `--plugin` runs that code, as the import did.
"""

from __future__ import annotations

import functools
import json
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

from assembler.importing.kept import part
from assembler.registry import op

SOURCE = {source!r}
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


def plugin(graph: Graph, source: str) -> str:
    """The text of a plug-in with every opaque op of a graph, made by a source as `module_of` takes it."""
    if not source.startswith(HUB):
        file, _, name = source.rpartition(":")
        source = f"{Path(file).resolve()}:{name}"
    inputs = {name: {"shape": list(kind.shape), "dtype": kind.dtype} for name, kind in graph.inputs}
    parts = {node.op: path_of(graph, i) for i, node in reversed(list(graph)) if node.op.startswith(PREFIX)}
    text = _TEXT.format(source=source, inputs=inputs)
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
