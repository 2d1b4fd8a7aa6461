"""Models held still that are told values of the model in training, of each other, or of the average."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from assemble_models import TASK, data, model, task, training

from assembler.assemble.frozen import compared
from assembler.assemble.incubate import Seat, incubate
from assembler.assemble.judging import score
from assembler.assemble.models import Move, Task, Training
from assembler.assemble.train import Trained, train_model
from assembler.compile.lower import lower
from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.graph.edit import extract
from assembler.infer.cost import total, train_flops
from assembler.infer.shape import shapes
from assembler.recipe.document import parse
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec
from assembler.train.terms import within
from assembler.wiring.build import build

DRAWS = """
kind: model
inputs: {image: [B, 1, 6, 6]}
graph:
  tokens: {op: rearrange, pattern: b c (y p) (x q) -> b (y x) (p q c), sizes: {p: 2, q: 2}}
  drawn: {op: random_mask, ratio: 0.6}
  seen: {op: take, from: [tokens, drawn.indices]}
  block: {repeat: 3, body: {fc: {op: linear, out: 4}}}
  pool: token_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
"""It draws 3 of 9 patches in training; in evaluation they are always the same."""
RUNS = "kind: model\ninputs: {seen: [B, 3, 4]}\ngraph: {block: {repeat: 2, body: {fc: {op: linear, out: 4}}}}"
SAME = {"teacher.drawn.indices": "drawn.indices"}
APART = {"loss": "l1", "value": "seen", "target": "teacher.seen"}


def graph() -> Graph:
    return build(parse(DRAWS).model, name="draws")


def objective(*terms: dict[str, Any], given: dict[str, str] | None = None) -> Objective:
    return Objective.from_spec({"terms": list(terms), "given": given or {}})


def told(*terms: dict[str, Any], given: dict[str, str] | None = None, **settings: Any) -> Training:
    return replace(training(**settings), objective=objective(*terms, given=given))


def trained(how: Training, **teachers: int) -> Trained:
    models = {name: model(graph(), seed) for name, seed in (teachers or {"teacher": 1}).items()}
    return train_model(graph(), data(), task(), how, teachers=models)


def losses(done: Trained, name: str = "l1") -> list[float]:
    return [record[f"loss.{name}"] for record in done.fit.history]


def test_the_teacher_sees_the_patches_that_the_model_in_training_draws() -> None:
    assert losses(trained(told(TASK, APART, given=SAME, steps=6))) == [0.0] * 3
    assert min(losses(trained(told(TASK, APART, steps=6)))) > 0.01


def test_it_runs_in_every_step_up_to_the_value_that_is_read_and_costs_that() -> None:
    term = {"loss": "mse", "value": "block.1", "target": "teacher.block.1"}
    done = trained(told(TASK, term, given=SAME, steps=6))
    assert done.fit.samples > len(data().train)
    beside = total(build(parse(RUNS).model, name="runs")).flops * done.fit.samples
    assert done.train_flops == train_flops(graph()) * done.fit.samples + beside


def test_it_executes_no_further_block_and_gets_no_gradient() -> None:
    (one,) = compared({"teacher": model(graph())}, ["teacher.block.1"], given=SAME)
    calls: Counter[str] = Counter()
    for name, inner in one.module.named_modules():
        inner.register_forward_hook(lambda *_, name=name: calls.update([name]))
    indices = torch.tensor([[0, 4, 8]]).repeat(32, 1)
    made = one({**data().train.fields, "drawn.indices": indices})["teacher.block.1"]
    assert {n: c for n, c in calls.items() if n.endswith("fc")} == {"block.0.fc": 1, "block.1.fc": 1}
    assert "drawn" not in calls and not made.requires_grad


def test_what_it_makes_of_them_is_what_the_model_would() -> None:
    whole = model(graph())
    (one,) = compared({"teacher": whole}, ["teacher.logits"], given=SAME)
    module = lower(graph(), seed=0)
    module.load_state_dict(whole.weights)
    found: list[torch.Tensor] = []
    module.get_submodule("drawn").register_forward_hook(lambda _, __, out: found.append(out[1]))
    logits = module.train()(data().train.fields["image"])
    made = one({**data().train.fields, "drawn.indices": found[0]})["teacher.logits"]
    torch.testing.assert_close(made, logits.detach())


