"""Where the workers of a runner are: processes of this machine, or actors on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence

from assembler.assemble.pool import Pool, Workers
from assembler.assemble.store import Store
from assembler.errors import InputError, near

ENGINES = ("processes", "ray")


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
    if address is not None:
        raise InputError("processes have no address", hint="give --engine ray")
    return Pool(str(store.root), workers, devices)
