"""One parameter under two names: the output layer of a language model that is its embedding."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from assembler.errors import GraphError
from assembler.graph.shares import TRANSPOSED


def tie(step: Any, name: str, owner: Any, parameter: str) -> None:
    """Make `name` of the module `step` the very parameter `parameter` of the module `owner`, or for `parameter.T` that
    matrix transposed, which is then no parameter of the step.

    Raises GraphError where one of them does not exist or their shapes differ.
    """
    turned, parameter = parameter.endswith(TRANSPOSED), parameter.removesuffix(TRANSPOSED)
    ours, theirs = _holder(step, name), _holder(owner, parameter)
    old, new = getattr(*ours, None), getattr(*theirs, None)
    for module, found, said in ((step, old, name), (owner, new, parameter)):
        if not isinstance(found, nn.Parameter):
            known = [n for n, _ in module.named_parameters()] if isinstance(module, nn.Module) else []
            hint = f"it has {', '.join(known)}" if known else "it has no parameters"
            raise GraphError(f"a {type(module).__name__} has no parameter '{said}' to share", hint=hint)
    assert old is not None and new is not None
    if turned and new.ndim != 2:
        raise GraphError(f"'{parameter}' {list(new.shape)} is no matrix that could be transposed")
    if turned and old.shape == new.T.shape:
        transposed(*ours, *theirs)
        return
    if turned or old.shape != new.shape:
        parameter += TRANSPOSED * turned
        new = new.T if turned else new
        what = f"'{name}' {list(old.shape)} cannot be '{parameter}' {list(new.shape)}: their shapes differ"
        raise GraphError(what)
    setattr(*ours, new)


def transposed(module: nn.Module, name: str, owner: nn.Module, parameter: str) -> None:
    """Make the matrix `name` of a module that of another, transposed: it is read where it is used and held once."""
    delattr(module, name)
    module.__dict__[f"{name}_owner"] = owner  # beside the sub-modules: its weights are not the module's own
    kind: Any = type(module)
    module.__class__ = reading(kind, name, parameter)


@functools.cache
def reading(kind: Any, name: str, parameter: str) -> Any:
    """A class like `kind` whose `name` is the transposed matrix `parameter` of the module that an instance holds."""
    read = property(lambda self: getattr(self.__dict__[f"{name}_owner"], parameter).T)
    return type(kind.__name__, (kind,), {name: read, "__module__": kind.__module__})


def lend(step: Any, name: str) -> None:
    """Make `name` of the module `step` a tensor that is no parameter of it: one of a module that is not there.

    Raises GraphError where there is no such parameter.
    """
    holder, last = _holder(step, name)
    found = getattr(holder, last, None)
    if not isinstance(found, nn.Parameter):
        raise GraphError(f"a {type(step).__name__} has no parameter '{name}' to share")
    delattr(holder, last)
    holder.__dict__[last] = found


def _holder(module: Any, name: str) -> tuple[Any, str]:
    *parents, last = name.split(".")
    for part in parents:
        module = getattr(module, part, None)
    return module, last
