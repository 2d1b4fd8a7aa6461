"""Objectives as graphs: steps of their own, ops as losses, values as terms; each equals the loss written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from assembler.assemble.models import Model, Task, Training
from assembler.assemble.train import train_model
from assembler.compile.lower import lower
from assembler.errors import RecipeError, ShapeError
from assembler.graph.core import TensorType
from assembler.recipe.document import parse
from assembler.registry import lookup, names
from assembler.train.data.core import load
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec
from assembler.wiring.build import build

TASK = {"loss": "cross_entropy", "value": "logits", "target": "label"}
GAN = {
    "graph": {"away": {"op": "scale", "factor": -1.0, "from": "real.score"}},
    "terms": [{"loss": "softplus", "value": "away"}, {"loss": "softplus", "value": "fake", "weight": 0.5}],
}


def test_steps_terms_and_weights_are_the_loss_by_hand() -> None:
    values = {"real.score": torch.randn(6, 1, requires_grad=True), "fake": torch.randn(6, 1)}
    objective = Objective.from_spec(GAN)
    assert objective.needs == {"real.score", "fake"}
    total, terms = objective(values)
    real, fake = F.softplus(-values["real.score"]).mean(), F.softplus(values["fake"]).mean()
    assert torch.allclose(total, real + 0.5 * fake)
    assert {name: part.item() for name, part in terms.items()} == pytest.approx(
        {"softplus.away": real.item(), "softplus.fake": fake.item()}
    )
    ours = torch.autograd.grad(total, values["real.score"])[0]
    by_hand = torch.autograd.grad(real, values["real.score"])[0]
    assert torch.allclose(ours, by_hand)


def test_a_value_by_itself_is_a_term() -> None:
    objective = Objective.from_spec([TASK, {"value": "vq.commitment", "weight": 0.25}])
    values = {"logits": torch.randn(4, 3), "label": torch.tensor([0, 1, 2, 0]), "vq.commitment": torch.rand(4)}
    total, terms = objective(values)
    assert list(terms) == ["cross_entropy", "vq.commitment"]
    by_hand = F.cross_entropy(values["logits"], values["label"]) + 0.25 * values["vq.commitment"].mean()
    assert torch.allclose(total, by_hand)


def test_steps_with_bodies_call_what_they_read_by_names_of_their_own() -> None:
    slope = {"op": "gradient", "by": ["x"], "from": {"x": "stage.1"}, "body": {"sine": {"op": "sin", "from": "x"}}}
    inner = {"longer": {"op": "mul", "from": ["sum", "rate"]}, "plus": {"op": "add", "from": ["longer", "n"]}}
    loop = {"op": "loop", "times": 2, "index": "n", "carry": ["sum"], "from": {"sum": "slope"}, "body": inner}
    graph = {"slope": slope, "grown": {**loop, "outputs": {"sum": "plus"}}}
    objective = Objective.from_spec({"graph": graph, "terms": [{"value": "grown"}]})
    assert objective.needs == {"stage.1", "rate"}
    x, rate = torch.randn(4, 3), torch.rand(4, 3)
    total, _ = objective({"stage.1": x, "rate": rate})
    assert torch.allclose(total, (x.cos() * rate * rate + 1).mean())


def test_the_last_batch_may_be_smaller() -> None:
    objective = Objective.from_spec([TASK, {"loss": "kl", "value": "logits", "target": "teacher.logits"}])
    for size in (8, 3):
        values = {"logits": torch.randn(size, 3), "label": torch.zeros(size, dtype=torch.int64)}
        assert objective({**values, "teacher.logits": torch.randn(size, 3)})[0].shape == ()


def test_an_objective_is_a_graph_that_can_be_printed_and_told_apart() -> None:
    one = Objective.from_spec([TASK, {**TASK, "weight": 2.0, "name": "again"}])
    assert "cross_entropy" in str(one.graph) and "scale" in str(one.graph)
    other = Objective.from_spec([TASK, {**TASK, "weight": 3.0, "name": "again"}])
    types = {"logits": TensorType((2, 3)), "label": TensorType((2,), "int64")}
    assert one.said.typed(types).fingerprint != other.said.typed(types).fingerprint
    same = Objective.from_spec([TASK, {**TASK, "weight": 2.0, "name": "again"}])
    assert one.said.typed(types).fingerprint == same.said.typed(types).fingerprint


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"graph": {"a": {"op": "scal", "from": "logits"}}, "terms": [{"value": "a"}]},
            "a: error: unknown op 'scal'\n    hint: did you mean 'scale'?",
        ),
        ({"graph": {}, "term": []}, "objective: error: an objective has no 'term'"),
        ([{"value": "logits", "target": "label"}], "objective.0: error: a term without a 'loss' has no 'target'"),
        (
            {"graph": {"a": {"op": "linear", "out": 2, "from": "logits"}}, "terms": [{"value": "a"}]},
            "error: the step 'a' of the objective has weights, and nothing trains or keeps them",
        ),
        (
            {"graph": {"a": {"op": "exp", "from": "logits"}}, "terms": [{"value": "logits"}]},
            "objective.graph: error: no term reads the steps of the objective",
        ),
    ],
)
def test_wrong_graphs_are_named(spec: Any, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Objective.from_spec(spec)({"logits": torch.randn(2, 3)})
    assert str(caught.value).startswith(expected)


MODEL = """
kind: model
inputs: {image: [B, 1, 4, 4], label: {shape: [B], dtype: int64, when: train}}
graph:
  flat: {op: flatten, from: image}
  head: {op: linear, out: 3}
  error: {op: cross_entropy, from: {value: head, target: label}}
