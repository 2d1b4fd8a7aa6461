"""One training by several processes, which all take the same step.

Each has the same batches and runs the model on its own slice of every one. The values that the objective reads are
brought together, so that the loss is that of the whole batch in each process, whatever loss it is, and torch averages
the gradients: DDP of whole weights, FSDP2 of shards. Random steps of a model (dropout) draw other numbers in each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, fx, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from assembler.modules.gradient import Gradient
from assembler.train.evaluate import Forward
from assembler.train.together import brought_together, of_whole_batches
from assembler.train.turns import Turn
from assembler.train.world import World

_APART = 1 << 16  # weights from which on a step's are gathered by themselves, when it is called


def divided(turn: Turn, among: World) -> Turn:
    """A turn that runs this process's slice of a batch and gives the values of all of it.

    A batch with fewer samples than processes is run by each.
    """
    wanted, forward = turn.objective.needs, turn.forward
    call = forward if any(isinstance(p, DTensor) for p in turn.params.values()) else _averaged(turn)

    def slice_of(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        size = len(next(iter(batch.values())))
        if size < among.size:
            return dict(call(batch))
        bounds = among.bounds(size)
        start, end = bounds[among.rank], bounds[among.rank + 1]
        with of_whole_batches():
            values = call({name: field[start:end] for name, field in batch.items()})
        own = {name: value for name, value in values.items() if name in wanted and name not in batch}
        return dict(zip(own, brought_together(list(own.values()), bounds, among.rank), strict=True))

    return replace(turn, forward=slice_of)


class _Called(nn.Module):
    """What a turn calls, with the weights that it trains, as the module that DDP wraps."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.weights = nn.ParameterList(turn.trained.values())
        self._forward = turn.forward

    def forward(self, batch: Mapping[str, Tensor]) -> Any:
        """The values of a batch."""
        return self._forward(batch)


def _averaged(turn: Turn) -> Forward:
    called = _Called(turn)
    made: Forward = DistributedDataParallel(called, find_unused_parameters=True)
    return made


def sharded(module: nn.Module, trained: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """Divide the weights of a model among the processes that train it together, with FSDP2; gives the ones to train.

    Those of a large step are gathered when it is called, the rest when the model is.
    """
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in trained)
    for layer in _layers(module):
        fully_shard(layer)
    fully_shard(module, reshard_after_forward=True)
    return {name: p for name, p in module.named_parameters() if name in trained}


def _layers(module: nn.Module) -> list[nn.Module]:
    """The large steps that the model calls and whose weights nothing else reads.

    A step may read the weights of what is inside of it without calling that, so it is divided as one. None where a
    gradient is a value: it passes through layers before the model's own backward pass does.
    """
    graphs = [one for one in (module, *module.children()) if isinstance(one, fx.GraphModule)]
    if any(isinstance(one, Gradient) for one in module.modules()):
        return []
    nodes = [(one, node) for one in graphs for node in one.graph.nodes]
    read = {id(_at(one, str(node.target))) for one, node in nodes if node.op == "get_attr"}
    beside = [v for one in module.modules() for v in vars(one).values() if isinstance(v, nn.Module)]
    read |= {id(p) for owner in beside for p in owner.parameters()}  # as those of which a step has the transposed
    called = dict.fromkeys(one.get_submodule(str(node.target)) for one, node in nodes if node.op == "call_module")
    holders = Counter(id(p) for step in called for p in step.parameters())
    alone = (s for s in called if all(id(p) not in read and holders[id(p)] == 1 for p in s.parameters()))
    return [step for step in alone if sum(p.numel() for p in step.parameters()) >= _APART]


def _at(module: nn.Module, path: str) -> object:
    for name in path.split("."):
        module = getattr(module, name)
    return module
