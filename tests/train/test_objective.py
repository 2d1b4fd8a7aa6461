"""Losses against their definitions, and objectives made of them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.compile.lower import lower
from assembler.errors import RecipeError
from assembler.recipe.document import parse
from assembler.registry import lookup, names
from assembler.train.objective import Objective
from assembler.wiring.build import build

TASK = {"loss": "cross_entropy", "value": "logits", "target": "label"}
TEACH = {"loss": "kl", "value": "logits", "target": "teacher.logits"}


def call(name: str, *tensors: torch.Tensor, **args: float) -> float:
    return lookup("loss", name).load()(*tensors, **args).item()


def test_terms_are_called_by_as_much_as_tells_them_apart():
    other = {**TEACH, "target": "assistant.logits"}
    assert [t.name for t in Objective.from_spec([TASK, TEACH, {"value": "penalty"}]).terms] == [
        "cross_entropy",
        "kl",
        "penalty",
    ]
    said = Objective.from_spec([TEACH, other, {**TEACH, "value": "early"}, {**other, "name": "mine"}]).terms
    assert [t.name for t in said] == ["kl.logits.teacher.logits", "kl.logits.assistant.logits", "kl.early", "mine"]


def test_the_registered_losses():
    assert {"cross_entropy", "kl", "mse", "normalized_mse", "cosine", "soft_cross_entropy"} <= set(names("loss"))
    entry = lookup("loss", "kl")
    assert entry.inputs == ("value", "target") and [(p.name, p.default) for p in entry.params] == [
        ("temperature", 4.0),
        ("axis", 1),
    ]


def test_kl_is_batchmean_times_temperature_squared():
    student, teacher = torch.randn(5, 7), torch.randn(5, 7)
    p, q = (teacher / 2).softmax(1), (student / 2).softmax(1)
    expected = (p * (p / q).log()).sum() / 5 * 4
    assert call("kl", student, teacher, temperature=2.0) == pytest.approx(expected.item(), rel=1e-5)
    assert call("kl", teacher, teacher) == pytest.approx(0, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-3, 1e3), st.integers(0, 100))
def test_normalized_mse_does_not_see_the_scale(scale, seed):
    value, target = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(seed))
    assert call("normalized_mse", torch.zeros(4, 3), target) == pytest.approx(1, rel=1e-5)
    base = call("normalized_mse", value, target)
    assert call("normalized_mse", value * scale, target * scale) == pytest.approx(base, rel=1e-4)


def test_normalized_mse_of_a_target_of_zeros_is_finite_at_it():
    assert call("normalized_mse", torch.zeros(3), torch.zeros(3)) == 0


def test_cosine_and_soft_cross_entropy():
    x = torch.randn(3, 2, 2)
    assert call("cosine", 5 * x, x) == pytest.approx(0, abs=1e-6) and call("cosine", -x, x) == pytest.approx(2)
    assert call("soft_cross_entropy", torch.zeros(2, 8), torch.randn(2, 8)) == pytest.approx(math.log(8))
    value, target = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    assert call("soft_cross_entropy", value, target, axis=-1) == pytest.approx(
        float(call("soft_cross_entropy", value.movedim(-1, 1), target.movedim(-1, 1)))
    )


@pytest.mark.parametrize("name", ["kl", "soft_cross_entropy", "normalized_mse", "cosine"])
def test_distillation_gives_the_teacher_no_gradient(name):
    value, target = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    lookup("loss", name).load()(value, target).backward()
    assert value.grad is not None and target.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("some", [True, False])
def test_ctc_loss_is_that_of_torch(dtype, some):
    logits, labels = torch.randn(3, 12, 6, dtype=dtype), torch.randint(0, 5, (3, 4))
    lengths = torch.tensor([12, 9, 11]) if some else torch.full((3,), 12)
    target_lengths = torch.tensor([4, 1, 3]) if some else torch.full((3,), 4)
    given = {"lengths": lengths, "target_lengths": target_lengths} if some else {}
    scores = logits.float().log_softmax(2).transpose(0, 1)
    wanted = torch.nn.functional.ctc_loss(scores, labels, lengths, target_lengths, blank=5)
    assert call("ctc_loss", logits, labels, blank=5, **given) == pytest.approx(
        wanted.item(), rel=1e-2 if dtype != torch.float32 else 1e-6
    )


def test_ctc_loss_of_labels_that_do_not_fit():
    logits, labels = torch.randn(2, 3, 6), torch.ones(2, 4, dtype=torch.int64)
    assert call("ctc_loss", logits, labels) == math.inf
    assert call("ctc_loss", logits, labels, zero_infinity=True) == 0


@pytest.mark.parametrize("batch", [1, 5])
def test_a_model_has_a_ctc_loss_with_lengths_of_its_batch(batch):
    text = """
