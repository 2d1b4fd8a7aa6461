"""A teacher of eight blocks, ten variants of each trained block by block, and small models made of them in any way."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from assembler.assemble.task import Task
from assembler.graph.core import Graph
from assembler.infer.cost import total, train_flops
from assembler.pipeline.phases.assemble import assembly
from assembler.pipeline.state import Run
from benchmarks.lab import Lab, end, result, spent

SAMPLES, VALIDATION, BATCH = 6000, 2000, 64
EPOCHS = 14
"""Epochs of the teacher."""
TUNE = 2
"""Epochs that assemblies are tuned for."""
RECIPE = f"""
kind: run
name: parts
model:
  vars: {{dim: 48, depth: 8}}
  inputs: {{image: [B, 1, 28, 28]}}
  blocks:
    block:
      params: {{mixing: true, ratio: 4}}
      body:
        mix: {{if: =mixing, op: residual, body: {{norm: layer_norm, token: {{op: attention, num_heads: 4}}}}}}
        mlp: {{if: =ratio > 0, op: residual, body: {{norm: layer_norm, ffn: {{op: mlp, ratio: =ratio}}}}}}
        out: identity
  graph:
    embed: {{op: patch_embed, patch_size: 7, out: =dim}}
    position: learned_position
    block: {{op: block, repeat: =depth}}
    norm: layer_norm
    pool: token_pool
    head: {{op: linear, out: 10}}
  outputs: {{logits: head}}
data: {{name: fashion_mnist, train: {SAMPLES}, validation: {VALIDATION}}}
split: [block.*]
space:
  block.*.mixing: {{$oneof: [true, false]}}
  block.*.ratio: {{$oneof: [4, 2, 1, 0.5, 0]}}
train: {{batch: {BATCH}, lr: 2e-3, validate_every: 0}}
phases:
  teacher: {{train: {{epochs: {EPOCHS}}}}}
  incubate:
    host: teacher
    start: host
    objective: [{{loss: normalized_mse, value: slot, target: host.slot}}]
    train: {{epochs: 0}}
  search: {{sampler: exact, trials: 8, budget: {{params: 1e9}}}}
