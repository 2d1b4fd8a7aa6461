"""Successive halving from several first steps, since nobody knows how early trials can be told apart."""

from __future__ import annotations

from assembler.errors import InputError
from assembler.registry import pruner
from assembler.search.pruners.base import PruneSpec
from assembler.search.pruners.optuna_pruner import OptunaPruner


@pruner("hyperband")
class Hyperband(OptunaPruner):
    """Optuna's Hyperband (Li et al., 2018, arXiv:1603.06560): every trial is in one of several brackets of successive
    halving, which begin at `first`, `first` * `factor`, ... up to the last step of a trial."""

    said = "Hyperband"

    def __init__(self, spec: PruneSpec, *, first: int = 1, factor: int = 3) -> None:
        import optuna

        if first < 1 or factor < 2:
            raise InputError(f"hyperband needs first >= 1 and factor >= 2, not {first} and {factor}")
        last = max(first, spec.steps) if spec.steps else "auto"
        super().__init__(
            spec, optuna.pruners.HyperbandPruner(min_resource=first, max_resource=last, reduction_factor=factor)
        )