kind: model
inputs: {x: [B, 12, 6], label: {shape: [B, 4], dtype: int64}, labels: {shape: [B], dtype: int64}}
graph: {loss: {op: ctc_loss, from: {value: x, target: label, target_lengths: labels}}}
"""
    x, label, labels = torch.randn(batch, 12, 6), torch.randint(1, 6, (batch, 4)), torch.arange(batch) % 4 + 1
    x.requires_grad_()
    made = lower(build(parse(text, "ctc.yaml").model))(x, label, labels)
    made.backward()
    assert made.item() == pytest.approx(call("ctc_loss", x, label, None, labels)) and x.grad.isfinite().all()


def test_an_objective_is_the_weighted_sum_of_its_terms():
    objective = Objective.from_spec([{**TASK, "weight": 0.5, "label_smoothing": 0.1}, {**TEACH, "weight": 2}])
    assert objective.needs == {"logits", "label", "teacher.logits"}
    values = {"logits": torch.randn(4, 3), "label": torch.tensor([0, 1, 2, 0]), "teacher.logits": torch.randn(4, 3)}
    total, terms = objective(values)
    assert list(terms) == ["cross_entropy", "kl"]
    assert total.item() == pytest.approx(0.5 * terms["cross_entropy"].item() + 2 * terms["kl"].item(), rel=1e-5)
    smooth = call("cross_entropy", values["logits"], values["label"], label_smoothing=0.1)
    assert terms["cross_entropy"].item() == pytest.approx(smooth)


def test_terms_of_one_loss_are_told_apart_by_their_value():
    spec = [{"loss": "mse", "value": f"host.stage.{i}", "target": f"teacher.stage.{i}"} for i in range(2)]
    assert [t.name for t in Objective.from_spec(spec).terms] == ["mse.host.stage.0", "mse.host.stage.1"]


def test_half_precision_is_raised_before_the_loss():
    values = {"logits": torch.randn(4, 3, dtype=torch.bfloat16), "label": torch.zeros(4, dtype=torch.int64)}
    assert Objective.from_spec([TASK])(values)[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            [],
            "error: the objective has no terms\n    hint: [{loss: cross_entropy, value: logits, target: label}]",
        ),
        (
            [TASK, {**TASK, "loss": "cross_entrop"}],
            "objective.1: error: unknown loss 'cross_entrop'\n"
            "    hint: did you mean 'cross_entropy' or 'soft_cross_entropy' or 'binary_cross_entropy'?",
        ),
        (
            [{**TASK, "label_smothing": 0.1}],
            "objective.0: error: loss 'cross_entropy' has no argument 'label_smothing'\n"
            "    hint: did you mean 'label_smoothing'?",
        ),
        (
            [{**TASK, "wieght": 1}],
            "objective.0: error: loss 'cross_entropy' has no argument 'wieght'\n    hint: did you mean 'weight'?",
        ),
        ([{**TASK, "weight": "much"}], "objective.0: error: 'weight' must be a number, not 'much'"),
        ([{"loss": "mse", "value": "a"}], "objective.0: error: a term of an objective needs 'target', a string"),
        (
            [TASK, TASK],
            "objective: error: 2 terms are called 'cross_entropy.logits.label'\n    hint: give each its own `name`",
        ),
    ],
)
def test_wrong_objectives_are_named(spec, expected):
    with pytest.raises(RecipeError) as error:
        Objective.from_spec(spec)
    assert str(error.value) == expected


def test_a_missing_value_is_named_with_the_nearest():
    with pytest.raises(RecipeError) as error:
        Objective.from_spec([TEACH])({"logits": torch.zeros(1), "teacher.logit": torch.zeros(1)})
    assert str(error.value) == (
        "error: term 'kl' reads 'teacher.logits', and there is no such value\n"
        "    hint: did you mean 'teacher.logit' or 'logits'?"
    )


def test_shapes_that_do_not_go_together_are_named():
    values = {"logits": torch.zeros(4, 3), "label": torch.zeros(5, dtype=torch.int64)}
    with pytest.raises(RecipeError) as error:
        Objective.from_spec([TASK])(values)
    assert str(error.value) == (
        "error: in the objective, cross_entropy (cross_entropy) does not accept logits [4, 3] and label [5]: "
        "expected input batch_size (4) to match target batch_size (5)"
    )


def test_samples_without_labels_cost_nothing_and_a_batch_of_them_no_nan() -> None:
    logits, labels = torch.randn(6, 5, requires_grad=True), torch.tensor([1, -100, 3, -100, 0, 4])
    loss = lookup("loss", "cross_entropy").load()
    torch.testing.assert_close(loss(logits, labels), torch.nn.functional.cross_entropy(logits, labels))
    none = loss(logits, torch.full((6,), -100))
    none.backward()
    assert none == 0 and logits.grad is not None and not logits.grad.any()