"""
TEACHER = "teacher"
_IMITATE = [{"loss": "kl", "value": "logits", "target": "teacher.logits", "temperature": 2.0}]

Picks = Mapping[str, int]


@dataclass(frozen=True)
class Rates:
    """Learning rates: of the teacher and its parts, of what is tuned, and of what is trained from the start.

    From the start that is `student` or `labels` for as long as the library took, `brief` (a student) for what the
    choice and the tuning alone took, `single` (a student) or `single_labels` for what one architecture's parts took.
    """

    teacher: float = 2e-3
    tune: float = 2e-3
    student: float = 2e-3
    labels: float = 2e-3
    brief: float = 2e-3
    single: float = 2e-3
    single_labels: float = 2e-3


@dataclass(frozen=True)
class Library:
    """One seed's teacher and parts, at a budget of so much of the teacher's parameters.

    `nested` are the epochs that all parts of a slot are trained for at once, `epochs` those that each is trained for
    then: without either they are as they were cut out of the teacher.
    """

    lab: Lab
    seed: int
    rates: Rates = Rates()
    budget: float = 1.0
    nested: int = 8
    epochs: int = 1

    def run(self) -> Run:
        """The run with its parts trained and the assembly chosen."""
        limit = f"phases.search.budget.params==({self.budget}) * teacher"
        trained = f"phases.incubate.train.epochs={self.epochs}"
        at_once = [f"phases.incubate.nested={{epochs: {self.nested}}}"] if self.nested else []
        return self.lab.run(RECIPE, f"train.lr={self.rates.teacher}", limit, trained, *at_once, seed=self.seed)

    def tuned(self, run: Run, picks: Picks, epochs: int = TUNE) -> Task:
        """An assembly after some epochs of imitating the teacher."""
        run.tuning = (_IMITATE, {"epochs": epochs, "lr": self.rates.tune})
        return assembly(run, "assembled", self.seed, picks)[1]

    def fresh(self, run: Run, picks: Picks, flops: float, rate: float, *, imitate: bool) -> Task:
        """The architecture of an assembly from the start for so many FLOPs, from the teacher or from labels."""
        graph = self.graph(run, picks)
        looked = total(run.graphs[TEACHER]).flops * SAMPLES if imitate else 0  # the teacher is asked once a sample
        steps = max(1, round((flops - looked) / (train_flops(graph) * BATCH)))
        train = {"steps": steps, "lr": rate}
        said = _IMITATE if imitate else None
        return run.training("fresh", graph, self.seed, train, said, run.teachers(self.seed, said))

    def graph(self, run: Run, picks: Picks) -> Graph:
        """The graph of an assembly."""
        return run.assembly(self.seed, {slot: self._variant(run, slot, i) for slot, i in picks.items()})[0]

    def parts(self, run: Run, picks: Picks) -> list[Task]:
        """The trainings of an assembly's parts."""
        return [run.parts[self.seed][slot, self._variant(run, slot, i)] for slot, i in picks.items()]

    def chosen(self, run: Run) -> dict[str, int]:
        """The exact choice within the budget."""
        return dict(run.product(run.searches[self.seed]).result["choice"])

    def uniform(self, run: Run) -> dict[str, int]:
        """The best assembly of equal blocks within the budget, by its validation before it is tuned."""
        slots = self._slots(run)
        alike = [dict.fromkeys(slots, i) for i in range(min(map(len, slots.values())))]
        fitting = {i: self.tuned(run, picks, 0) for i, picks in enumerate(alike) if self._fits(run, picks)}
        run.make(fitting.values())
        return alike[max(fitting, key=lambda i: float(result(run, fitting[i])["validation"]))]

    def drawn(self, run: Run, count: int) -> list[dict[str, int]]:
        """Random assemblies within the budget, each once; the first of many are the few."""
        rng, found = random.Random(f"{self.seed} {self.budget}"), list[dict[str, int]]()
        while len(found) < count:
            picks = {slot: rng.randrange(len(parts)) for slot, parts in self._slots(run).items()}
            if picks not in found and self._fits(run, picks):
                found.append(picks)
        return found

    def teaching(self, run: Run) -> float:
        """FLOPs of the teacher's training."""
        return spent(run, [end(run, TEACHER)])

    def beyond(self, run: Run, ends: list[Task]) -> float:
        """FLOPs of trainings and all that they stand on but the teacher."""
        return spent(run, ends) - self.teaching(run)

    def whole(self, run: Run) -> float:
        """FLOPs of every part, of the choice among them and of tuning it, without the teacher's training."""
        made = [*run.parts[self.seed].values(), run.searches[self.seed], self.tuned(run, self.chosen(run))]
        return self.beyond(run, made)

    def further(self, run: Run) -> float:
        """FLOPs of the choice for another budget and of tuning it, with all parts there."""
        return self.whole(run) - self.beyond(run, [*run.parts[self.seed].values()])

    def single(self, run: Run, picks: Picks) -> float:
        """FLOPs of one architecture's parts, with no others beside them, and of tuning it."""
        return self.beyond(run, [*self.parts(run, picks), self.tuned(run, picks)])

    def _fits(self, run: Run, picks: Picks) -> bool:
        fixed = run.searches[self.seed].parameters["fixed"]["params"]
        params = fixed + sum(self._slots(run)[slot][i]["params"] for slot, i in picks.items())
        return bool(params <= self.budget * total(run.graphs[TEACHER]).params)

    def _variant(self, run: Run, slot: str, pick: int) -> int:
        return int(self._slots(run)[slot][pick]["variant"])

    def _slots(self, run: Run) -> dict[str, list[dict[str, float]]]:
        """What each slot's parts cost, in the order of the search."""
        found: dict[str, list[dict[str, float]]] = run.searches[self.seed].parameters["slots"]
        return found
