"""A module traced by `torch.export` with its batch open; modules that are ops, or opaque, are single calls in it."""

from __future__ import annotations

import functools
import inspect
import io
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from assembler.errors import GraphError
from assembler.importing import leaves
from assembler.importing.batch import is_batch, size_of
from assembler.importing.example import Axes, Inputs, batched_experts, dotted, evaluating, known_values
from assembler.importing.opaque import Made, Signature, register
from assembler.importing.reasons import untraceable
from assembler.importing.recording import flat_kind, recorded
from assembler.registry import Entry, lookup


@dataclass
class Call:
    """One call of a module that is a leaf: its op, and which of the op's inputs each tensor is."""

    module: nn.Module
    run: Callable[..., Any]
    op: str
    args: leaves.Args
    ports: tuple[str, ...]
    made: Signature | None = None


_CALLS: dict[str, Call] = {}
_LIBRARY = torch.library.Library("assembler_import", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define("leaf(Tensor[] xs, str key) -> Tensor[]")  # type: ignore[no-untyped-call]


def _real(xs: list[Tensor], key: str) -> list[Tensor]:
    call = _CALLS[key]
    found = [v for v in pytree.tree_leaves(call.run(*xs)) if isinstance(v, Tensor)]
    return [_apart(v, xs) for v in found]


def _fake(xs: list[Tensor], key: str) -> list[Tensor]:
    call = _CALLS[key]
    if call.made is not None and (call.made.makes or call.made.spec is not None):
        return list(call.made.empty(xs, xs[0].device if xs else "cpu"))
    returned = call.run(*xs)
    flat, spec = pytree.tree_flatten(returned)
    call.made = Signature(None, tuple(flat_kind(v) for v in flat), _batch_axis(xs), _makes(flat), spec)
    return [_apart(v, xs) for v in flat if isinstance(v, Tensor)]


_LIBRARY.impl("leaf", _real, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
torch.library.register_fake("assembler_import::leaf", _fake, lib=_LIBRARY)
LEAF = torch.ops.assembler_import.leaf.default


def _apart(made: Tensor, xs: list[Tensor]) -> Tensor:
    """A custom operator may not hand on its input."""
    storages = [x.untyped_storage()._cdata for x in xs]
    return made.clone() if made.untyped_storage()._cdata in storages else made


def _batch_axis(xs: list[Tensor]) -> tuple[int, int, int] | None:
    places = ((n, axis, 1) for n, x in enumerate(xs) for axis, size in enumerate(x.shape) if is_batch(size))
    return next(places, None)


def _makes(flat: list[Any]) -> tuple[Made, ...]:
    """The kinds of tensors that a leaf made; none where a size is free, so that they are told anew at each call."""
    made = []
    for value in flat:
        if isinstance(value, Tensor):
            sizes = tuple(size_of(n) for n in value.shape)
            if None in sizes:
                return ()
            made.append(Made(tuple(s for s in sizes if s is not None), value.dtype))
    return tuple(made)


@dataclass
class Trace:
    """A traced module: the program, its calls of leaves by key, and the example that it was traced with."""

    program: ExportedProgram
    calls: Mapping[str, Call]
    inputs: Inputs

    def free(self, asked: Axes) -> dict[tuple[str, int], int]:
        """The axes that were asked for, each with the greatest size that the trace holds for, -1 if it is any.

        Raises GraphError for one that is a number in the trace.
        """
        given = {n.name: n.meta["val"] for n in self.program.graph.nodes if n.op == "placeholder"}
        names = (dotted(path) for path, _ in pytree.tree_flatten_with_path(self.inputs.kwargs)[0])
        shapes = dict(zip(names, self.program.graph_signature.user_inputs, strict=True))
        found = {}
        for name, axis in ((name, axis) for name, axes in asked.items() for axis in axes):
            size = given[str(shapes[name])].shape[axis]
            if not isinstance(size, torch.SymInt) or not size.node.expr.is_Symbol:
                what = f"{name}.{axis} cannot be free: the module is traced for {size} alone"
                raise GraphError(what, hint="something in it is worked out for that size, or unrolled over it")
            upper = self.program.range_constraints[size.node.expr].upper
            found[name, axis] = int(upper) if upper.is_Integer else -1
        return found


@dataclass
class Tracer:
    """Traces one module, in evaluation or in the mode that `mode` sets while it is traced.

    `whole` are paths to keep as opaque leaves, `open` paths of ops to trace into all the same, `free` the axes of
    inputs to leave open beside the batch.
    """

    module: nn.Module
    inputs: Inputs
    whole: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()
    mode: Callable[[nn.Module], AbstractContextManager[None]] = evaluating
    calls: dict[str, Call] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    inside: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    known: dict[str, list[Signature]] = field(default_factory=dict)
    ops: dict[str, leaves.Args | None] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    dry: bool = True
    free: Axes = field(default_factory=dict)

    def trace(self) -> Trace:
        """Run `torch.export`. Raises GraphError that names the submodule which cannot be traced, and why."""
        if self.free and self.whole:
            what = (
                f"no axis can be free with '{min(self.whole)}' kept as it is: its sizes are known for the example alone"
            )
            raise GraphError(what, hint="leave free=, or opaque=, away")
        self.known = recorded(self.module, self.inputs, self.whole)
        shapes = self.inputs.open_axes(self.free)
        with self.mode(self.module), batched_experts(self.module), self.patched(), _quiet():
            try:
                self.module(**self.inputs.kwargs)  # what a leaf is, is found out beside the trace
                self.dry = False
                program = torch.export.export(self.module, (), self.inputs.kwargs, dynamic_shapes=shapes, strict=False)
                if any(_writes(node.target) for node in program.graph.nodes):
                    program = program.run_decompositions({})
            except Exception as error:  # torch.export's errors have no common root, and the module's own may be any
                raise untraceable(self.module, self.failed.get(id(error), ""), error, self.inputs) from error
        return Trace(program, self.calls, self.inputs)

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Leaves are single calls while this lasts, and the other modules note which of them fails."""
        changed = []
        known = ((path, leaves.dropped_paths(module)) for path, module in self.module.named_modules())
        self.rates = {path: rate for path, rate in known if rate is not None}
        for path, module in self.module.named_modules():
            if not path:
                module.forward = _kept(module.forward)
                changed.append(module)
            if "forward" in module.__dict__:
                continue
            whole, entry = path in self.whole, self.op_of(path, module)
            leaf = whole or (entry is not None and path not in self.open)
            module.forward = _wrapped(self.leaf if leaf else self.guarded, path, module)
            changed.append(module)
        try:
            yield
        finally:
            for module in changed:
                del module.forward
            for key in self.calls:
                _CALLS.pop(key, None)

    def guarded(self, path: str, module: nn.Module, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except Exception as error:
            self.failed.setdefault(id(error), path)
            raise

    def leaf(self, path: str, module: nn.Module, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        found = None if self.inside else self.call(path, module, run, args, kwargs)
        if found is None or self.dry:
            return self.guarded(path, module, run, *args, **kwargs)
        call, tensors = found
        key = f"{id(self)}:{path}#{self.seen[path]}"
        self.seen[path] += 1
        self.calls[key] = _CALLS[key] = call
        self.inside += 1
        try:
            made = iter(LEAF(tensors, key))
        finally:
            self.inside -= 1
        assert call.made is not None
        rest = call.made.rest if call.made.spec is None else call.made.returns[0]
        spec = call.made.returns if call.made.spec is None else call.made.returns[1]
        return pytree.tree_unflatten([next(made) if v is Tensor else v for v in rest], spec)

    def op_of(self, path: str, module: nn.Module) -> Entry | None:
        return lookup("op", "drop_path") if path in self.rates else leaves.op_of(module)

    def arguments(self, path: str, module: nn.Module, entry: Entry, given: Mapping[str, Tensor]) -> leaves.Args | None:
        if path in self.rates:
            return (("p", self.rates[path]),) if len(given) == 1 else None
        return leaves.read_back(module, entry, [tuple(x.shape) for x in given.values()])

    def call(
        self, path: str, module: nn.Module, run: Callable[..., Any], args: Any, kwargs: Any
    ) -> tuple[Call, list[Tensor]] | None:
        """A call of a leaf and the tensors that it takes; None where the op cannot be called so."""
        if path in self.whole:
            flat = [v for v in pytree.tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
            signature = self.known[path][self.seen[path] % len(self.known[path])]
            op = register(module, signature)
            ports = tuple(str(n) for n in range(len(flat)))
            return Call(module, lambda *xs: _called(run, signature, xs), op, (), ports, signature), flat
        bound = inspect.signature(run).bind(*args, **kwargs)
        given = _tensors_given(bound)
        entry = self.op_of(path, module)
        assert entry is not None
        if given is None or not given:
            return None
        names = [n for n in given if not entry.variadic and path not in self.rates]
        if any(n not in (entry.inputs or ("input",)) for n in names):
            return None
        if path not in self.ops:
            self.ops[path] = self.arguments(path, module, entry, given) if self.dry else None
        found = self.ops[path]
        if found is None:
            return None
        ports = tuple(given)
        named = entry.inputs if path in self.rates else ports  # a stranger's module, which may call its input anything
        return Call(module, lambda *xs: _by_name(run, ports, xs), entry.name, found, named), list(given.values())


def _wrapped(wrapper: Callable[..., Any], path: str, module: nn.Module) -> Callable[..., Any]:
    run = module.forward

    @functools.wraps(run)  # some models look at the signatures of their parts
    def forward(*args: Any, **kwargs: Any) -> Any:
        return wrapper(path, module, run, *args, **kwargs)

    return forward


def _kept(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return known_values(run(*args, **kwargs))

    return forward


def _called(run: Callable[..., Any], signature: Signature, xs: tuple[Tensor, ...]) -> Any:
    args, kwargs = signature.arguments(xs)
    return run(*args, **kwargs)


def _by_name(run: Callable[..., Any], ports: tuple[str, ...], xs: tuple[Tensor, ...]) -> Any:
    if ports and ports[0].isdecimal():
        return run(*xs)
    return run(**dict(zip(ports, xs, strict=True)))


def _tensors_given(bound: inspect.BoundArguments) -> dict[str, Tensor] | None:
    """The tensors of a call by input name; None where something else is given that the op has no place for."""
    found: dict[str, Tensor] = {}
    for name, value in bound.arguments.items():
        said = bound.signature.parameters[name]
        if said.kind is inspect.Parameter.VAR_POSITIONAL:
            if not all(isinstance(v, Tensor) for v in value):
                return None
            found |= {str(n): v for n, v in enumerate(value)}
        elif isinstance(value, Tensor):
            found[name] = value
        elif value != said.default:
            return None
    return found


def _writes(target: Any) -> bool:
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what torch.export prints and logs of a failure, which the error says in a line."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
