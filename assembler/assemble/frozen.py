"""Values that training does not change: what frozen models say of each sample, computed once where memory allows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from assembler.assemble.hybrid import cut_down, value_paths
from assembler.assemble.models import Model, Training, named
from assembler.assemble.values import ValueCache, key_of
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.errors import InputError
from assembler.graph.core import Graph
from assembler.graph.modes import in_mode
from assembler.graph.values import with_items
from assembler.infer.batch import Size, batch_sizes
from assembler.infer.cost import total
from assembler.infer.resized import size_hint
from assembler.infer.shape import shapes
from assembler.train.data.core import Data, Split

AVERAGE = "ema."
"""How the names of values of the averaged copy begin."""
MOST_BYTES = 1 << 31
"""Above this a split's frozen values are computed batch by batch instead of being kept."""


@dataclass(frozen=True)
class Frozen:
    """A frozen model that gives named values: `names` are what an objective or a tail calls the outputs of `graph`.

    `given` are the inputs that it is told, and the named values that these are, of other models or of the data.
    """

    graph: Graph
    module: nn.Module
    names: Mapping[str, str]
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        """FLOPs of one sample."""
        return total(self.graph).flops

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The named values for a batch that holds the graph's inputs, and what the model is told."""
        said = {name: batch[value] for name, value in self.given.items()}
        return named(self.module, self.graph, self.names)({**batch, **said})


@dataclass(frozen=True)
class Kept:
    """A split with values of frozen models among its fields.

    `shared` are the FLOPs that those took which a cache holds for others too, by their keys there.
    """

    split: Split
    shared: Mapping[str, int]


def piece(
    model: Model,
    wanted: Mapping[str, str],
    names: Mapping[str, str],
    device: torch.device | str,
    given: Mapping[str, str] | None = None,
) -> Frozen:
    """The piece of a model that gives the values `wanted` (output name -> id), called `names` in a batch.

    `given` are values that it is told (id -> named value) in the place of computing them.
    """
    inner, inputs = cut_down(model.graph, wanted, given or {})
    module = lower(inner)
    load_there(module, model.weights)
    return Frozen(inner, module.to(device).eval(), names, inputs)


def rows_of(
    model: Model, value: str, split: Split, axis: int = -1, samples: int = 512, *, batch: int = 128
) -> Iterator[Tensor]:
    """A value of a model for the first samples of a split, batch by batch: every position's features.

    The value is an id or an input's name, `axis` the one of its features: 1 of a map that a convolution reads, the last
    one of rows, tokens, and maps that a linear layer reads. All give [positions, features].
    """
    seen = in_mode(model.graph, "eval")
    one = piece(Model(seen, model.weights), {"v": value}, {"v": "v"}, "cpu")
    head = split.head(samples)
    for start in range(0, len(head), batch):
        found = one({name: tensor[start : start + batch] for name, tensor in head.fields.items()})["v"]
        moved = found.movedim(axis, -1)
        yield moved.reshape(-1, moved.shape[-1])


def owner(name: str, models: Container[str]) -> str | None:
    """Which of `models` a value such as `teacher.stage.1` belongs to."""
    head, dot, _ = name.partition(".")
    return head if dot and head in models else None


def own_values(needs: Iterable[str], models: Container[str], graph: Graph, data: Data) -> list[str]:
    """Those of the named values that the model in training itself gives: no other model's, no field of the data."""
    outputs, fields = dict(graph.outputs), data.train.fields
    theirs = (n for n in needs if owner(n, models) is None and not n.startswith(AVERAGE))
    return sorted(n for n in theirs if n not in fields or n in outputs)


