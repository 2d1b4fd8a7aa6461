"""One parameter under two names: the output layer of a language model that is its embedding."""

from __future__ import annotations

from typing import Any

from torch import nn

from assembler.errors import GraphError


def tie(step: Any, name: str, owner: Any, parameter: str) -> None:
    """Make `name` of the module `step` the very parameter `parameter` of the module `owner`.

    Raises GraphError where one of them does not exist or their shapes differ.
    """
    ours, theirs = _holder(step, name), _holder(owner, parameter)
    old, new = getattr(*ours, None), getattr(*theirs, None)
    for module, found, said in ((step, old, name), (owner, new, parameter)):
        if not isinstance(found, nn.Parameter):
            known = [n for n, _ in module.named_parameters()] if isinstance(module, nn.Module) else []
            hint = f"it has {', '.join(known)}" if known else "it has no parameters"
            raise GraphError(f"a {type(module).__name__} has no parameter '{said}' to share", hint=hint)
    assert old is not None and new is not None
    if old.shape != new.shape:
        what = f"'{name}' {list(old.shape)} cannot be '{parameter}' {list(new.shape)}: their shapes differ"
        raise GraphError(what)
    setattr(*ours, new)


def _holder(module: Any, name: str) -> tuple[Any, str]:
    *parents, last = name.split(".")
    for part in parents:
        module = getattr(module, part, None)
    return module, last
