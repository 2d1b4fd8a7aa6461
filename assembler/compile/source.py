"""A graph as one readable Python file that needs torch alone and computes what `lower` computes, bit for bit."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import fx

from assembler.compile.code import flat
from assembler.compile.embed import Embedding
from assembler.compile.expression import expressions
from assembler.compile.lower import check_names
from assembler.compile.template import HEADER, LOADER, STEPS
from assembler.compile.trace import traced
from assembler.graph.core import ITEM, Graph, Node, TensorType
from assembler.infer.cost import total
from assembler.infer.make import arguments, call_arguments
from assembler.infer.shape import shapes
from assembler.registry import Entry, lookup

_TAKEN = (
    "Model",
    "Steps",
    "Tensor",
    "F",
    "nn",
    "torch",
    "json",
    "struct",
    "sys",
    "Path",
    "DTYPES",
    "load",
    "self",
    "float",
    "slice",
)
_GIVEN = (
    "from torch import Tensor",
    "from torch import nn",
    "import torch.nn as nn",
    "import torch.nn.functional as F",
)
_WIDTH = 120
Tree = dict[str, "Tree | str"]


def to_source(graph: Graph, types: Mapping[str, TensorType] | None = None) -> str:
    """The text of a stand-alone `model.py`: `class Model` and `load(file)`, which reads a safetensors file by itself.

    `state_dict` keys are recipe paths, and every line of `forward` bears the shape that it makes. The sources of the
    ops are copied in with what they use. Raises GraphError where an op's source is not known or cannot stand alone.
    """
    types = types or shapes(graph)
    check_names(graph)
    embedding = Embedding(_TAKEN)
    callees = {i: _callee(node, embedding) for i, node in graph}
    modules = {i: _made(node, callees[i], types) for i, node in graph if _is_module(node)}
    forward = _Forward(graph, types, callees, embedding.names)
    body = [forward.line(i, node) for i, node in graph]
    used = {i: name for i, name in callees.items() if i in modules or i in forward.called}
    if len(used) < len(callees):  # what became torch expressions needs no definition
        embedding = Embedding(_TAKEN)
        for i, node in graph:
            if i in used:
                _callee(node, embedding)
    model = [*_constructor(graph, modules), "", *forward.head(), *body, forward.returned()]
    return _file(graph, types, embedding, model)


def _file(graph: Graph, types: Mapping[str, TensorType], embedding: Embedding, model: list[str]) -> str:
    head = HEADER.format(
        name=_title(graph),
        params=f"{total(graph, types).params:,}",
        needs=" and ".join(("torch", *embedding.packages)),
        inputs=", ".join(f"{n} {_shape(types, types[n])}" for n in graph.input_names),
        made=", ".join(f"{n} {_shape(types, types[i])}" for n, i in graph.outputs),
    )
    body = [*embedding.definitions.values(), "\n".join(model)]
    if any("Steps" in line for line in model):
        body.insert(-1, STEPS)
    functional = "F" in embedding.imports or any("F." in part for part in body)
    parts = [f"{head}\n{_imports(embedding, functional)}", *body, LOADER]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def _imports(embedding: Embedding, functional: bool) -> str:
    torch_lines = {"import torch", "from torch import Tensor, nn"}
    if functional:
        torch_lines.add("import torch.nn.functional as F")
    lines = {"import json", "import struct", "import sys", "from pathlib import Path"}
    for line in embedding.import_lines():
        if line not in _GIVEN:
            (torch_lines if line.split()[1].split(".")[0] == "torch" else lines).add(line)
    ordered = [sorted(group, key=lambda line: (line.startswith("from"), line)) for group in (lines, torch_lines)]
    return "\n".join(["from __future__ import annotations", "", *ordered[0], "", *ordered[1]])


def _title(graph: Graph) -> str:
    return re.sub(r"[^\w .@-]", "_", graph.name)  # it stands in docstrings, which it must not end


def _is_module(node: Node) -> bool:
    return lookup("op", node.op).shape != "function"


def _callee(node: Node, embedding: Embedding) -> str:
    entry = lookup("op", node.op)
    return f"nn.{entry.qualname}" if entry.module == "torch.nn" else embedding.add(entry.load())


def _made(node: Node, callee: str, types: Mapping[str, TensorType]) -> str:
    entry = lookup("op", node.op)
    return f"{callee}({_keywords(entry, node, types)})"


def _keywords(entry: Entry, node: Node, types: Mapping[str, TensorType]) -> str:
    bound = arguments(entry, dict(node.args), [types[s].shape for s in node.sources])
    order = [p.argument for p in entry.params if p.argument in bound]
    return ", ".join(f"{k}={_literal(bound[k])}" for k in order)


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        inner = ", ".join(_literal(v) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return f'float("{value}")' if isinstance(value, float) and value - value != 0 else repr(value)


# -- __init__ --------------------------------------------------------------------------------------------------------


def _constructor(graph: Graph, modules: Mapping[str, str]) -> list[str]:
    lines = [
        "class Model(nn.Module):",
        f'    """The {_title(graph)} model; its sub-modules bear the recipe\'s names."""',
        "",
    ]
    lines += ["    def __init__(self) -> None:", "        super().__init__()"]
    tree: Tree = {}
    for i in graph.nodes:
        if i in modules:
            _plant(tree, i, modules[i])
    for name, inner in tree.items():
        first, *rest = _branch(inner, "        ")
        plain = name.isidentifier() and not keyword.iskeyword(name)
        lines.append(f"        self.{name} = {first}" if plain else f'        self.add_module("{name}", {first}')
        lines += rest
        if not plain:
            lines[-1] += ")"
    return lines


