"""The example inputs that a module is traced with, by name, and the module as it is while it is looked at."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from assembler.errors import GraphError, near

_EXPERTS = "_experts_implementation_internal"
BATCH = 2
"""The batch of a trace's inputs where the example has but one sample, which torch.export takes for a constant."""


Axes = Mapping[str, tuple[int, ...]]
"""Axes of inputs, by their dotted names."""


@dataclass
class Inputs:
    """The example: tensors by dotted name, and how `forward` is called with them."""

    kwargs: dict[str, Any]
    batch: int

    @property
    def named(self) -> dict[str, Tensor]:
        """The tensors by name: `cache.k` for one inside of an argument."""
        found, _ = pytree.tree_flatten_with_path(self.kwargs)
        return {dotted(path): value for path, value in found if isinstance(value, Tensor)}

    def batched(self, value: Any) -> bool:
        """Whether a value has the batch as axis 0."""
        return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == self.batch

    def single(self) -> Inputs:
        """The same with float32 for every floating dtype."""
        return Inputs(pytree.tree_map(_single, self.kwargs), self.batch)

    def repeated(self, times: int) -> Inputs:
        """The same samples several times."""
        return self.of_batch(self.batch * times)

    def of_batch(self, size: int) -> Inputs:
        """So many samples: some are left out, or there again from the first on."""
        taken = torch.arange(size) % self.batch
        again = pytree.tree_map(lambda v: v.index_select(0, taken) if self.batched(v) else v, self.kwargs)
        return Inputs(again, size)

    def resized(self, sizes: Mapping[tuple[str, int], int]) -> Inputs:
        """The same with other sizes, by (name, axis): elements are left out, or there again from the first on."""

        def cut(path: tuple[Any, ...], value: Any) -> Any:
            for (name, axis), size in sizes.items():
                if name == dotted(path):
                    value = value.index_select(axis, torch.arange(size) % value.shape[axis])
            return value

        return Inputs(pytree.tree_map_with_path(cut, self.kwargs), self.batch)

    def open_axes(self, free: Axes) -> Any:
        """What torch.export is told of the inputs' axes: the batch is open, and those of `free` if they can be."""
        batch = torch.export.Dim.DYNAMIC if free else torch.export.Dim("batch")

        def said(path: tuple[Any, ...], value: Any) -> Any:
            axes = {axis: torch.export.Dim.AUTO for axis in free.get(dotted(path), ())}
            return ({0: batch} if self.batched(value) else {}) | axes or None

        return pytree.tree_map_with_path(said, self.kwargs)

    def free_axes(self, free: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """The axes that are written `INPUT.AXIS`. Raises GraphError for what is no such axis, or is the batch."""
        known, found = self.named, dict[str, tuple[int, ...]]()
        for said in free:
            name, _, axis = said.rpartition(".")
            if name not in known:
                hint = near(name, known) or f"it is INPUT.AXIS, and the inputs are {', '.join(known)}"
                raise GraphError(f"free axis '{said}': the example has no input '{name}'", hint=hint)
            if not axis.isdecimal() or not 0 < int(axis) < known[name].dim():
                last = known[name].dim() - 1
                raise GraphError(f"free axis '{said}': the axes of {name} that may be free are 1 to {last}")
            found[name] = tuple(dict.fromkeys((*found.get(name, ()), int(axis))))
        return found


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def known_values(returned: Any) -> Any:
    """What a module returns without what is no value of a graph, for instance the cache of a language model.

    Mappings lose it, and tuples and lists hold None in its place.
    """
    if isinstance(returned, Mapping):
        found = {key: known_values(value) for key, value in returned.items()}
        return {key: value for key, value in found.items() if value is not None}
    if isinstance(returned, tuple | list):
        members = [known_values(value) for value in returned]
        return type(returned)(*members) if hasattr(returned, "_fields") else type(returned)(members)
    plain = isinstance(returned, Tensor | int | float | str) or pytree.tree_leaves(returned) != [returned]
    return returned if plain else None


def dotted(path: tuple[Any, ...]) -> str:
    """A place in nested values as a name: `hidden.0`."""
    return ".".join(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path)


def output_name(path: tuple[Any, ...]) -> str:
    """The name of an output at a place in what a module returns: `output` for a lone one, `output.0`, `logits`."""
    name = dotted(path) or "output"
    return f"output.{name}" if name[0].isdecimal() else name


def outputs_of(returned: Any) -> dict[str, Tensor]:
    """The tensors among what a module returns, by the names that they have as outputs."""
    found, _ = pytree.tree_flatten_with_path(known_values(returned))
    return {output_name(path): value for path, value in found if isinstance(value, Tensor)}


def inputs_of(module: nn.Module, example: Any) -> Inputs:
    """The example inputs by the names of `forward`'s arguments; a lone sample is there twice.

    Raises GraphError where they are not what `forward` takes.
    """
    args, kwargs = _split(example)
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise GraphError(f"the example inputs do not fit {type(module).__name__}.forward: {error}") from None
    given: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            raise GraphError(f"{type(module).__name__}.forward takes any number of inputs (*{name})", hint="name them")
        given |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    sizes = [len(v) for v in pytree.tree_leaves(given) if isinstance(v, Tensor) and v.dim()]
    if not sizes:
        raise GraphError("the example inputs hold no tensor with a batch as its first axis")
    found = Inputs(given, sizes[0])
    return found.repeated(BATCH) if found.batch == 1 else found


def single(module: nn.Module) -> nn.Module:
    """The module, or where it has weights of another floating dtype a copy of it in float32."""
    tensors = (*module.parameters(), *module.buffers())
    if all(t.dtype == torch.float32 for t in tensors if t.is_floating_point()):
        return module
    return copy.deepcopy(module).float()


def _split(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    return ((example,) if isinstance(example, Tensor) else tuple(example)), {}


def _caches(config: Any) -> bool:
    return getattr(config, "use_cache", None) is True


@contextmanager
def batched_experts(module: nn.Module) -> Iterator[None]:
    """Experts of transformers as one batched product, which is the form of theirs that can be traced."""
    found: dict[int, tuple[Any, Any]] = {}
    for inner in module.modules():
        offers = getattr(type(inner), "_can_set_experts_implementation", None)
        config = getattr(inner, "config", None)
        if offers is not None and offers() and getattr(config, _EXPERTS, None):
            found.setdefault(id(config), (config, getattr(config, _EXPERTS)))
    try:
        for config, _ in found.values():
            setattr(config, _EXPERTS, "batched_mm")
        yield
    finally:
        for config, before in found.values():
            setattr(config, _EXPERTS, before)


@contextmanager
def training(module: nn.Module) -> Iterator[None]:
    """Like `evaluating`, in training; buffers and torch's generator are as they were afterwards.

    Steps that keep running statistics stay in evaluation, since whether they are traced in one or the other is one.
    """
    kept = {buffer: buffer.detach().clone() for buffer in module.buffers()}
    with evaluating(module), torch.random.fork_rng(devices=[]):
        module.train()
        for inner in module.modules():
            if isinstance(inner, nn.modules.batchnorm._NormBase):
                inner.eval()
        try:
            yield
        finally:
            for buffer, before in kept.items():
                buffer.copy_(before)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation, no gradients, attention by its plain path; all as it was afterwards."""
    modes = {inner: inner.training for inner in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        found: dict[int, Any] = {id(c): c for inner in modes if _caches(c := getattr(inner, "config", None))}
        module.eval()
        try:
            for config in found.values():
                config.use_cache = False  # of transformers: a cache is no value of a graph, and its writes no steps
            yield
        finally:
            for config in found.values():
                config.use_cache = True
            for inner, training in modes.items():
                inner.training = training
