"""Errors of a running model, said in the names of its recipe: which step, on what, at which line.

A call of a module costs one `try` more. Where it fails, the traceback's line in the generated code names the step, and
the frame still holds the tensors that the step was given.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx

from assembler.errors import AssemblerError, InputError, Problem, StepError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.structure import flatten
from assembler.infer.lengths import fixed_by
from assembler.infer.make import reason

STEP = "step"
"""The key of an fx node's `meta` under which the id of its step stands."""
_MEMORY = re.compile(r"out of memory|can't allocate memory", re.IGNORECASE)
_SIZE = re.compile(r"[Tt]ri(?:ed|ing) to allocate ([\d.]+ ?\w+)")


class StepMemoryError(StepError, torch.OutOfMemoryError):
    """A step ran out of memory; to those who catch torch's error it is that one."""


@dataclass(frozen=True)
class Failure:
    """Where a model failed: the path of the step in the module that was called, and the tensors that it was given."""

    path: str
    given: tuple[str, ...]


class Located(fx.GraphModule):
    """Generated code whose errors bear the recipe's names; `meta["graph"]` is the graph that it computes."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module. Raises StepError for a step that fails, InputError for inputs that are not the model's."""
        try:
            return super().__call__(*args, **kwargs)
        except Exception as error:
            if torch.compiler.is_compiling():  # the compiler steers by exceptions of its own
                raise
            found = located(self, error, args, kwargs)
            if found is error:
                raise
            raise found from _root(error)


def mark(code: fx.Graph, i: str) -> None:
    """Note in the nodes that were appended last that they belong to the step `i`."""
    for node in reversed(code.nodes):
        if STEP in node.meta or node.op == "placeholder":
            return
        node.meta[STEP] = i


def step_at(node: fx.Node, graph: Graph | None) -> str:
    """The path of the step that an fx node belongs to, or its name where nothing is known of it."""
    known = graph.nodes if graph is not None else {}
    if STEP in node.meta:
        return str(node.meta[STEP])
    if node.op == "placeholder" or str(node.target) in known:
        return str(node.target)
    fits = [i for i in known if f"{node.name}_".startswith(f"{i.replace('.', '_')}_")]
    return max(fits, key=len, default=node.name)


def step_in(graph: Graph | None, path: str) -> Node | None:
    """The step at a path that may lead into bodies (`refine.cell`), or None."""
    parts = path.split(".")
    for n in range(len(parts), 0, -1):
        node = graph.nodes.get(".".join(parts[:n])) if graph is not None else None
        if node is not None and n == len(parts):
            return node
        if node is not None and node.body is not None:
            rest = parts[n:]
            # copies of a body (`experts.0.up`) stand between
            return step_in(node.body, ".".join(rest)) or step_in(node.body, ".".join(rest[1:]))
    return None


def located(
    module: fx.GraphModule, error: Exception, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
) -> Exception:
    """The error to raise for one that arose in a call of `module`; the same where it says enough already."""
    if isinstance(error, AssemblerError) and not isinstance(error, StepError):
        return error
    graph: Graph | None = module.meta.get("graph")
    named = _bound(module, args, kwargs or {})
    failure = _failure(module, graph, error)
    if graph is not None and (wrong := list(_wrong(module, graph, args, kwargs or {}, named))):
        return InputError([_with_hint(p, graph, failure, error) for p in wrong])
    if failure is None:
        return error
    return _told(graph, failure, _root(error), _sizes(graph, named, failure.path))


def _root(error: Exception) -> BaseException:
    """The error that a step itself raised."""
    return error.__cause__ or error if isinstance(error, StepError) else error


def _failure(module: fx.GraphModule, graph: Graph | None, error: Exception) -> Failure | None:
    inner: Failure | None = getattr(error, "failure", None)
    code = type(module).forward.__code__
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code is code]
    node = _node(module, *frames[0]) if frames else None
    if node is None:
        return inner
    path = step_at(node, graph)
    if inner is None:
        return Failure(path, tuple(_given(node, graph, frames[0][0])))
    whole = [p for p in (f"{path}.{inner.path}", inner.path) if step_in(graph, p) is not None]
    return Failure(whole[0] if whole else f"{path}.{inner.path}", inner.given)


def _node(module: fx.GraphModule, frame: FrameType, line: int) -> fx.Node | None:
    """The fx node of a line of the generated code: the one that the line assigns."""
    text = module.code.split("\n")
    words = re.match(r"\s*(\w+)\s*(?::[^=]*)?=", text[line - 1]) if line <= len(text) else None
    return next((n for n in module.graph.nodes if words and n.name == words[1]), None)


def _given(node: fx.Node, graph: Graph | None, frame: FrameType) -> Iterator[str]:
    for source in node.all_input_nodes:
        value = frame.f_locals.get(source.name)
        path = step_at(source, graph)
        own = path == step_at(node, graph)  # a value within the step has no name that the recipe knows
        for shown in _types(value):
            yield shown if own else f"{path} {shown}"