def _plant(tree: Tree, path: str, text: str) -> None:
    *parents, name = path.split(".")
    for part in parents:
        inner = tree.setdefault(part, {})
        if isinstance(inner, str):  # a step that joins its container's arms, standing before one of them
            inner = tree[part] = {"": inner}
        tree = inner
    held = tree.get(name)
    tree[name] = {"": text, **held} if isinstance(held, dict) else text


def _branch(tree: Tree | str, indent: str) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    own = tree.get("")
    lines = ["Steps({" if own is None else f"Steps.of({own}, {{"]
    for name, inner in tree.items():
        if name:
            first, *rest = _branch(inner, f"{indent}    ")
            lines += [f'{indent}    "{name}": {first}', *rest]
            lines[-1] += ","
    return [*lines, f"{indent}}})"]


# -- forward ---------------------------------------------------------------------------------------------------------


class _Forward:
    """The lines of `forward`, one step each; `called` are the steps that call an embedded function."""

    def __init__(
        self, graph: Graph, types: Mapping[str, TensorType], callees: Mapping[str, str], taken: Iterable[str]
    ) -> None:
        self.graph = graph
        self.types = types
        self.callees = callees
        self.called: set[str] = set()
        self.taken = {*_TAKEN, *taken, *graph.input_names}
        self.joins = {i for i, node in graph if _is_module(node)}
        self.variables = {name: name for name in graph.input_names}
        self.several: dict[str, str] = {}

    def index(self, source: str, output: str) -> str:
        """How one output is taken of what a step with several makes."""
        node = self.graph.nodes[source]
        entry = lookup("op", node.op)
        names = entry.outputs(dict(node.args)) or ()
        place = names.index(output) if output in names else int(output)
        paths = entry.option("paths")
        return "".join(f"[{n}]" for n in (paths[place] if paths else (place,)))

    def head(self) -> list[str]:
        """The signature."""
        inputs = "".join(f", {n}: Tensor" for n in self.graph.input_names)
        made = "Tensor" if len(self.graph.outputs) == 1 else "dict[str, Tensor]"
        shapes = [f"{n}: {_shape(self.types, self.types[n])}" for n in self.graph.input_names]
        return [f"    def forward(self{inputs}) -> {made}:", f"        # {', '.join(shapes)}"]

    def line(self, i: str, node: Node) -> str:
        """The statement (or statements) of one step."""
        name = self.variable(i)
        if node.op == ITEM:
            self.variables[i] = name
            source = node.sources[0]
            text = self.several[source] + self.index(source, str(node.arg("output")))
            return self.commented(f"        {name} = {text}", i)
        entry = lookup("op", node.op)
        args, kwargs = call_arguments(entry, node, self.variables)
        inputs = [*args, *(f"{k}={v}" for k, v in kwargs.items())]
        self.variables[i] = name
        if i in self.joins:
            lines = [(name, f"{self.access(i)}({', '.join(inputs)})")]
        else:
            lines = self.expression(i, node, entry, name) or self.embedded(i, node, entry, name, inputs)
        names = entry.outputs(dict(node.args))
        if names is not None:
            self.several[i] = self.variable(f"{i}_all")
            lines = [
                *lines[:-1],
                (self.several[i], lines[-1][1]),
                (name, self.several[i] + self.index(i, (names or "0")[0])),
            ]
        *before, (last, text) = lines
        return "\n".join([*(f"        {v} = {t}" for v, t in before), self.commented(f"        {last} = {text}", i)])

    def returned(self) -> str:
        """The return statement."""
        ends = {n: self.variables[i] for n, i in self.graph.outputs}
        if len(ends) == 1:
            return f"        return {next(iter(ends.values()))}"
        return f"        return {{{', '.join(f'{n!r}: {v}' for n, v in ends.items())}}}"

    def expression(self, i: str, node: Node, entry: Entry, name: str) -> list[tuple[str, str]] | None:
        """The step as torch expressions, or None."""
        bound = arguments(entry, dict(node.args), [self.types[s].shape for s in node.sources])
        named = frozenset(call_arguments(entry, node, {s: p for p, s in node.inputs})[1])
        body: fx.Graph | None = traced(entry.load(), tuple(sorted(bound.items())), tuple(dict(node.inputs)), named)
        return None if body is None else expressions(body, [self.variables[s] for s in node.sources], name)

    def embedded(self, i: str, node: Node, entry: Entry, name: str, inputs: list[str]) -> list[tuple[str, str]]:
        """The step as a call of the op's own function."""
        self.called.add(i)
        given = ", ".join([*inputs, *filter(None, [_keywords(entry, node, self.types)])])
        return [(name, f"{self.callees[i]}({given})")]

    def variable(self, path: str) -> str:
        """A variable of the step's name that nothing else has."""
        name = flat(path)
        name = name if name.isidentifier() else f"step_{name}"
        while name in self.taken or keyword.iskeyword(name):
            name += "_"
        self.taken.add(name)
        return name

    def access(self, path: str) -> str:
        """How `forward` reaches a sub-module: `self.stage[2].block[0].norm`."""
        text, plain = "self", False
        here = ""
        for part in path.split("."):
            here = f"{here}.{part}" if here else part
            if part.isidentifier() and not keyword.iskeyword(part):
                text += f".{part}"
            elif plain:
                text += f"[{part}]" if part.isdecimal() and str(int(part)) == part else f'["{part}"]'
            else:
                text += f'.get_submodule("{part}")'
            plain = here not in self.joins
        return text

    def commented(self, line: str, i: str) -> str:
        """The line with the shape that it makes: behind it, or above it where it is long."""
        said = f"# {_shape(self.types, self.types[i])}"
        if len(line) + len(said) + 2 <= _WIDTH:
            return f"{line}  {said}"
        return f"        {said}\n{line}"


def _shape(types: Mapping[str, TensorType], given: TensorType) -> str:
    batch = next((t.shape[0] for t in types.values() if t.shape), 0)
    axes = [("B" if n == 0 and size == batch else str(size)) for n, size in enumerate(given.shape)]
    dtype = "" if given.dtype == "float32" else f" {given.dtype}"
    return f"[{', '.join(axes)}]{dtype}"
