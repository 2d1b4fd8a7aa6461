"""Models compiled from recipes against the same models written by hand: outputs, time, and graph breaks."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import assembler
from assembler import resources
from assembler.graph.core import Graph, TensorType
from assembler.graph.structure import pack
from benchmarks import peers
from benchmarks.measure import Figure, ratios, spread

GOAL = 1.02
CLOSE = 1e-3
ROUNDS, PAIRS = 3, 21
FEWER = {"ddpm_sampler": ("vars.count=2",), "mamba": ("vars.tokens=16",)}
"""Loops that the compiler unrolls: fewer turns."""


@dataclass(frozen=True)
class Case:
    """A recipe with its changes, the same model by hand, and how many samples a pass takes."""

    name: str
    recipe: str
    peer: Callable[[], nn.Module]
    batch: int
    changes: tuple[str, ...] = ()


def _small_gpt() -> nn.Module:
    return peers.GPT(dim=256, depth=6, heads=8, vocab=4096, context=256)


CASES = (
    Case("ResNet-18", "resnet18", peers.ResNet18, 2, ("vars.size=128",)),
    Case("ViT-Ti", "vit_ti", peers.ViTTiny, 1),
    Case("PoolFormer-S12", "poolformer@s12", peers.PoolFormerS12, 2, ("vars.size=128",)),
    Case("MLP-Mixer", "mlp_mixer", peers.MlpMixerS16, 1),
    Case("small GPT", "gpt2", _small_gpt, 1, (
        *("vars.dim=256", "vars.depth=6", "vars.heads=8"),
        *("vars.vocab=4096", "vars.context=256", "vars.tokens=256", "vars.dropout=0.0"),
    )),
)  # fmt: skip


def figures(quick: bool) -> list[Figure]:
    """For each model the ratio of CPU times and the difference of outputs; then all reference recipes compiled."""
    torch.set_num_threads(1)
    found: list[Figure] = []
    for case in CASES:
        found += _compared(case, *((1, 5) if quick else (ROUNDS, PAIRS)))
    return [*found, _compiled(), *([] if quick else [_inductor()])]


def _compared(case: Case, rounds: int, pairs: int) -> list[Figure]:
    """Each round has new models: where their weights lie in memory alone makes a percent or two."""
    values, apart = [], 0.0
    for _ in range(rounds):
        ours, peer, inputs = built(case)
        apart = max(apart, difference(ours, peer, inputs))
        values += ratios(_pass(ours, inputs), _pass(peer, inputs), pairs)
    value, peer_is = statistics.median(values), "plain torch"
    return [
        Figure(
            f"{case.name}: forward and backward / by hand", value, f"<= {GOAL}", value <= GOAL, peer_is, spread(values)
        ),
        Figure(f"{case.name}: largest difference of outputs", apart, "== 0", apart == 0, peer_is, 0.0),
    ]


def _compiled() -> Figure:
    names = [*(name for name, file in resources.shipped().items() if file.parent.name == "reference"), "poolformer"]
    broken = [name for name in names if breaks(name, *FEWER.get(name, ()))]
    rest = f"; not: {', '.join(broken)}" if broken else ""
    said = f"torch.compile(fullgraph=True) of {len(names)} reference recipes{rest}"
    return Figure(said, len(names) - len(broken), f"== {len(names)}", not broken, "", 0.0)


def _inductor() -> Figure:
    """The models above, compiled to code by inductor: the largest difference from the outputs that they gave before."""
    apart = 0.0
    for case in CASES:
        torch.compiler.reset()
        ours, _, inputs = built(case)
        ours.eval()
        with torch.no_grad():
            made = torch.compile(ours, fullgraph=True)(*inputs)
            apart = max(apart, (made - ours(*inputs)).abs().max().item())
    said = "inductor, the models above: largest difference of outputs"
    return Figure(said, apart, f"<= {CLOSE:g}", apart <= CLOSE, "not compiled", 0.0)


def built(case: Case) -> tuple[nn.Module, nn.Module, tuple[Tensor, ...]]:
    """The model of the recipe, the one by hand with the same weights, and inputs."""
    ours, peer = assembler.build(case.recipe, *case.changes), case.peer()
    peers.copy_weights(ours, peer)
    return ours, peer, tuple(samples(ours.meta["graph"], case.batch).values())


def samples(graph: Graph, batch: int, device: str = "cpu") -> dict[str, Any]:
    """Random inputs of a graph, by name."""
    return pack((name, _sample(kind, batch, device)) for name, kind in graph.inputs)


def _sample(kind: TensorType, batch: int, device: str) -> Tensor:
    shape, dtype = (batch, *kind.shape[1:]), getattr(torch, kind.dtype)
    if dtype.is_floating_point:
        return torch.randn(shape, dtype=dtype, device=device)
    return torch.randint(0, 2, shape, device=device).to(dtype)


def difference(ours: nn.Module, peer: nn.Module, inputs: Sequence[Tensor]) -> float:
    """The largest absolute difference of the two models' outputs in eval mode."""
    ours.eval(), peer.eval()
    with torch.no_grad():
        apart = (ours(*inputs) - peer(*inputs)).abs().max().item()
    ours.train(), peer.train()
    return float(apart)


def breaks(recipe: str, *changes: str) -> str:
    """Why `torch.compile(fullgraph=True)` does not take the model of a recipe, in either mode; empty where it does.

    On the `meta` device, since what breaks a graph is the code and not the data.
    """
    module = assembler.build(recipe, *changes, device="meta")
    inputs = samples(module.meta["graph"], 2, "meta")
    for training in (True, False):
        torch.compiler.reset()
        try:
            torch.compile(module.train(training), fullgraph=True, backend="eager")(**inputs)
        except Exception as error:  # whatever it is, this recipe does not hold
            return f"{type(error).__name__}: {error}"
    return ""


def _pass(model: nn.Module, inputs: Sequence[Tensor]) -> Callable[[], float]:
    def run() -> float:
        model.zero_grad()
        start = time.process_time()
        made: Any = model(*inputs)
        made.sum().backward()
        return time.process_time() - start

    gc.collect()
    run(), run()
    return run