outputs: {logits: head, error: {from: error, when: train}}
"""


def test_a_loss_is_a_step_of_a_model() -> None:
    graph = build(parse(MODEL).model, name="inside")
    data = load({"name": "blobs", "train": 32, "validation": 16, "test": 16, "size": 4})
    spec, task = FitSpec.from_spec({"steps": 4, "batch": 16}), Task(Objective.from_spec([TASK]))
    inside = train_model(graph, data, task, Training(Objective.from_spec([{"value": "error"}]), spec))
    outside = train_model(graph, data, task, Training(Objective.from_spec([TASK]), spec))
    assert torch.allclose(inside.weights["head.weight"], outside.weights["head.weight"], atol=1e-7)
    assert inside.after[1] < inside.before[1]


RECURRENT = """
kind: model
inputs: {tokens: {shape: [B, 8], dtype: int64}}
graph:
  embed: {op: embedding, num_embeddings: 30, out: 4}
  rnn: {op: gru, out: 6, batch_first: true}
  head: {op: linear, out: 30}
outputs: {logits: head}
"""


def test_a_term_may_read_a_further_output_of_a_step_and_the_teacher_s(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("the quick brown fox jumps. " * 60)
    data = load({"name": "text", "file": str(tmp_path / "letters.txt"), "length": 8})
    task = Task(Objective.from_spec({**TASK, "target": "next", "axis": -1}), "accuracy")
    terms = [{"loss": "mse", "value": "rnn.hidden", "target": "teacher.rnn.hidden"}]
    graph = build(parse(RECURRENT).model, name="recurrent")
    teacher = Model(graph, dict(lower(graph, seed=1).state_dict()))
    how = Training(Objective.from_spec(terms), FitSpec.from_spec({"steps": 40, "batch": 16, "lr": 1e-2}))
    found = train_model(graph, data, task, how, teachers={"teacher": teacher})
    assert 0 < found.fit.loss < found.fit.history[0]["loss"]
    with pytest.raises(
        ShapeError, match=r"'rnn' \(gru\) has no output and no weight 'hiden'\n    hint: did you mean 'hidden'"
    ):
        wrong = Training(Objective.from_spec([{**terms[0], "value": "rnn.hiden"}]), how.spec)
        train_model(graph, data, task, wrong, teachers={"teacher": teacher})


def test_no_loss_has_the_name_of_an_op() -> None:
    assert not set(names("loss")) & set(names("op", torch=True))
    assert lookup("op", "cross_entropy").inputs == ("value", "target")


def test_cross_entropy_of_tokens_is_that_of_the_transposed() -> None:
    logits, target = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    loss = lookup("loss", "cross_entropy").load()
    assert torch.allclose(loss(logits, target, axis=-1), F.cross_entropy(logits.transpose(1, 2), target))


def test_energy_distance_is_the_mean_over_pairs() -> None:
    x, y = torch.randn(5, 2), torch.randn(4, 2) + 1
    between = torch.stack([(a - b).norm() for a in x for b in y]).mean()
    within = [torch.stack([(a - b).norm() for i, a in enumerate(z) for b in z[:i]]).mean() for z in (x, y)]
    assert lookup("loss", "energy_distance").load()(x, y).item() == pytest.approx((2 * between - sum(within)).item())
