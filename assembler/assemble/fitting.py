"""One training run beside frozen models, whether of a part or of a whole model, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from assembler.assemble.frozen import AVERAGE, Frozen, kept
from assembler.assemble.hybrid import cut_down, value_paths, values_of
from assembler.assemble.models import Move, Training, named
from assembler.assemble.sharing import sharing
from assembler.assemble.values import ValueCache
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.graph.values import with_items
from assembler.infer.cost import train_flops
from assembler.train.augment import NONE, Augment
from assembler.train.data.batches import Batches
from assembler.train.data.core import Data
from assembler.train.ema import Average
from assembler.train.evaluate import Forward
from assembler.train.loop import FitResult, Hooks, fit_turns
from assembler.train.terms import in_turn
from assembler.train.turns import Turn
from assembler.train.world import world

Params = Mapping[str, nn.Parameter]


@dataclass(frozen=True)
class Fitted:
    """What a training run did, and the FLOPs of the models beside it: its own, and those shared with others by key."""

    result: FitResult
    beside: int
    shared: Mapping[str, int]


@dataclass(frozen=True)
class Bench:
    """A module to train, its graph, the frozen models beside it, and where it is trained.

    The frozen models' values are fields of a batch: inputs of the module, or targets of the objective. Models that are
    given values run after the module in every step; `told` are those of one turn alone, for each turn. `names` are the
    values that the graph's outputs stand for, where they bear other names; `validate` scores the module, or the average
    of its weights; `cache` holds frozen values that other trainings need too.
    """

    module: nn.Module
    graph: Graph
    frozen: Sequence[Frozen]
    device: torch.device | str = "cpu"
    names: Mapping[str, str] | None = None
    validate: Callable[[nn.Module], float] | None = None
    cache: ValueCache | None = None
    told: Sequence[Sequence[Frozen]] = ()

    def fit(self, trained: Params, data: Data, training: Training, hooks: Hooks | None = None) -> Fitted:
        """Train the parameters `trained` and nothing else.

        With an average of the weights as the result, the module has those weights in the end.
        """
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)
        for parameter in trained.values():
            parameter.requires_grad_(True)
        train = data.train.to(self.device)
        augment = Augment.from_spec(training.spec.augment)
        # Without augmentation the frozen models say the same of a sample in every epoch.
        still = [one for one in self.frozen if not one.given]
        held = kept(train, still, self.cache) if augment == NONE else None
        average, decides = self._average(training)
        each = [one for one in self.frozen if one.given or not held]
        told = self.told or [()] * len(training.moves)
        every = [[*each, *some, *self._mean(average, m)] for some, m in zip(told, training.moves, strict=True)]
        turns = [self._turn(m, trained, own, training) for m, own in zip(training.moves, every, strict=True)]
        batches = Batches(held.split if held else train, training.spec.batch, training.seed, augment)
        result = fit_turns(turns, batches, training.spec, self._hooked(hooks or Hooks(), average, decides))
        if average and decides:
            average.keep()
        shared = held.shared if held else {}
        once = len(train) * _flops(still) if held and not shared else 0
        return Fitted(result, once + sum(n * _flops(own) for n, own in zip(result.seen, every, strict=True)), shared)

    def flops(self, training: Training, result: FitResult) -> int:
        """FLOPs of a run by turns, forward and backward: each turn runs the steps that it reads, and no others."""
        spent = 0
        for move, seen in zip(training.moves, result.seen, strict=True):
            graph = values_of(self.graph, self._read_by(move))
            spent += train_flops(graph, [i for i in graph.nodes if move.trains(i)]) * seen
        return spent

    def _read_by(self, move: Move) -> dict[str, str]:
        """The outputs of the graph that a turn reads, name -> id."""
        known = self.names or {}
        found = {n: i for n, i in self.graph.outputs if known.get(n, n) in move.objective.needs}
        if not found:
            raise RecipeError(f"the objective of turn '{move.name}' reads no value of the model")
        return found

    def _turn(self, move: Move, trained: Params, beside: Sequence[Frozen], training: Training) -> Turn:
        params = {name: p for name, p in trained.items() if move.trains(name)}
        if not params:
            raise RecipeError(f"turn '{move.name}' trains {', '.join(move.paths)}, which has no weights to train")
        module, graph = self.module, self.graph
        if len(training.moves) > 1:
            module, graph = sharing(module, graph, self._read_by(move))
        forward = named(module, graph, self.names)
        return Turn(joined(beside, forward), move.objective, params, move.spec, move.name, move.every)

    def _average(self, training: Training) -> tuple[Average | None, bool]:
        if training.spec.average is None:
            return None, False
        decay, decides = training.spec.average
        return Average(self.module, decay), decides

    def _mean(self, average: Average | None, move: Move) -> list[Frozen]:
        """What gives the values of the average that the objective of a turn reads."""
        names = sorted(n for n in move.objective.needs if n.startswith(AVERAGE))
        if not names:
            return []
        if average is None:
            raise RecipeError(f"the objective reads '{names[0]}', and no average is kept", hint="ema: {decay: 0.999}")
        inner = [n.removeprefix(AVERAGE) for n in names]
        own = {n.removeprefix(AVERAGE): v for n, v in move.objective.given.items() if n.startswith(AVERAGE)}
        whole = with_items(self.graph, [*inner, *own])
        paths = value_paths(whole, [*inner, *own])
        wanted = {f"v{i}": paths[n] for i, n in enumerate(inner)}
        piece, inputs = cut_down(whole, wanted, {paths[n]: value for n, value in own.items()}, "train")
        module, graph = sharing(average.module, piece, dict(piece.outputs))
        return [Frozen(graph, module, {f"v{i}": n for i, n in enumerate(names)}, inputs)]

    def _hooked(self, hooks: Hooks, average: Average | None, decides: bool) -> Hooks:
        if self.validate:
            judged = average.module if average and decides else self.module
            validate = self.validate
            hooks = replace(hooks, validate=lambda: validate(judged))
        return replace(hooks, after=average.update) if average else hooks


def divided(module: nn.Module, trained: dict[str, nn.Parameter], training: Training) -> dict[str, nn.Parameter]:
    """The parameters to train once each process has its share of them; all, where none is divided."""
    among = world()
    if among is None or among.how != "fsdp":
        return trained
    if training.turns or training.spec.average or training.spec.constraints:
        held = "constraints" if training.spec.constraints else "an average of the weights"
        what = "several turns" if training.turns else held
        raise RecipeError(f"weights that are divided among processes are not trained with {what}", hint="use ddp")
    from assembler.train.parallel import sharded  # torch's own parts for this take longer to import than torch

    return sharded(module, trained)


def joined(beside: Sequence[Forward], forward: Forward) -> Forward:
    """The values of the models beside and of the one in training, which may read theirs.

    Models that are given values come last, each after those whose values these are. Raises RecipeError where that goes
    round in a circle.
    """
    if not beside:
        return forward
    waits = {_head(one): one for one in beside if isinstance(one, Frozen) and one.given}
    last = [waits[head] for head in in_turn({head: one.given.values() for head, one in waits.items()})]
    first = [one for one in beside if one not in waits.values()]

    def both(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = {n: v for one in first for n, v in one(batch).items()}
        values |= forward({**batch, **values})
        for one in last:
            values |= one({**batch, **values})
        return values

    return both


def _head(one: Frozen) -> str:
    """What an objective calls a model."""
    return next(iter(one.names.values())).partition(".")[0]


def _flops(beside: Sequence[Frozen]) -> int:
    """FLOPs of a sample."""
    return sum(one.flops for one in beside)
