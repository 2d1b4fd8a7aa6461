"""Whether this process is one of several that torchrun has started. Free of torch, which reads a setting of it once."""

from __future__ import annotations

import os


def started() -> bool:
    """Whether there are several processes of this run."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def follows() -> bool:
    """Whether another process runs the recipe and this one works with it."""
    return started() and os.environ.get("RANK") != "0"


def hush() -> None:
    """Keep torch from warning that DDP looks for unused weights; before torch is imported."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
