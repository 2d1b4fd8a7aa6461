"""From a graph to a `torch.fx.GraphModule`: straight-line code, sub-modules under their recipe paths."""

from __future__ import annotations

import functools
import hashlib
import keyword
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from assembler.compile.trace import traced
from assembler.errors import GraphError, Problem
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.reserved import RESERVED_STEPS
from assembler.infer.make import call_arguments, make
from assembler.infer.shape import shapes
from assembler.registry import Entry, lookup


def lower(
    graph: Graph,
    types: Mapping[str, TensorType] | None = None,
    *,
    seed: int | None = 0,
    device: str | torch.device = "cpu",
) -> fx.GraphModule:
    """The module that computes a graph; `state_dict` keys are recipe paths (`stage.2.block.0.mix.token.weight`).

    Steps that are modules become sub-modules, function steps become the torch calls that they make. It returns the
    output tensor, or a dict by name where there are several. A step's initial weights depend on `seed` and its path
    alone, not on its neighbours or the device; a seed of None draws them from torch's own generator. `types` are
    those that `shapes` gives. The graph stays with the module as `module.meta["graph"]`. Raises GraphError where a
    step cannot be named.
    """
    types = types or shapes(graph)
    check_names(graph)
    code = Code(graph.input_names)
    with seeding(seed):
        for i, node in graph.nodes.items():
            code.step(i, node, build(i, node, types, seed, device))
    module = code.finish(graph.outputs)
    module.meta["graph"] = graph
    return module


def check_names(graph: Graph) -> None:
    """Raises GraphError with a problem for every input and step that a module cannot have under its name."""
    bad = [n for n in graph.input_names if not n.isidentifier() or keyword.iskeyword(n)]
    problems = [Problem(f"'{n}' cannot name an input: it is no Python identifier", path=n) for n in bad]
    for i, node in graph.nodes.items():
        problems += [Problem(what, node.span, i, hint) for what, hint in filter(None, map(_misnamed, i.split(".")))]
    if problems:
        raise GraphError(problems)


def _misnamed(part: str) -> tuple[str, str] | None:
    if part in RESERVED_STEPS:
        return (
            f"a step cannot be named '{part}': PyTorch modules have an attribute of that name",
            f"'{part}_step' is free",
        )
    if not re.fullmatch(r"[A-Za-z0-9]\w*", part, re.ASCII):
        return f"a step cannot be named '{part}'", "a name is letters, digits and _, and does not begin with _"
    return None


def build(
    i: str, node: Node, types: Mapping[str, TensorType], seed: int | None, device: str | torch.device
) -> Callable[..., Any]:
    """What computes the step `i`, its weights drawn and on `device`. To be called under `seeding(seed)`."""
    entry = lookup("op", node.op)
    inputs = [types[s].shape for s in node.sources]
    if torch.device(device).type == "meta":
        with torch.device("meta"):
            return make(entry, dict(node.args), inputs)
    if seed is not None and entry.shape != "function":
        torch.default_generator.manual_seed(step_seed(seed, i))
    step = make(entry, dict(node.args), inputs)
    return step.to(device) if isinstance(step, nn.Module) and str(device) != "cpu" else step


@contextmanager
def seeding(seed: int | None) -> Iterator[None]:
    """Keeps the seeding of steps away from torch's own generator, which is left as it was found."""
    if seed is None:
        yield
    else:
        with torch.random.fork_rng(devices=[]):
            yield


def step_seed(seed: int, path: str) -> int:
    """The seed that a step's weights are drawn from."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{path}".encode(), digest_size=7).digest(), "big")


class Code:
    """An fx graph under construction, with the sub-modules that it calls and the value of every id so far."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.fx = fx.Graph()
        self.root = nn.Module()
        self.values: dict[str, fx.Node] = {name: self.fx.placeholder(name) for name in inputs}
        self.leaves: dict[str, str] = {}

    def step(self, i: str, node: Node, step: Callable[..., Any], path: str = "") -> None:
        """Append the step `i`: a call of the sub-module at `path` (unless given, the id), or a function's calls."""
        entry = lookup("op", node.op)
        path = path or i
        args, kwargs = call_arguments(entry, node, self.values)
        if isinstance(step, nn.Module):
            made = self.call(path, step, args, kwargs)
            self.values[i] = self.fx.call_function(operator.getitem, (made, 0)) if entry.option("first") else made
        elif isinstance(step, functools.partial) and (body := _body(entry, node, step)):
            self.values[i] = self._inline(path, body, node)
        else:
            func, bound = (step.func, step.keywords) if isinstance(step, functools.partial) else (step, {})
            self.values[i] = self.fx.create_node("call_function", func, args, {**kwargs, **bound}, name=flat(path))

    def call(self, path: str, module: nn.Module, args: tuple[fx.Node, ...], kwargs: Mapping[str, fx.Node]) -> fx.Node:
        """Append a call of `module`, which becomes the sub-module at `path`."""
        attach(self.root, path, module)
        return self.fx.create_node("call_module", path, args, dict(kwargs), name=flat(path))

    def finish(self, outputs: Sequence[tuple[str, str]]) -> fx.GraphModule:
        """The module of all steps so far, which returns the values of these (name, id) pairs."""
        values = {name: self.values[i] for name, i in outputs}
        self.fx.output(next(iter(values.values())) if len(values) == 1 else values)
        self.fx.lint()
        return fx.GraphModule(self.root, self.fx)

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


def attach(root: nn.Module, path: str, module: nn.Module) -> None:
    """Make `module` the sub-module of `root` at `path`, with plain `nn.Module` containers on the way.

    A step that joins the arms of a container has the container's path; the arms are then sub-modules of its module.
    """
    *parents, name = path.split(".")
    for part in parents:
        if root._modules.get(part) is None:
            _add(root, part, nn.Module(), path)
        inner = root._modules[part]
        assert inner is not None
        root = inner
    held = root._modules.get(name)
    if held is not None:
        for child, inner in held.named_children():
            _add(module, child, inner, f"{path}.{child}")
        root._modules[name] = module
    else:
        _add(root, name, module, path)


def _add(parent: nn.Module, name: str, module: nn.Module, path: str) -> None:
    if hasattr(parent, name) or isinstance(parent, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        what = f"the weights of step '{path}' cannot lie inside those of the step around it, a {type(parent).__name__}"
        raise GraphError(what, path=path, hint="rename the step")
    parent.add_module(name, module)


@functools.cache
def flat(path: str) -> str:
    """A path as a variable name: `stage.2.block` -> `stage_2_block`."""
    return path.replace(".", "_")
