"""Ends all but the best share of trials at steps that grow by a factor."""

from __future__ import annotations

from assembler.errors import InputError
from assembler.registry import pruner
from assembler.search.pruners.base import PruneSpec
from assembler.search.pruners.optuna_pruner import OptunaPruner


@pruner("halving")
class Halving(OptunaPruner):
    """Optuna's asynchronous successive halving (Li et al., 2020, arXiv:1810.05934): of the trials that came to step
    `first` * `factor`^k, one in `factor` goes on to the next such step."""

    said = "successive halving"

    def __init__(self, spec: PruneSpec, *, first: int = 1, factor: int = 4) -> None:
        import optuna

        if first < 1 or factor < 2:
            raise InputError(f"halving needs first >= 1 and factor >= 2, not {first} and {factor}")
        super().__init__(spec, optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor))
