"""The reference recipes in small sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

import assembler as asm
from assembler.compile.model import Compiled
from assembler.graph.structure import flatten
from assembler.recipe.document import load
from assembler.resources import root

RECIPES = sorted([*(file.stem for file in (root("recipes") / "reference").glob("*.yaml")), "poolformer"])
# fmt: off
SMALL: dict[str, Any] = {
    "vocab": 61, "words": 61, "tokens": 12, "length": 6, "context": 32, "classes": 5, "size": 32, "depth": 2, "dim": 24,
    "heads": 3, "hidden": 40, "features": 5, "patch": 8, "latent": 3, "codes": 6, "experts": 4,
}
# fmt: on
"""Sizes by the names that recipes give them."""
OWN: dict[str, dict[str, Any]] = {
    "conv_vae": {"widths": [4, 8], "size": 16},
    "convnext_t": {"widths": [8, 16], "depths": [1, 2]},
    "ddpm_sampler": {"width": 8, "groups": 4, "size": 8, "attend": 4, "widths": [1], "count": 2},
    "ddpm_unet": {"width": 8, "groups": 4, "size": 8, "attend": 4, "widths": [1, 2]},
    "dit": {"size": 8, "patch": 2},
    "mobilenet_v2": {"stem": 8, "first": 8, "widths": [8, 16, 16], "strides": [2, 1, 1], "last": 24},
    "poolformer": {"widths": [8, 16], "depths": [2, 1]},
    "resnet18": {"widths": [8, 16], "depths": [2, 2]},
    "swin_t": {"dim": 8, "depths": [2, 2], "heads": [1, 2], "window": 4},
    "unet": {"width": 4, "depth": 2},
    "vq_autoencoder": {"width": 8, "hidden": 4, "dim": 4, "size": 16},
}


@lru_cache(maxsize=4)
def small(name: str) -> Compiled:
    """A recipe's model in its small size, with no weight at zero or one."""
    known = load(name).model.get("vars")
    sizes = {k: v for k, v in {**SMALL, **OWN.get(name, {})}.items() if known is not None and k in known}
    module = asm.build(name, *(f"vars.{k}={v}" for k, v in sizes.items()))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn(p.shape, generator=generator), alpha=0.05)
    return module


def outputs(module: Callable[..., Any], inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What a module makes, by dotted name."""
    torch.manual_seed(1)
    with torch.no_grad():
        made = module(**inputs)
    return {"": made} if isinstance(made, torch.Tensor) else dict(flatten(made))
