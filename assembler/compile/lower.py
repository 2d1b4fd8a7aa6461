"""From a graph to an `nn.Module` of straight-line code: sub-modules under their recipe paths."""

from __future__ import annotations

import functools
import keyword
import re
from collections.abc import Collection, Mapping

import torch

from assembler.compile.code import Code
from assembler.compile.model import Compiled, Model, Switched
from assembler.compile.steps import Steps, seeding
from assembler.errors import GraphError, Problem
from assembler.graph.core import ITEM, Graph, Node, TensorType
from assembler.graph.modes import has_modes, in_mode
from assembler.graph.reach import computed
from assembler.graph.reserved import RESERVED_STEPS
from assembler.graph.values import is_weight
from assembler.infer.shape import shapes, signature
from assembler.recipe.pause import no_collection
from assembler.registry import lookup


def lower(
    graph: Graph,
    types: Mapping[str, TensorType] | None = None,
    *,
    seed: int | None = 0,
    device: str | torch.device = "cpu",
) -> Compiled:
    """The module that computes a graph; `state_dict` keys are recipe paths (`stage.2.block.0.mix.token.weight`).

    Steps that are modules become sub-modules, function steps become the torch calls that they make. It returns the
    output tensor, or outputs by name where there are several or they are nested. A step's initial weights depend on
    `seed` and its path alone, not on its neighbours or the device; a seed of None draws them from torch's own
    generator. `types` are those that `shapes` gives. The graph stays with the module as `module.meta["graph"]`. Raises
    GraphError where a step cannot be named or cannot share the weights that it is to share.
    """
    check_names(graph)
    with no_collection(), seeding(seed):
        return lowered(graph, steps_of(graph, types or shapes(graph), seed, device))


def check_begins(graph: Graph, types: Mapping[str, TensorType]) -> None:
    """Raises GraphError with the steps whose initialisers or shared parameters do not fit them, as `lower` would.

    They are made on `meta`, equal ones once, and the others are not.
    """
    steps = steps_of(graph, types, None, "meta")
    problems: list[Problem] = []
    seen = set()
    for i, node in graph.nodes.items():
        if not _has_begins(node):
            continue
        key = (i,) if node.share or node.body else (signature(node, tuple(types[s] for s in node.sources)), node.init)
        try:
            if key not in seen:
                steps(i)
        except GraphError as error:
            problems += error.problems
        seen.add(key)
    if problems:
        raise GraphError(problems)


def _has_begins(node: Node) -> bool:
    own = bool(node.init) or any(name for name, _ in node.share)
    return own or (node.body is not None and any(map(_has_begins, node.body.nodes.values())))


def steps_of(graph: Graph, types: Mapping[str, TensorType], seed: int | None, device: str | torch.device) -> Steps:
    """What makes the steps of a graph, one by one."""
    return Steps(graph, types, seed, device, _body)


def lowered(graph: Graph, steps: Steps, *, bare: bool = True) -> Compiled:
    """The module of a graph whose steps `steps` makes; `bare` returns a single output without its name."""
    bare = bare and len(graph.outputs) == 1
    if not has_modes(graph):
        return _coded(graph, steps, bare)
    there = in_mode(graph, "eval")
    evaluation = _coded(there, steps, bare, computed(there))
    there = in_mode(graph, "train")
    train = _coded(there, steps.of_mode(there, shapes(there)), bare, computed(there))
    inputs = list(dict.fromkeys(name.split(".")[0] for name in graph.input_names))
    return Switched(inputs, train, evaluation, {"graph": graph})


def _coded(graph: Graph, steps: Steps, bare: bool, run: Collection[str] | None = None) -> Model:
    """The module of a graph of one mode; steps that are not in `run` are not called and only have their place."""
    code = Code(graph.input_names)
    for i, node in graph.nodes.items():
        if run is None or i in run:
            if node.op == ITEM and is_weight(graph, node):
                code.weight(i, steps(node.sources[0]), str(node.arg("output")))
            else:
                call(code, i, node, steps)
        elif isinstance(step := steps(i), torch.nn.Module) and not steps.is_lent(i):
            code.place(i, step)
    module = code.finish(graph.outputs, bare=bare)
    module.meta["graph"] = graph
    frozen = [i for i, node in graph.nodes.items() if node.frozen]
    there = {path for path, _ in module.named_modules()} if frozen else set()  # what no step calls is not taken along
    module.meta["frozen"] = tuple(i for i in frozen if i in there and i in code.places.values())
    return module


def call(code: Code, i: str, node: Node, steps: Steps, path: str = "") -> None:
    """Append the step `i` to code, with the module that `steps` makes of it or takes from another graph."""
    step = steps(i)
    if isinstance(step, torch.nn.Module) and steps.is_lent(i):
        code.borrow(path or i, step, bare=bool(lookup("op", node.op).option("bare")))
    code.step(i, node, step, path)


def _body(graph: Graph, steps: Steps) -> Compiled:
    check_names(graph)
    return lowered(graph, steps, bare=False)


def check_names(graph: Graph) -> None:
    """Raises GraphError with a problem for every input and step that a module cannot have under its name."""
    names = dict.fromkeys(name.split(".")[0] for name in graph.input_names)
    bad = [n for n in names if not n.isidentifier() or keyword.iskeyword(n)]
    problems = [Problem(f"'{n}' cannot name an input: it is no Python identifier", path=n) for n in bad]
    for i, node in graph.nodes.items():
        problems += [Problem(what, node.span, i, hint) for what, hint in filter(None, map(_misnamed, i.split(".")))]
    if problems:
        raise GraphError(problems)


@functools.lru_cache(maxsize=4096)
def _misnamed(part: str) -> tuple[str, str] | None:
    if part in RESERVED_STEPS:
        return (
            f"a step cannot be named '{part}': PyTorch modules have an attribute of that name",
            f"'{part}_step' is free",
        )
    if not re.fullmatch(r"[A-Za-z0-9]\w*", part, re.ASCII):
        return f"a step cannot be named '{part}'", "a name is letters, digits and _, and does not begin with _"
    return None
