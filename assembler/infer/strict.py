"""What the `meta` kernels of torch do not look at, asked of those of the CPU: types of tensors, axes, convolutions."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_ABOUT_TYPES = re.compile("type|support|implement")
_SMALL = 16
"""An axis is no longer than this where only the types are asked about."""
_LARGE = 1 << 24
"""Elements of what a call is given, in all, beyond which the CPU is not asked with the sizes that they have."""


class Strict(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises what the CPU raises of the types, axes and numbers that an operator is given, and `meta` passes over."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "aten":
            _look(func, args, kwargs)
        return func(*args, **kwargs)


def _look(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    tensors = list(_tensors((*args, *kwargs.values())))
    if not tensors:
        return
    if _is_odd(func, args, kwargs, tensors):
        _ask(func, args, kwargs, tensors, lambda t: t.shape)
    dtypes = tuple([t.dtype for t in tensors])
    if (len({*dtypes}) > 1 or not dtypes[0].is_floating_point) and (func, dtypes) not in _ACCEPTED:
        _ask_types(func, args, kwargs, tensors)
        _ACCEPTED.add((func, dtypes))


def _tensors(given: Iterable[Any]) -> Iterator[Tensor]:
    for value in given:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


_ACCEPTED: set[tuple[Any, tuple[torch.dtype, ...]]] = set()
"""Operators and the types that the CPU took."""


def _is_odd(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[Tensor]) -> bool:
    """Whether an axis does not exist, or the numbers of a convolution are not those of its axes."""
    if func is torch.ops.aten.convolution.default:
        x, weight, _, stride, padding, dilation, _, added, _ = args
        axes = x.ndim - 2
        if weight.ndim != x.ndim or any(len(given) not in (1, axes) for given in (stride, padding, dilation, added)):
            return True
        return bool(min(*stride, *dilation) < 1 or min(padding) < 0 or max(added) >= max(*stride, *dilation))
    place = _axis(func)
    if place is None:
        return False
    number, name = place
    dim = args[number] if number < len(args) else kwargs.get(name, 0)
    axes = max(tensors[0].ndim, 1)
    return isinstance(dim, int) and not -axes <= dim < axes


@functools.cache
def _axis(func: Any) -> tuple[int, str] | None:
    """Where an operator on a tensor takes one axis of it."""
    given = func._schema.arguments
    if not given or str(given[0].type) != "Tensor":
        return None
    return next(((n, a.name) for n, a in enumerate(given) if a.name == "dim" and str(a.type) == "int"), None)


def _ask_types(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[Tensor]) -> None:
    """Ask with short axes; what is refused because of its types is asked again with the sizes that it has."""
    try:
        _ask(func, args, kwargs, tensors, lambda t: [min(n, _SMALL) for n in t.shape])
    except LinAlgError:  # numbers were at fault, and they are none of the model's
        return
    except Exception as error:
        if _ABOUT_TYPES.search(str(error)):
            _ask(func, args, kwargs, tensors, lambda t: t.shape)


def _ask(
    func: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    tensors: Sequence[Tensor],
    size: Callable[[Tensor], Sequence[int]],
) -> None:
    """Call an operator on the CPU, on tensors of these sizes that take no memory. Raises what it raises."""
    plain = all(t.is_meta and t.layout == torch.strided and not t.is_quantized for t in tensors)
    if not plain or func._schema.is_mutable or "device" in kwargs or sum(t.numel() for t in tensors) > _LARGE:
        return

    def there(t: Tensor) -> Tensor:
        fill = 1 if t.is_floating_point() or t.is_complex() else 0  # an index that there is
        return torch.full((), fill, dtype=t.dtype, device="cpu").expand(tuple(size(t)))

    with torch.random.fork_rng(devices=[]):
        func(*tree_map_only(Tensor, there, tuple(args)), **tree_map_only(Tensor, there, dict(kwargs)))
