"""Where the workers of a runner are: processes of this machine, actors on a Ray cluster, or those of torchrun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.assemble.pool import Pool, Workers
from assembler.assemble.store import Store
from assembler.errors import InputError, near

if TYPE_CHECKING:
    from assembler.train.world import How

ENGINES = ("processes", "ray")


@dataclass(frozen=True)
class Engine:
    """What workers a run has: `name`, `address` and `gpus` as in `make_pool`.

    With `parallel` all processes that torchrun has started are one worker, and this is the first of them.
    """

    name: str = "processes"
    address: str | None = None
    gpus: float = 0.0
    parallel: How | None = None

    def pool(self, store: Store, workers: int, device: str) -> Workers:
        """Up to `workers` of them. Raises InputError as `make_pool` does."""
        if self.parallel is None:
            return make_pool(self.name, store, workers, address=self.address, gpus=self.gpus)
        from assembler.assemble.ranks import Ranks  # torch.distributed is for those who ask for it
        from assembler.train.device import resolve

        if self.name != "processes":
            raise InputError(
                f"processes that torchrun starts have no engine '{self.name}'", hint="leave one of them out"
            )
        return Ranks(store, self.parallel, resolve(device))


def make_pool(
    engine: str,
    store: Store,
    workers: int,
    *,
    address: str | None = None,
    devices: Sequence[str] = (),
    gpus: float = 0.0,
) -> Workers:
    """Up to `workers` workers on an engine.

    `address` is that of a Ray cluster (`auto`: the one that this machine belongs to; none: a new one here), of whose
    GPUs each worker gets the share `gpus`. Raises InputError for an unknown engine, one that is not installed, and a
    cluster that does not answer.
    """
    if engine not in ENGINES:
        raise InputError(
            f"there is no engine '{engine}'", hint=near(engine, ENGINES) or f"engines: {', '.join(ENGINES)}"
        )
    if engine == "ray":
        from assembler.assemble.ray_pool import RayPool

        return RayPool(store, workers, address, gpus)
    if address is not None or gpus:
        what = "address" if address is not None else "share of a GPU"
        raise InputError(f"processes have no {what}", hint="give --engine ray")
    return Pool(str(store.root), workers, devices)
