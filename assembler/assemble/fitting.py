"""One training run beside frozen models, whether of a part or of a whole model, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assembler.assemble.frozen import Frozen, kept
from assembler.assemble.models import Training, named
from assembler.graph.core import Graph
from assembler.train.data.batches import Augment, Batches
from assembler.train.data.core import Data
from assembler.train.loop import FitResult, Hooks, fit


@dataclass(frozen=True)
class Bench:
    """A module to train, its graph, the frozen models beside it, and where it is trained.

    The frozen models' values are fields of a batch: inputs of the module, or targets of the objective.
    """

    module: nn.Module
    graph: Graph
    frozen: Sequence[Frozen]
    device: torch.device | str = "cpu"

    def fit(
        self, trained: Mapping[str, nn.Parameter], data: Data, training: Training, hooks: Hooks | None = None
    ) -> tuple[FitResult, int]:
        """Train the parameters `trained` and nothing else; also gives the FLOPs that the frozen models cost."""
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)
        for parameter in trained.values():
            parameter.requires_grad_(True)
        train = data.train.to(self.device)
        augment = Augment.from_spec(training.spec.augment)
        # Without augmentation the frozen models say the same of a sample in every epoch.
        held = kept(train, self.frozen) if augment == Augment() else None
        forward = named(self.module, self.graph)

        def live(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            values = {n: v for one in self.frozen for n, v in one(batch).items()}
            return {**values, **forward({**batch, **values})}

        batches = Batches(held or train, training.spec.batch, training.seed, augment)
        result = fit(forward if held else live, batches, training.objective, trained, training.spec, hooks)
        looked = len(train) if held else result.samples
        return result, looked * sum(one.flops for one in self.frozen)