def test_the_host_that_is_told_what_leaves_the_slot_is_the_model_in_training() -> None:
    """Both ways at once: the tail reads values of the host, and the host is told one of the tail."""
    host, part = model(graph()), extract(graph(), "block.1", shapes(graph()))
    same = {"loss": "l1", "value": "logits", "target": "host.logits"}
    for given, equal in (({"host.slot": "slot"}, True), ({}, False)):
        made = incubate(Seat(host, "block.1", part), data(), told(TASK, same, given=given, steps=6))
        assert made.fit is not None
        found = max(record["loss.l1"] for record in made.fit.history)
        assert found < 1e-6 if equal else found > 1e-3


def test_the_average_may_be_told_what_the_model_draws() -> None:
    term, same = {**APART, "target": "ema.seen"}, {"ema.drawn.indices": "drawn.indices"}
    settings: dict[str, Any] = {"ema": {"decay": 0.9, "result": False}, "steps": 6}
    assert losses(trained(told(TASK, term, given=same, **settings))) == [0.0] * 3
    assert min(losses(trained(told(TASK, term, **settings)))) > 0.01


def test_each_turn_tells_for_itself() -> None:
    term, spec = {"loss": "l1", "value": "seen", "target": "teacher.seen"}, FitSpec.from_spec({"steps": 4, "batch": 16})
    one = Move(objective(TASK, term, given=SAME), spec, ("block",), "one")
    two = Move(objective(TASK, term), spec, ("head",), "two", every=2)
    done = trained(replace(training(steps=4), turns=(one, two)))
    assert losses(done, "one.l1") == [0.0] * 2 and min(losses(done, "two.l1")) > 0.01


def test_models_are_told_values_of_each_other_in_turn() -> None:
    given = {"first.drawn.indices": "second.drawn.indices", "second.drawn.indices": "drawn.indices"}
    terms = [{**APART, "target": f"{name}.seen", "name": name} for name in ("first", "second")]
    done = trained(told(TASK, *terms, given=given, steps=6), first=1, second=2)
    assert losses(done, "first") == losses(done, "second") == [0.0] * 3
    average = {"ema.drawn.indices": "drawn.indices", "first.drawn.indices": "ema.drawn.indices"}
    more = [terms[0], {**APART, "target": "ema.seen", "name": "average"}]
    done = trained(told(TASK, *more, given=average, ema={"decay": 0.9}), first=1)
    assert losses(done, "first") == losses(done, "average") == [0.0] * 2
    given["second.drawn.indices"] = "first.drawn.indices"
    with pytest.raises(RecipeError, match="'first' and 'second' would wait for each other's values"):
        trained(told(TASK, *terms, given=given), first=1, second=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher.block.0": "block.0"}, "nothing that is read of draws depends on 'block.0.fc', which is given"),
        ({"teacher.drown": "seen"}, "the objective reads 'drown', which draws does not have"),
        ({"teacher.drawn": "sean"}, "the objective reads 'sean', which draws does not have"),
    ],
)
def test_what_cannot_be_told_is_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        trained(told(TASK, APART, given=given))
    assert message in str(caught.value)


def test_a_task_tells_too() -> None:
    own = model(graph())
    term = {"loss": "l1", "value": "block.2", "target": "teacher.block.2"}
    for given, equal in (({"teacher.block.1": "block.1"}, True), ({"teacher.block.1": "block.0"}, False)):
        loss = objective(term, given=given)
        beside = compared({"teacher": own}, loss.needs, given=loss.given)
        theirs = frozenset(value for one in beside for value in one.names.values())
        module = lower(graph(), seed=0)
        found = score(module, graph(), data().validation, Task(loss, "loss", beside, theirs))[0]
        assert (found == 0) is equal


def test_a_model_that_is_trained_for_the_task_is_told_nothing_of_its_own() -> None:
    task = {"terms": [{"loss": "mse", "value": "seen", "target": "teacher.seen"}], "given": SAME}
    assert within(task, "teacher") == {"terms": [{"loss": "mse", "value": "seen", "target": "seen"}], "given": {}}
    assert within(task, "other") == task
