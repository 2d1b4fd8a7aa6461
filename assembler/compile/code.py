"""Straight-line code under construction: an fx graph, and the sub-modules that it calls."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import fx, nn

from assembler.compile.located import mark
from assembler.compile.model import AROUND, Model
from assembler.compile.trace import traced
from assembler.errors import GraphError
from assembler.graph.core import ITEM, Node
from assembler.graph.structure import pack
from assembler.infer.make import call_arguments
from assembler.registry import Entry, lookup


class Code:
    """An fx graph under construction, with the sub-modules that it calls and the value of every id so far.

    Inputs with dots in their names are parts of one mapping or list that the caller gives; those in `optional` may be
    left out.
    """

    def __init__(self, inputs: Sequence[str], optional: Sequence[str] = ()) -> None:
        self.fx = fx.Graph()
        self.root = nn.Module()
        self.values: dict[str, fx.Node] = {}
        self.several: dict[str, tuple[fx.Node, Mapping[str, tuple[int, ...]]]] = {}
        self.places: dict[int, str] = {}
        self.tensors: dict[int, str] = {}
        for name, inner in pack((n, n) for n in inputs).items():
            default: tuple[Any, ...] = (None,) if name in optional else ()
            self._enter(self.fx.create_node("placeholder", name, default), inner)

    def _enter(self, value: fx.Node, inner: Any) -> None:
        if isinstance(inner, str):
            self.values[inner] = value
            return
        for key, part in inner.items() if isinstance(inner, dict) else enumerate(inner):
            at = int(key) if str(key).isdigit() else key  # of a list, whose other items this mode may not have
            self._enter(self.fx.call_function(operator.getitem, (value, at)), part)

    def step(self, i: str, node: Node, step: Callable[..., Any], path: str = "") -> None:
        """Append the step `i`: a call of the sub-module at `path` (unless given, the id), or a function's calls."""
        if node.op == ITEM:
            self.values[i] = self._item(node.sources[0], str(node.arg("output")), i)
            mark(self.fx, i)
            return
        entry = lookup("op", node.op)
        self.values[i] = self._called(entry, node, step, path or i)
        names = entry.outputs(dict(node.args))
        if names is not None:
            paths = entry.option("paths") or [(n,) for n in range(len(names))]
            self.several[i] = (self.values[i], dict(zip(names, paths, strict=True)))
            self.values[i] = self._item(i, names[0] if names else "0", f"{path or i}_")
        mark(self.fx, i)

    def call(self, path: str, module: nn.Module, args: tuple[fx.Node, ...], kwargs: Mapping[str, fx.Node]) -> fx.Node:
        """Append a call of `module`, which becomes the sub-module at `path` unless it has a place already."""
        self.place(path, module)
        return self.fx.create_node("call_module", self.places[id(module)], args, dict(kwargs), name=flat(path))

    def borrow(self, path: str, module: nn.Module, *, bare: bool = False) -> None:
        """Let the step at `path` be computed by a module of another graph, which has its place there.

        One that lies in a body is reached through the step that holds it; one from around goes beside the sub-modules.
        """
        if id(module) in self.places or id(module) in self.tensors:
            return
        place = next((name for name, inner in self.root.named_modules() if inner is module), "")
        if bare:
            held = (*module.parameters(), *module.buffers())
            known = (*self.root.named_parameters(), *self.root.named_buffers())
            place = next((name for name, tensor in known if any(tensor is one for one in held)), "")
        if not place:
            place = f"{AROUND}.{flat(path)}"
            attach(self.root, place, module, bare=bare)
        (self.tensors if bare else self.places)[id(module)] = place

    def held(self, path: str, module: nn.Module) -> fx.Node:
        """Append a read of the one tensor of `module`, which lies under `path` itself."""
        if id(module) not in self.tensors:
            attach(self.root, path, module, bare=True)
            self.tensors[id(module)] = path
        return self.fx.create_node("get_attr", self.tensors[id(module)], name=flat(path))

    def place(self, path: str, module: nn.Module) -> None:
        """Make `module` the sub-module at `path` unless it has a place already."""
        if id(module) not in self.places:
            attach(self.root, path, module)
            self.places[id(module)] = path

    def finish(self, outputs: Sequence[tuple[str, str]], *, bare: bool = True) -> Model:
        """The module of all steps so far, which returns the values of these (name, id) pairs: one alone if `bare`."""
        values = pack((name, self.values[i]) for name, i in outputs)
        self.fx.output(
            next(iter(values.values())) if bare and len(outputs) == 1 and "." not in outputs[0][0] else values
        )
        return Model(self.root, self.fx)

    def _called(self, entry: Entry, node: Node, step: Callable[..., Any], path: str) -> fx.Node:
        args, kwargs = call_arguments(entry, node, self.values)
        if isinstance(step, nn.Module):
            return self.held(path, step) if entry.option("bare") else self.call(path, step, args, kwargs)
        if isinstance(step, functools.partial) and (body := _body(entry, node, step)):
            return self._inline(path, body, node)
        func, bound = (step.func, step.keywords) if isinstance(step, functools.partial) else (step, {})
        return self.fx.create_node("call_function", func, args, {**kwargs, **bound}, name=flat(path))

    def weight(self, i: str, step: Callable[..., Any], name: str) -> None:
        """Append a read of a weight of `step`, a module that has its place: the value of the id `i`."""
        place = self.tensors.get(id(step)) or f"{self.places[id(step)]}.{name}"
        self.values[i] = self.fx.create_node("get_attr", place, name=flat(i))
        mark(self.fx, i)

    def _item(self, source: str, name: str, path: str) -> fx.Node:
        value, paths = self.several[source]
        for key in paths.get(name) or (int(name),):
            value = self.fx.create_node("call_function", operator.getitem, (value, key), name=flat(path))
        return value

    def _inline(self, path: str, body: fx.Graph, node: Node) -> fx.Node:
        inside: dict[fx.Node, Any] = {}
        sources = iter(node.sources)
        *steps, end = body.nodes
        last: Any = end.args[0]
        for n in steps:
            if n.op == "placeholder":
                inside[n] = self.values[next(sources)]
                continue
            args, kwargs = fx.map_arg((n.args, n.kwargs), inside.__getitem__)
            name = flat(path) if n is last else f"{flat(path)}_{n.name}"
            inside[n] = self.fx.create_node(n.op, n.target, args, kwargs, name=name)
        found: fx.Node = inside[last]
        return found


