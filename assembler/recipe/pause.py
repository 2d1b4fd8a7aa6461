"""A pause of Python's garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no garbage while a recipe is read, built or compiled.

    What is made then is kept, and its size is bounded, so that going over all of it again and again finds nothing and
    makes the time grow faster than the recipe. Who pauses goes on, whatever happens; within a pause, and where the
    caller has the collector off, this does nothing.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
