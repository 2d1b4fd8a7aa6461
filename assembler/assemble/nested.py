"""Training all variants of a slot at once inside their frozen host, the smaller ones nested in the largest.

Every step trains one of them, drawn with a probability proportional to 1 / its parameters, as Puzzle distils all widths
of a block at once. There neurons are sorted by importance before; here they have the order that they begin with.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from assembler.assemble.fitting import Bench
from assembler.assemble.frozen import AVERAGE
from assembler.assemble.incubate import Seat, Seated, seated
from assembler.assemble.inherit import Account
from assembler.assemble.models import Training
from assembler.assemble.supernet.library import Library
from assembler.assemble.values import ValueCache
from assembler.assemble.weights import Weights
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.infer.cost import total
from assembler.train.data.core import Data, Split
from assembler.train.loop import FitResult, Hooks
from assembler.train.steps import free
from assembler.train.world import world


@dataclass(frozen=True)
class Nested:
    """Variants that were trained at once: the weights of each by its own keys, and how many steps have trained it.

    The rest is as in `Incubated`; what the weights began with is told of the first variant.
    """

    weights: tuple[Weights, ...] = field(repr=False)
    drawn: tuple[int, ...]
    fit: FitResult | None
    flops: int
    account: Account | None
    shared: Mapping[str, int] = field(default_factory=dict)


def incubate_nested(
    seats: Sequence[Seat], data: Data, training: Training, hooks: Hooks | None = None, cache: ValueCache | None = None
) -> Nested:
    """Train several parts for one seat at once, the largest being the first; all else stays bit for bit as it is.

    A step that parts have alike has one set of weights, of which each part has the first channels and the middle of
    the kernel (see `Library`); they begin as what the first part that has most of them begins with. Running statistics
    are each part's own. Raises RecipeError for what cannot be trained so.
    """
    if (among := world()) and among.how == "fsdp":
        raise RecipeError("nested variants cannot be divided among processes", hint="use ddp")
    if any(name.startswith(AVERAGE) for name in training.needs):
        raise RecipeError("the average of nested variants has no values to compare with", hint="leave out 'nested'")
    parts = _told_alike([seated(seat, data, training) for seat in seats])
    variants, account = _variants(parts, data.train, training.seed)
    trained, result, spent = variants.trained(parts), None, 0
    shared: Mapping[str, int] = {}
    if trained and training.spec.total_steps(1):
        beside = parts[0].beside(data.train)
        bench = Bench(variants, parts[0].tail, beside, seats[0].device, parts[0].names, cache=cache)
        fitted = bench.fit(trained, data, training, hooks)
        result, shared = fitted.result, fitted.shared
        once = sum(one.flops * n for one, n in zip(parts, variants.drawn, strict=True))
        spent = once * result.samples // result.steps + fitted.beside
    weights = tuple(one.own(tail.weights(variants.library)) for one, tail in zip(parts, variants.tails, strict=True))
    return Nested(weights, tuple(variants.drawn), result, spent, account, shared)


def _told_alike(parts: Sequence[Seated]) -> list[Seated]:
    """The parts with tails that are given the same values by the same names."""
    types = {i: dict(one.tail.inputs)[name] for one in parts for name, i in one.frontier.items()}
    taken = {i for one in parts for i in one.tail.nodes}
    names = {i: free(f"x{n}", taken) for n, i in enumerate(types)}
    inputs = tuple((names[i], kind) for i, kind in types.items())
    made = []
    for one in parts:
        known = {name: names[i] for name, i in one.frontier.items()}
        nodes = {i: node.reading(known) for i, node in one.tail}
        outputs = tuple((name, known.get(i, i)) for name, i in one.tail.outputs)
        tail = replace(one.tail, inputs=inputs, nodes=nodes, outputs=outputs)
        made.append(replace(one, tail=tail, frontier={name: i for i, name in names.items()}))
    return made


@dataclass(frozen=True)
class _Tail:
    """A part's tail: its graph, a module without weights, its own buffers, how likely it is drawn."""

    graph: Graph
    module: nn.Module
    buffers: Mapping[str, Tensor]
    chance: float

    def held(self, library: Library) -> dict[str, Tensor]:
        """What the module computes with, by name."""
        return {**library.weights(self.graph), **self.buffers}

    def weights(self, library: Library) -> Weights:
        """A copy of its weights by `state_dict` key."""
        held = self.held(library)
        return {name: held[name].detach().cpu().clone() for name in self.module.state_dict()}


class _Variants(nn.Module):
    """The tails of all parts as one module with the weights of one library: each call is one of them, drawn anew."""

    def __init__(self, library: Library, tails: Sequence[_Tail], seed: int) -> None:
        super().__init__()
        self.library, self.tails, self.drawn = library, tails, [0] * len(tails)
        self.parts = nn.ParameterList(library.params.values())
        self._rng = random.Random(seed)

    def trained(self, parts: Sequence[Seated]) -> dict[str, nn.Parameter]:
        """What is trained, by its path, or by the library's key where other weights have that."""
        found: dict[str, nn.Parameter] = {}
        for one, tail in zip(parts, self.tails, strict=True):
            keys = self.library.keys(tail.graph)
            for name in one.trained(tail.module):
                parameter = self.library.params[keys[name]]
                found[name if found.get(name, parameter) is parameter else keys[name]] = parameter
        return found

    def forward(self, **given: Tensor) -> Any:
        """What leaves the tail that is drawn."""
        i = self._rng.choices(range(len(self.tails)), [tail.chance for tail in self.tails])[0]
        self.drawn[i] += 1
        return functional_call(self.tails[i].module, self.tails[i].held(self.library), (), given)


def _variants(parts: Sequence[Seated], data: Split, seed: int) -> tuple[_Variants, Account | None]:
    """The parts' tails with the weights that they begin with, and the account of those of the first."""
    library, tails, accounts = Library("nested", seed, parts[0].seat.device), [], []
    for one in parts:
        module, account = one.begun(data)
        library.reserve([one.tail], module.state_dict())
        buffers = {name: tensor.clone() for name, tensor in module.named_buffers()}
        chance = 1 / total(one.seat.part).params if one.trained(module) else 0.0
        tails.append(_Tail(one.tail, module.to("meta"), buffers, chance))
        accounts.append(account)
    return _Variants(library, tails, seed), accounts[0]
