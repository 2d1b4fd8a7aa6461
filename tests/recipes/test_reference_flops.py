"""The parameters and FLOPs that are told of every reference recipe are those of the module that is built of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import assembler as asm
from assembler import resources
from assembler.graph.structure import pack
from assembler.infer.cost import total, uncounted
from assembler.infer.shape import shapes

LESS = {"ddpm_sampler": ("vars.count=2",), "mamba": ("vars.tokens=16",)}
"""Loops that are run one turn after another: fewer turns."""
REFERENCES = sorted([*(n for n, f in resources.shipped().items() if f.parent.name == "reference"), "poolformer"])


def counted(recipe: str, *changes: str, device: str) -> tuple[asm.Graph, int, int]:
    """The graph of a recipe, and the parameters and the FLOPs of one sample that torch counts in its module."""
    module = asm.build(recipe, *changes, device=device).eval()
    graph = module.meta["graph"]
    types = shapes(graph)
    inputs: dict[str, Any] = {}
    for name, _ in graph.inputs:
        kind = types[name]
        inputs[name] = torch.zeros(kind.shape, dtype=getattr(torch, kind.dtype), device=device)
    # Torch has no formula for the kernel that fuses attention on a CPU; its products are counted where they are seen.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        module(**pack(inputs.items()))
    flops, rest = divmod(counter.get_total_flops(), types[graph.inputs[0][0]].shape[0])
    assert rest == 0
    return graph, sum(p.numel() for p in module.parameters()), flops


@pytest.mark.parametrize("recipe", REFERENCES)
def test_params_and_flops_are_what_torch_counts_and_nothing_heavy_is_left_out(recipe: str) -> None:
    graph, params, flops = counted(recipe, *LESS.get(recipe, ()), device="meta")
    assert (total(graph).params, total(graph).flops) == (params, flops)
    assert flops > 0
    assert uncounted(graph) == ()


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("vit_ti", ("vars.depth=2", "vars.size=64")),
        ("gpt2", ("vars.dim=32", "vars.depth=2", "vars.heads=2", "vars.vocab=50", "vars.tokens=16", "vars.context=16")),
        ("poolformer", ("vars.size=32", "vars.widths=[8, 8, 8, 8]")),
        ("rnn", ("vars.hidden=16", "vars.length=5")),
    ],
)
def test_the_count_on_meta_is_that_of_a_real_run(recipe: str, changes: tuple[str, ...]) -> None:
    graph, params, flops = counted(recipe, *changes, device="cpu")
    assert (total(graph).params, total(graph).flops) == (params, flops)