def _body(entry: Entry, node: Node, step: Any) -> fx.Graph | None:
    named = frozenset(call_arguments(entry, node, {s: p for p, s in node.inputs})[1])
    return traced(step.func, tuple(sorted(step.keywords.items())), tuple(p for p, _ in node.inputs), named)


def attach(root: nn.Module, path: str, module: nn.Module, *, bare: bool = False) -> None:
    """Make `module` the sub-module of `root` at `path`, with plain `nn.Module` containers on the way.

    A step that joins the arms of a container has the container's path; the arms are then sub-modules of its module.
    With `bare` it is the one tensor of `module` that is put there.
    """
    *parents, name = path.split(".")
    for part in parents:
        if root._modules.get(part) is None:
            _add(root, part, nn.Module(), path)
        inner = root._modules[part]
        assert inner is not None
        root = inner
    held = root._modules.get(name)
    if bare:
        _check_free(root, name, path)
        for tensor in (*module.parameters(), *module.buffers()):
            if isinstance(tensor, nn.Parameter):
                root.register_parameter(name, tensor)
            else:
                root.register_buffer(name, tensor)
    elif held is not None:
        for child, inner in held.named_children():
            _add(module, child, inner, f"{path}.{child}")
        root._modules[name] = module
    else:
        _add(root, name, module, path)


def _add(parent: nn.Module, name: str, module: nn.Module, path: str) -> None:
    _check_free(parent, name, path)
    parent.add_module(name, module)


def _check_free(parent: nn.Module, name: str, path: str) -> None:
    if hasattr(parent, name) or isinstance(parent, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        what = f"the weights of step '{path}' cannot lie inside those of the step around it, a {type(parent).__name__}"
        raise GraphError(what, path=path, hint="rename the step")


@functools.cache
def flat(path: str) -> str:
    """A path as a variable name: `stage.2.block` -> `stage_2_block`."""
    return "self_" if path == "self" else path.replace(".", "_")
