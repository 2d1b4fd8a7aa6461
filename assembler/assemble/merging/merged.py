"""Models of one graph merged weight by weight, by a registered method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assembler import registry
from assembler.assemble.merging.depth import Along, depths, number, varies
from assembler.assemble.merging.tensors import Tensors
from assembler.assemble.models import Model
from assembler.assemble.weights import Weights
from assembler.compile.lower import lower
from assembler.compile.steps import step_seed
from assembler.errors import InputError
from assembler.graph.diff import diff
from assembler.registry import Entry


@dataclass(frozen=True)
class _Way:
    """A method with its options, those apart that differ along the model."""

    entry: Entry
    plain: Mapping[str, Any]
    along: Mapping[str, Along]

    @staticmethod
    def of(said: str | Mapping[str, Any]) -> _Way:
        whole: dict[str, Any] = {"name": said} if isinstance(said, str) else dict(said)
        along = {name: value for name, value in whole.items() if varies(value)}
        middle = {name: number(_any(value), "", 0.5, f"'{name}'") for name, value in along.items()}
        entry, options = registry.wanted("merge", {**whole, **middle})
        return _Way(entry, {n: v for n, v in options.items() if n not in along}, along)

    def __call__(self, at: Tensors, key: str, depth: float) -> Tensor:
        options = {n: number(said, key, depth, f"'{n}'") for n, said in self.along.items()}
        found: Tensor = self.entry.load()(at, **self.plain, **options)
        return found


def merged(
    models: Sequence[Model],
    method: str | Mapping[str, Any] = "linear",
    *,
    base: Model | None = None,
    weights: Sequence[Along] | None = None,
    seed: int = 0,
) -> Weights:
    """The weights of one model made of several of the same graph; `assembler ls merges` lists the methods.

    `method` is a name, or a mapping of it and its options; `weights` are one for each model, 1 by default. These and
    the options that are numbers may be lists, which are interpolated from the first step with weights to the last, or
    mappings of patterns of paths. `base` is the model that all were tuned from. Running statistics are averaged,
    counters are the first model's; merged statistics fit the merged weights only roughly. Raises InputError where the
    models differ in more than their weights, or the method needs something that is not given.
    """
    way, mean = _Way.of(method), _Way.of("linear")
    _check(models, way.entry, base, weights)
    first, said = models[0], weights or [1.0] * len(models)
    module = lower(first.graph, device="meta")
    statistics = {name for name, _ in module.named_buffers()}
    deep = depths(first.graph, list(first.weights))

    def tensor(key: str) -> Tensor:
        share = tuple(number(one, key, deep[key], "a model's weight") for one in said)
        generator = torch.Generator().manual_seed(step_seed(seed, key))
        there = None if base is None else base.weights[key].double()
        at = Tensors(tuple(one.weights[key].double() for one in models), share, generator, there)
        return (mean if key in statistics else way)(at, key, deep[key]).to(first.weights[key].dtype)

    found: Weights = {}
    seen: dict[int, str] = {}
    for key, held in module.state_dict(keep_vars=True).items():
        owner = seen.setdefault(id(held), key)
        if owner != key:  # tied weights stay one
            found[key] = found[owner]
        else:
            found[key] = tensor(key) if held.is_floating_point() else first.weights[key].clone()
    return found


def greedy(alone: Sequence[float], score: Callable[[Sequence[int]], float]) -> list[int]:
    """Which models are in a greedy soup, in order (Wortsman et al. 2022, recipe 1); more is better.

    `alone` are the models' own scores. They are tried from the best down; one stays if the merge scores no worse.
    """
    best, *rest = sorted(range(len(alone)), key=lambda n: -alone[n])
    kept, reached = [best], alone[best]
    for n in rest:
        if (found := score([*kept, n])) >= reached:
            kept, reached = [*kept, n], found
    return kept


def _check(models: Sequence[Model], entry: Entry, base: Model | None, weights: Sequence[Along] | None) -> None:
    many = entry.option("models", 0)
    if not models or (many and len(models) != many):
        raise InputError(f"{entry.name} merges {many or 'one or more'} models, and there are {len(models)}")
    if entry.option("base") and base is None:
        raise InputError(f"{entry.name} needs the base, the model that all were tuned from", hint="linear needs none")
    if weights is not None and len(weights) != len(models):
        raise InputError(f"there are {len(weights)} weights for {len(models)} models")
    for n, other in enumerate((*models[1:], *([base] if base else ())), 1):
        which = "the base" if base is not None and n == len(models) else f"model {n + 1}"
        if other.graph.fingerprint != models[0].graph.fingerprint:
            hint = f"the first difference: {diff(models[0].graph, other.graph).first}"
            raise InputError(f"{which} is another architecture than model 1, and only equal ones are merged", hint=hint)
        if strange := sorted(models[0].weights.keys() ^ other.weights.keys()):
            raise InputError(
                f"{which} has its weights under other names than model 1", hint=f"'{strange[0]}' is in one"
            )


def _any(said: Along) -> Along:
    """Some value of what differs along a model."""
    return next(iter(said.values())) if isinstance(said, Mapping) and said else said
