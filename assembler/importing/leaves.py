"""Modules that are ops: which op a module is, and its arguments read back from its attributes.

An op is believed only if the module that it makes is the same one but for the values of its weights.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from assembler import registry
from assembler.errors import AssemblerError
from assembler.graph.edit import step
from assembler.infer.make import arguments, make
from assembler.registry import Entry, Param, torch_names

Args = tuple[tuple[str, Any], ...]
_PLAIN = (bool, int, float, str, tuple, type(None))
_UNSAID = object()
_RATES = ("p", "drop_prob", "drop_rate", "prob", "drop_path")


def op_of(module: nn.Module) -> Entry | None:
    """The op whose class a module is an instance of, exactly; None for all that the registry does not know."""
    kind = type(module)
    if kind.__module__.startswith("torch.nn.modules."):
        return torch_names.find(kind.__name__) if getattr(nn, kind.__name__, None) is kind else None
    return _own().get((kind.__module__, kind.__qualname__))


def dropped_paths(module: nn.Module) -> float | None:
    """The probability with which a module drops whole samples in training (stochastic depth); None for all others.

    Such a module has no weights, holds one probability and is called what it is in many libraries. It is believed only
    for what it does: nothing in evaluation, and in training each sample is zero or scaled up as a whole.
    """
    rates = [v for n, v in vars(module).items() if isinstance(v, float) and n in _RATES]
    named = any(word in type(module).__name__.lower() for word in ("droppath", "stochasticdepth"))
    if not named or len(rates) != 1 or not 0 <= rates[0] < 1 or [*module.children(), *module.state_dict()]:
        return None
    return rates[0] if _drops_samples(module, rates[0]) else None


def _drops_samples(module: nn.Module, p: float) -> bool:
    x, mode = torch.ones(64, 2, 3), module.training
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            same, made = module.eval()(x), module.train()(x)
        except Exception:  # it takes something else, whatever that is
            return False
        finally:
            module.train(mode)
    rows = made[:, :1, :1].expand_as(x)
    kept = torch.isclose(rows, torch.tensor(1 / (1 - p)))
    return torch.equal(same, x) and torch.equal(made, rows) and bool((kept | (rows == 0)).all())


def _own() -> dict[tuple[str, str], Entry]:
    return _entries(tuple(registry.names("op")))


@functools.lru_cache(maxsize=8)
def _entries(names: tuple[str, ...]) -> dict[tuple[str, str], Entry]:
    entries = [registry.lookup("op", name) for name in names]
    return {(e.module, e.qualname): e for e in entries if e.shape == "class"}


def read_back(module: nn.Module, entry: Entry, shapes: Sequence[tuple[int, ...]]) -> Args | None:
    """The arguments with which `entry` makes this module for inputs of these shapes, or None where none do."""
    choices = [list(_values(module, param)) for param in entry.params if param.inferred != "body"]
    for chosen in itertools.islice(itertools.product(*choices), 64):
        args = {name: value for name, value in chosen if value is not _UNSAID}
        try:
            args = _needed(entry, args, shapes)
            with torch.device("meta"):
                made = make(entry, args, shapes)
        except (AssemblerError, TypeError):
            continue
        if isinstance(made, nn.Module) and same(made, module):
            return step(entry.name, args, ("x",)).args
    return None


def _values(module: nn.Module, param: Param) -> Iterator[tuple[str, Any]]:
    """What an argument may have been, the simplest first."""
    value = getattr(module, param.argument, _UNSAID)
    if isinstance(value, Tensor) or (value is None and param.argument in module._parameters):
        value = value is not None
    if isinstance(value, torch.Size | list):
        value = tuple(value)
    if isinstance(value, tuple) and value and len(set(value)) == 1 and param.type.accepts(value[0]):
        yield param.name, value[0]
    if isinstance(value, _PLAIN):
        yield param.name, value
    if not param.required:
        yield param.name, _UNSAID


def _needed(entry: Entry, args: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """The arguments without those that the inputs' shapes give anyway."""
    inferred = {p.name: p.argument for p in entry.params if p.inferred and p.name in args}
    if not inferred:
        return dict(args)
    bound = arguments(entry, {n: v for n, v in args.items() if n not in inferred}, shapes)
    return {n: v for n, v in args.items() if n not in inferred or bound[inferred[n]] != v}


def same(a: nn.Module, b: nn.Module) -> bool:
    """Whether two modules differ in nothing but the values and the trainability of their tensors and their mode."""
    if not _of_a_kind(a, b) or _tensors(a) != _tensors(b) or _settings(a) != _settings(b):
        return False
    mine, theirs = dict(a.named_children()), dict(b.named_children())
    return list(mine) == list(theirs) and all(same(mine[n], theirs[n]) for n in mine)


def _of_a_kind(a: nn.Module, b: nn.Module) -> bool:
    """Whether two modules run the same code; generated modules have a class each."""
    if isinstance(a, fx.GraphModule) and isinstance(b, fx.GraphModule):
        return a.code == b.code
    return type(a) is type(b)


def _tensors(module: nn.Module) -> dict[str, Any]:
    held = {**module._parameters, **module._buffers}
    kinds = {n: None if t is None else (tuple(t.shape), t.dtype, n in module._parameters) for n, t in held.items()}
    return kinds | {f"kept {n}": True for n in module._non_persistent_buffers_set}


def _settings(module: nn.Module) -> dict[str, Any]:
    own = {n: v for n, v in module.__dict__.items() if isinstance(v, _PLAIN) and n != "training"}
    return {
        n: v for n, v in own.items() if not n.startswith("_is_hf") and n not in ("forward", "_is_full_backward_hook")
    }
