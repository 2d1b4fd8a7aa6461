"""Optuna's TPE in a study of ours against its bare ask and tell, on NAS-Bench-201: the same draws, the same seeds."""

from __future__ import annotations

import statistics
import time

import optuna

from assembler.recipe.choices import Choice
from assembler.search import SearchSpec, make, run
from assembler.search.study import Study
from assembler.search.tables import Table
from benchmarks.measure import Figure, ratios, spread
from benchmarks.nas201_table import Bench

TRIALS, MOST = 300, 1.2
METRIC = "c10_val_e12"


def figures(quick: bool) -> list[Figure]:
    """CPU times of whole searches, taken in turns; both ask Optuna equally often, for the same choices."""
    table = Bench().table
    asked = len(_ours(table).trials)

    def ours() -> float:
        start = time.process_time()
        _ours(table)
        return time.process_time() - start

    def bare() -> float:
        start = time.process_time()
        _bare(table, asked)
        return time.process_time() - start

    values = ratios(ours, bare, 3 if quick else 15)
    value = statistics.median(values)
    peer = f"Optuna {optuna.__version__}"
    name = f"TPE, {TRIALS} trials: CPU time in a study of ours / bare ask and tell"
    return [Figure(name, value, f"<= {MOST}", value <= MOST, peer, spread(values), len(values))]


def _ours(table: Table) -> Study:
    return run(table.space, lambda choice: table.evaluate(choice, METRIC), make("tpe", SearchSpec(table.space)), TRIALS)


def _bare(table: Table, trials: int) -> Choice:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), direction="maximize")
    for _ in range(trials):
        trial = study.ask()
        choice = {d.name: trial.suggest_categorical(d.name, range(len(d.labels))) for d in table.space.decisions}
        study.tell(trial, table.evaluate(choice, METRIC))
    return Choice(study.best_params)
