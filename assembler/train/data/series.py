"""Made-up series of several variates, of which one follows another."""

from __future__ import annotations

import numpy as np

from assembler.errors import InputError
from assembler.registry import dataset
from assembler.train.data.source import Arrays, Declared, Source, sample


@dataset
def lagged_series(
    train: int = 4000,
    validation: int = 1000,
    test: int = 1000,
    variates: int = 8,
    steps: int = 32,
    horizon: int = 4,
    lag: int = 16,
    offset: float = 3.0,
    noise: float = 0.1,
    seed: int = 0,
) -> Source:
    """Series `past` [variates, steps] of white noise, and the next `horizon` steps of the first variate, `future`.

    The first variate goes on as another one did `lag` steps before, under noise of that deviation. Which one differs
    from sample to sample, and `offset`, which is added to all of its past, tells. So nothing can be told from the first
    variate alone, and an average over the others says little. Raises InputError for a lag below the horizon.
    """
    if not 0 < horizon <= lag <= steps or variates < 2:
        raise InputError(
            "lagged series need horizon <= lag <= steps and at least two variates",
            path="data",
            hint="for instance {variates: 8, steps: 32, horizon: 4, lag: 16}",
        )

    def draw(count: int, part: int) -> Arrays:
        random = np.random.RandomState([seed, part])
        past = random.standard_normal((count, variates, steps))
        leads = 1 + random.randint(variates - 1, size=count)
        followed = past[np.arange(count), leads, steps - lag : steps - lag + horizon]
        future = followed + noise * random.standard_normal((count, horizon))
        past[np.arange(count), leads] += offset
        return {"past": past.astype(np.float32), "future": future.astype(np.float32)}

    held = Declared({"past": sample(variates, steps), "future": sample(horizon)})
    return Source(
        lambda: (draw(train, 1), draw(validation, 2)),
        lambda: draw(test, 3),
        targets=("future",),
        declared=lambda: held,
        standardised=(),
    )
