"""Train every variant of every slot, each alone or all of a slot at once, inside a frozen host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from assembler.assemble.plan import Failure
from assembler.assemble.task import Task, task
from assembler.errors import InputError
from assembler.graph.text import to_text
from assembler.infer.cost import total
from assembler.pipeline.code import beginnings, code_of, nesting
from assembler.pipeline.jobs import NESTED
from assembler.pipeline.slots import written
from assembler.pipeline.weights.beginning import part_needs
from assembler.recipe.edits import replaced
from assembler.registry import phase

if TYPE_CHECKING:
    from assembler.pipeline.slots import Variant
    from assembler.pipeline.state import Run


@phase
def incubate(
    run: Run,
    *,
    host: str = "meta",
    start: Literal["random", "host", "copies"] = "random",
    objective: list[dict[str, Any]] | dict[str, Any] | None = None,
    trained: list[str] | None = None,
    nested: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
) -> None:
    """Train each slot's variants inside the frozen `host`, independently of each other.

    The objective says how: on the task (the default; Deep Incubation), against the host's or the teacher's own value
    at the slot (`{loss: normalized_mse, value: slot, target: host.slot}`; block-wise distillation), against the host
    with the teacher's part in the slot (`{loss: kl, value: logits, target: teacher@host.logits}`; m2mKD), or several.
    `trained` are the steps that are trained, of a part all by default.

    Parts begin `random`; with what they have in common with the `host`'s own, copied, sliced or grown; or as `copies`
    of its blocks, each with its share of what they add. Steps of an imported model that a variant leaves as they are
    (`keep`) begin with the host's weights also where others begin `random`, steps with `weights:` always with those.
    Where the host has other features at a slot, the part stands between stitch layers, fitted by least squares.

    With `nested`, settings like those of `train`, all variants of a slot are first trained at once, cut out of the
    largest: every step trains one, drawn with a probability proportional to 1 / its parameters (Puzzle). `train` goes
    on with each alone, with `{epochs: 0}` not at all.
    """
    if not run.spec.split:
        raise InputError("incubation needs slots", hint="name them in the run's split:, for instance [stage.*]")
    run.seat(host)
    for seed in run.seeds:
        how = _How(run, seed, start, objective, trained)
        begun = {v: b for some in run.variants.values() for v, b in how.nested(some, nested).items()}
        run.parts[seed] = {
            (slot, i): how.part(variant, train, begun.get(variant))
            for slot, found in run.variants.items()
            for i, variant in enumerate(found)
        }
    run.make(t for parts in run.parts.values() for t in parts.values())
    _check(run)


@dataclass(frozen=True)
class _How:
    """How the parts of one seed are trained."""

    run: Run
    seed: int
    start: str
    objective: list[dict[str, Any]] | dict[str, Any] | None
    trained: list[str] | None

    def part(self, variant: Variant, train: Mapping[str, Any] | None, begun: tuple[Task, int] | None) -> Task:
        """The task of a part of its own; it may go on from a task that trained several, as number so and so there."""
        label = f"{variant.slot} {variant.label}"
        if begun is not None:  # which has all of its weights, whatever those began with
            said = {"part": to_text(variant.graph), "start": "random", "nested": begun[1]}
            return self._task(label, [variant], said, {NESTED: begun[0]}, train)
        return self._task(label, [variant], {**self._said(variant), "start": self.start}, self._needs(variant), train)

    def nested(self, found: Sequence[Variant], train: Mapping[str, Any] | None) -> dict[Variant, tuple[Task, int]]:
        """By variant the task that trains all those of a slot that have weights at once, and its number in that."""
        params = {v: total(v.graph).params for v in found}
        heavy = sorted((v for v in found if params[v]), key=lambda v: (-params[v], to_text(v.graph)))
        if train is None or not heavy:
            return {}
        needs = {f"{need}:{n}": t for n, v in enumerate(heavy) for need, t in self._needs(v).items()}
        said = {"parts": [self._said(v) for v in heavy], "start": self.start}
        made = self._task(f"{heavy[0].slot} nested", heavy, said, needs, train)
        return {v: (made, n) for n, v in enumerate(heavy)}

    def _needs(self, variant: Variant) -> dict[str, Task]:
        return part_needs(self.run.spec, variant, self.run.runner.store, self.run.phase)

    def _said(self, variant: Variant) -> dict[str, Any]:
        said: dict[str, Any] = {"part": to_text(variant.graph)}
        if any(variant.stitches):
            said["stitches"] = list(variant.stitches)
        if (changed := replaced(written(self.run.spec, dict(variant.picks)))) is not None:
            said["changed"] = changed
        return said

    def _task(
        self,
        label: str,
        found: Sequence[Variant],
        said: Mapping[str, Any],
        needs: Mapping[str, Task],
        train: Mapping[str, Any] | None,
    ) -> Task:
        """A training of variants of one slot: of one, or with `parts` of several."""
        run, seed, several = self.run, self.seed, "parts" in said
        inputs = {"slot": found[0].slot, **said, **run.common(seed, train, self.objective)}
        if self.trained:
            inputs["trained"] = list(self.trained)
        graphs = (code_of(v.graph, inputs["objective"], inputs["train"]) for v in found)
        return task(
            f"assembler.pipeline.jobs:{'nested' if several else 'part'}",
            inputs,
            {"host": run.models[run.host][seed], **run.teachers(seed, self.objective), **needs},
            label=run.say(label, seed),
            phase=run.phase,
            code=[*{c for code in graphs for c in code}, *beginnings(), *(nesting() if several else ())],
        )


def _check(run: Run) -> None:
    """Raise the reason where of some slots every part that has weights failed: nothing was trained to choose from.

    Parts without weights cannot fail that way, and a search of those alone would look like a result.
    """
    for seed, parts in run.parts.items():
        lost = {slot: f for slot in run.spec.split if (f := _all_failed(run, parts, slot))}
        if lost:
            slots = ", ".join(f"'{slot}'" for slot in lost)
            said = f"every variant with weights of {slots} failed (seed {seed})"
            raise run.error(next(iter(lost.values())), said)


def _all_failed(run: Run, parts: dict[tuple[str, int], Task], slot: str) -> Failure | None:
    """The first failure of a slot of which no part with weights was finished, or no part at all."""
    found = [run.results[task] for (s, _), task in parts.items() if s == slot]
    heavy = [r for r, v in zip(found, run.variants[slot], strict=True) if total(v.graph).params]
    wanted = heavy or found
    failed = [r for r in wanted if isinstance(r, Failure)]
    return failed[0] if len(failed) == len(wanted) else None