def _types(value: Any) -> Iterator[str]:
    if isinstance(value, Tensor):
        yield _type(value)
    elif isinstance(value, tuple | list):
        yield from (_type(v) for v in value if isinstance(v, Tensor))


def _type(value: Tensor) -> str:
    return str(_kind(value))


def _kind(value: Tensor) -> TensorType:
    return TensorType(tuple(value.shape), str(value.dtype).removeprefix("torch."))


def _told(graph: Graph | None, failure: Failure, error: BaseException, sizes: str) -> StepError:
    node = step_in(graph, failure.path)
    step = f"{failure.path} ({node.op})" if node else failure.path
    on = f" on {' and '.join(failure.given)}" if failure.given else ""
    kind: type[StepError] = StepError
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or _MEMORY.search(str(error)):
        size = _SIZE.search(str(error))
        wanted = f": it needs {size[1]} more" if size else ""
        said, kind, hint = f"{step} ran out of memory{on}{wanted}", StepMemoryError, "take a smaller batch"
    else:
        said, hint = f"{step} failed{on}: {reason(error)}", sizes
    made = kind(Problem(said, node.span if node else None, failure.path, hint))
    made.failure = failure
    return made


def _bound(module: fx.GraphModule, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a call gave, by the dotted names of the model's inputs."""
    names = [str(n.target) for n in module.graph.nodes if n.op == "placeholder"]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    nested = {n.partition(".")[0] for n, _ in module.meta["graph"].inputs if "." in n} if "graph" in module.meta else ()
    plain = {name: value for name, value in given.items() if name not in nested}
    return plain | dict(flatten({name: value for name, value in given.items() if name in nested}))


def _wrong(
    module: fx.GraphModule, graph: Graph, args: tuple[Any, ...], kwargs: Mapping[str, Any], named: Mapping[str, Any]
) -> Iterator[Problem]:
    """What of a call could never be the model's inputs: their number, names, dtypes, numbers of axes."""
    names = [str(n.target) for n in module.graph.nodes if n.op == "placeholder"]
    bound = dict(graph.only)
    if len(args) > len(names):
        yield Problem(f"the model takes {_count(len(names))} and was given {len(args)}")
    if unknown := [k for k in kwargs if k not in names]:
        yield Problem(f"the model has no input {_quoted(unknown)}")
    if missing := [n for n, _ in graph.inputs if n not in named and n not in bound]:
        yield Problem(f"the model was not given {_quoted(missing)}")
    floats = {str(p.dtype).removeprefix("torch.") for p in module.parameters()}
    for name, kind in graph.inputs:
        value = named.get(name)
        if value is not None and (why := _misfit(value, kind, floats)):
            yield Problem(f"the input '{name}' {why}")


def _misfit(value: Any, kind: TensorType, floats: Iterable[str]) -> str:
    if not isinstance(value, Tensor):
        return f"is a {type(value).__name__}, not a tensor"
    if value.ndim != len(kind.shape):
        axes = f"{value.ndim} {'axis' if value.ndim == 1 else 'axes'}"
        return f"has {axes}, {_type(value)}, and the model's has {len(kind.shape)}"
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype == kind.dtype or (dtype in floats and kind.dtype.startswith(("float", "bfloat"))):
        return ""
    return f"is {dtype}, and the model's is {kind.dtype}"


def _with_hint(problem: Problem, graph: Graph, failure: Failure | None, error: Exception) -> Problem:
    takes = f"it takes {', '.join(f'{name}: {_batched(kind)}' for name, kind in graph.inputs)}"
    node = step_in(graph, failure.path) if failure else None
    if failure is None or node is None:
        return Problem(problem.message, hint=takes)
    return Problem(f"{problem.message}; {failure.path} ({node.op}) failed: {reason(_root(error))}", node.span,
                   failure.path, takes)  # fmt: skip


def _sizes(graph: Graph | None, named: Mapping[str, Any], path: str) -> str:
    """A hint where an input has other sizes than the recipe says: which step is bound to those."""
    if graph is None:
        return ""
    given = {name: _kind(value) for name, value in named.items() if isinstance(value, Tensor)}
    for name, kind in graph.inputs:
        if name in given and given[name].shape[1:] != kind.shape[1:]:
            said = f"the recipe is written for {name}: {_batched(kind)}, and this is {given[name]}"
            return f"{said}; {fixed}" if (fixed := _fixed(graph, given, path)) else said
    return ""


def _fixed(graph: Graph, given: Mapping[str, TensorType], path: str) -> str:
    found = fixed_by(graph, {name: given[name] for name, _ in graph.inputs if name in given})
    if found is None:
        return ""
    step, why = found
    node = graph.nodes[step]
    place = f", {node.span.file}:{node.span.line}" if node.span else ""
    who = "that step" if step == path else f"{step} ({node.op}{place})"
    return f"{who} fixes the size: {why}"


def _batched(kind: TensorType) -> str:
    return f"{kind.dtype}[{', '.join(['B', *map(str, kind.shape[1:])])}]" if kind.shape else str(kind)


def _count(number: int) -> str:
    return "1 input" if number == 1 else f"{number} inputs"


def _quoted(names: Iterable[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
