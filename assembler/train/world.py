"""The processes that train one model together, as one of them knows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

How = Literal["ddp", "fsdp"]
_SEED = 1_000_003  # between the seeds of two processes


@dataclass(frozen=True)
class World:
    """The processes of a training: which of them this is, of how many, and how they share it.

    With "ddp" each has all weights, with "fsdp" those of the model are divided among them.
    """

    rank: int
    size: int
    how: How = "ddp"

    def bounds(self, samples: int) -> list[int]:
        """Where the slices of a batch begin, and where the last one ends."""
        return [rank * samples // self.size for rank in range(self.size + 1)]


_WORLD: ContextVar[World | None] = ContextVar("world", default=None)


def world() -> World | None:
    """The processes that train together with this one, or None where it trains alone."""
    return _WORLD.get()


@contextmanager
def together(among: World) -> Iterator[None]:
    """Train in the block as one of several processes, which have joined a process group of torch."""
    token = _WORLD.set(among)
    try:
        yield
    finally:
        _WORLD.reset(token)


def seed_of(seed: int) -> int:
    """The seed of what this process draws in a training of that seed."""
    among = world()
    return seed + _SEED * among.rank if among else seed


def full(tensor: Tensor) -> Tensor:
    """A tensor as a whole, where it is divided among processes."""
    whole = getattr(tensor, "full_tensor", None)
    return whole() if whole else tensor


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """The weights of a model by name, whole and on the CPU."""
    return {name: full(tensor).cpu() for name, tensor in module.state_dict().items()}
