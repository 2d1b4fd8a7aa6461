"""How opaque parts are called and what they make, seen by running the model at two batches."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from assembler.errors import GraphError
from assembler.importing.example import Inputs, evaluating
from assembler.importing.opaque import Made, Signature
from assembler.infer.batch import fitted


def recorded(module: nn.Module, inputs: Inputs, paths: frozenset[str]) -> dict[str, list[Signature]]:
    """How the modules at these paths are called and what they make, seen by running the model at two batches."""
    if not paths:
        return {}
    runs = [_watched(module, given, paths) for given in (inputs, inputs.repeated(2))]
    found: dict[str, list[Signature]] = {}
    for path in paths:
        if not runs[0][path]:
            raise GraphError(f"'{path}' is not called, it cannot be a leaf", path=path)
        pairs = zip(runs[0][path], runs[1][path], strict=True)
        found[path] = [_signature(a, b, (inputs.batch, 2 * inputs.batch)) for a, b in pairs]
    return found


def _watched(module: nn.Module, inputs: Inputs, paths: frozenset[str]) -> dict[str, list[tuple[Any, Any]]]:
    seen: dict[str, list[tuple[Any, Any]]] = {path: [] for path in paths}
    hooks = []
    for path in paths:
        inner = module.get_submodule(path)
        note = functools.partial(lambda p, _m, args, kwargs, out: seen[p].append(((args, kwargs), out)), path)
        hooks.append(inner.register_forward_hook(note, with_kwargs=True))
    try:
        with evaluating(module):
            module(**inputs.kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _signature(small: tuple[Any, Any], big: tuple[Any, Any], batches: tuple[int, int]) -> Signature:
    given, spec = pytree.tree_flatten(small[0])
    made, returns = pytree.tree_flatten(small[1])
    tensors = [(a, b) for a, b in zip(given, pytree.tree_leaves(big[0]), strict=True) if isinstance(a, Tensor)]
    axes = ((n, k, _times(a.shape[k], b.shape[k], batches)) for n, (a, b) in enumerate(tensors) for k in range(a.dim()))
    batch = min((axis for axis in axes if axis[2]), key=lambda axis: axis[2], default=None)
    pairs = [(a, b) for a, b in zip(made, pytree.tree_leaves(big[1]), strict=True) if isinstance(a, Tensor)]
    makes = tuple(
        Made(tuple(fitted(m, n, batches) for m, n in zip(a.shape, b.shape, strict=True)), a.dtype) for a, b in pairs
    )
    rest = tuple(flat_kind(v) for v in given)
    return Signature(spec, rest, batch, makes, (tuple(flat_kind(v) for v in made), returns))


def _times(small: int, big: int, batches: tuple[int, int]) -> int:
    """How many times the batch a size is, 0 where it is not."""
    size = fitted(small, big, batches)
    return 0 if size.plus else size.times


def flat_kind(value: Any) -> Any:
    """`Tensor` for a tensor, and any other value as it is."""
    return Tensor if isinstance(value, Tensor) else value