def compared(
    models: Mapping[str, Model],
    needs: Iterable[str],
    slot: str = "",
    device: torch.device | str = "cpu",
    given: Mapping[str, str] | None = None,
) -> list[Frozen]:
    """The models that an objective compares with, each cut down to the values that it reads of them, `needs`.

    `given` are values that they do not compute, `teacher.mask`, with the named values which they are instead.
    """
    found, needs = [], set(needs)
    for key, model in models.items():
        names = sorted(n for n in needs if owner(n, models) == key)
        if names:
            inner = [n.partition(".")[2] for n in names]
            own = {n.partition(".")[2]: value for n, value in (given or {}).items() if owner(n, models) == key}
            model = Model(with_items(model.graph, [*inner, *own]), model.weights)
            paths = value_paths(model.graph, [*inner, *own], slot)
            wanted = {f"v{i}": paths[n] for i, n in enumerate(inner)}
            named_ = {f"v{i}": n for i, n in enumerate(names)}
            found.append(piece(model, wanted, named_, device, {paths[n]: value for n, value in own.items()}))
    return found


def of_turns(
    models: Mapping[str, Model], training: Training, device: torch.device | str = "cpu"
) -> tuple[list[Frozen], list[list[Frozen]]]:
    """The models that a training compares with: those that are given nothing, and for each turn those that it tells."""
    still, told = set[str](), []
    for objective in (move.objective for move in training.moves):
        whose = {owner(name, models) for name in objective.given} - {None}
        read = {name for name in objective.needs if owner(name, models) in whose}
        told.append(compared(models, read, device=device, given=objective.given))
        still |= objective.needs - read
    return compared(models, still, device=device), told


def kept(split: Split, frozen: Sequence[Frozen], cache: ValueCache | None = None, *, batch: int = 512) -> Kept | None:
    """The split with the frozen values as further fields, or None where they cannot be kept.

    That is so where they would not fit in memory, and where axis 0 of one is not the sample. With a `cache` values that
    were computed before, by whatever process, are read.
    """
    values: dict[str, Tensor] = {}
    shared: dict[str, int] = {}
    room, device = MOST_BYTES, next(iter(split.fields.values())).device
    for one in frozen:
        make, key = partial(_computed, one, split, room, batch), key_of(one, split) if cache else ""
        found = cache.get(key, make) if cache else make()
        if found is None:
            return None
        room -= sum(t.nbytes for t in found.values())
        values |= {one.names[name]: tensor.to(device) for name, tensor in found.items()}
        shared |= {key: one.flops * len(split)} if key else {}
    return Kept(Split({**split.fields, **values}, (*split.targets, *values)), shared)


def _computed(one: Frozen, split: Split, room: int, batch: int) -> dict[str, Tensor] | None:
    """The values of a split by the names of the graph's outputs, or None where they cannot be kept."""
    back = {said: name for name, said in one.names.items()}
    if not _by_sample(one.graph):
        return None
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(split), batch):
        fields = {name: tensor[start : start + batch] for name, tensor in split.fields.items()}
        for name, value in one(fields).items():
            parts.setdefault(back.get(name, name), []).append(value)
        if start == 0 and not _keepable(parts, min(batch, len(split)), len(split), room):
            return None
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def _by_sample(graph: Graph) -> bool:
    """Whether axis 0 of every output is the sample: a weight has rows too, and as many as a batch perhaps."""
    sizes = batch_sizes(graph, shapes(graph))
    return all(found is None or (found and found[0] == Size(1, 0)) for found in (sizes[i] for _, i in graph.outputs))


def _keepable(parts: Mapping[str, Sequence[Tensor]], size: int, total: int, room: int) -> bool:
    """Whether the values of `total` samples fit in `room` bytes, by those of the first `size`, and can be cut up."""
    first = [tensor for tensors in parts.values() for tensor in tensors]
    taken = sum(t.numel() * t.element_size() for t in first)
    return taken * total <= room * size and all(t.ndim and len(t) == size for t in first)


def check_inputs(graph: Graph, split: Split) -> None:
    """Raise InputError unless the data has a field of the right shape for every input of the model."""
    bound = dict(graph.only)
    for name, kind in graph.inputs:
        if name not in split.fields and name in bound:
            continue
        if name not in split.fields:
            have = ", ".join(split.inputs)
            raise InputError(f"the model reads '{name}', the data has {have}", hint="name the model's inputs alike")
        shape = tuple(split.fields[name].shape[1:])
        if shape != kind.shape[1:]:
            hint = size_hint(graph, name, shape)
            raise InputError(f"the model wants '{name}' {list(kind.shape[1:])}, the data has {list(shape)}", hint=hint)
