"""Modules that cannot be traced, kept as one step: an op of this process that calls the live module.

The op's name tells the class and what the module is made of (`opaque.Router_1f0c...`); its weights stay in the
`state_dict` under their own names. In another process the op is not there: to be loaded, a model needs its Python
back, which `kept` writes a plug-in file for.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from assembler.infer.batch import Size
from assembler.registry import Entry
from assembler.registry.live import LIVE
from assembler.resources import OPAQUE

PREFIX = f"{OPAQUE}."


@dataclass(frozen=True)
class Made:
    """A tensor that a module makes: its sizes, by batch, and its dtype."""

    sizes: tuple[Size, ...]
    dtype: torch.dtype

    def like(self, batch: Any, device: torch.device | str) -> Tensor:
        """An empty tensor of this kind."""
        return torch.empty([s.at(batch) for s in self.sizes], dtype=self.dtype, device=device)


@dataclass(frozen=True)
class Signature:
    """How a module is called and what it makes.

    `spec` and `rest` put the tensors back among the other arguments; `batch` is the (input, axis, times) that tells the
    batch, of which the axis is so many times, and `returns` is how the tensors that it makes lie in what it returns.
    """

    spec: Any
    rest: tuple[Any, ...]
    batch: tuple[int, int, int] | None
    makes: tuple[Made, ...]
    returns: Any = field(compare=False, default=None)

    def arguments(self, tensors: Sequence[Tensor]) -> tuple[Any, Any]:
        """(args, kwargs) of a call with these tensors."""
        given = iter(tensors)
        leaves = [next(given) if v is Tensor else v for v in self.rest]
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        return args, kwargs

    def empty(self, tensors: Sequence[Tensor], device: torch.device | str) -> tuple[Tensor, ...]:
        """What the module would make of these tensors, without values."""
        at, axis, times = self.batch or (0, 0, 0)
        batch = tensors[at].shape[axis] // times if times > 1 else tensors[at].shape[axis] if times else 0
        return tuple(made.like(batch, device) for made in self.makes)


def named(module: nn.Module, called: Signature) -> str:
    """The name of the op that a module is. The same module gets the same name again, in any process."""
    kind = type(module)
    said = [kind.__qualname__, _source(kind), _contents(module), repr(called.rest), repr(called.makes)]
    return f"{PREFIX}{kind.__name__}_{hashlib.blake2b(repr(said).encode(), digest_size=6).hexdigest()}"


def register(module: nn.Module, called: Signature) -> str:
    """Make a module an op of this process; the op's name."""
    kind, name = type(module), named(module, called)
    live = functools.partial(copied, module, called)
    LIVE["op", name] = Entry(
        "op",
        name,
        (),
        variadic=True,
        doc=f"The module {kind.__qualname__} of {kind.__module__}, as it is.",
        module=kind.__module__,
        qualname=kind.__qualname__,
        source=name,
        options=(("outputs", "numbered"),) if len(called.makes) > 1 else (),
        live=live,
        shape="class",
    )
    return name


def copied(module: nn.Module, called: Signature) -> nn.Module:
    """A module of its own with the same weights, called with tensors alone."""
    made = copy.deepcopy(module)
    made.__dict__.pop("forward", None)
    made.__class__ = _class(type(module), called)
    meta = torch.get_default_device().type == "meta"
    return made.to("meta") if meta else made


def _class(kind: type[nn.Module], called: Signature) -> type[nn.Module]:
    def forward(self: nn.Module, *xs: Tensor) -> Any:
        if xs and xs[0].is_meta:
            found = called.empty(xs, "meta")
        else:
            args, kwargs = called.arguments(xs)
            found = tuple(v for v in pytree.tree_leaves(kind.forward(self, *args, **kwargs)) if isinstance(v, Tensor))
        return found if len(found) > 1 else found[0]

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def _contents(module: nn.Module) -> str:
    plain = (bool, int, float, str, tuple, type(None))
    lines = []
    for path, inner in module.named_modules():
        settings = sorted((n, repr(v)) for n, v in inner.__dict__.items() if isinstance(v, plain) and n != "training")
        held = {**inner._parameters, **inner._buffers}
        tensors = [(n, None if t is None else (tuple(t.shape), str(t.dtype))) for n, t in held.items()]
        lines.append((path, type(inner).__qualname__, settings, tensors))
    return repr(lines)


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        code = getattr(getattr(kind, "forward", None), "__code__", None)
        return f"{code.co_code.hex()} {code.co_names}" if code else kind.__qualname__
