"""Training a whole model, alone or beside a teacher."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from assemble_models import TASK, data, graph, model, task, training

from assembler.assemble.train import train_model
from assembler.errors import InputError, RecipeError, TrainingError
from assembler.infer.cost import total, train_flops
from assembler.recipe.document import parse
from assembler.train.data.core import load
from assembler.wiring.build import build

KL = {"loss": "kl", "value": "logits", "target": "teacher.logits", "weight": 0.5}


def test_training_lowers_the_loss_and_counts_its_flops() -> None:
    done = train_model(graph(), data(), task(), training(steps=30))
    assert done.after[1] < done.before[1]
    assert done.train_flops == train_flops(graph()) * done.fit.samples


def test_given_weights_are_where_it_starts() -> None:
    start = model(graph(), seed=5)
    done = train_model(graph(), data(), task(), training(lr=0.0, weight_decay=0.0), weights=start.weights)
    assert torch.equal(done.weights["head.weight"], start.weights["head.weight"])


def test_a_teacher_costs_its_forward_pass_once_a_sample() -> None:
    teacher = model(graph("pool"), seed=1)
    done = train_model(graph(), data(32), task(), training(TASK, KL, steps=6), teachers={"teacher": teacher})
    alone = train_flops(graph()) * done.fit.samples
    assert done.train_flops == alone + total(teacher.graph).flops * 32


def test_a_teacher_may_be_read_anywhere() -> None:
    teacher = model(graph("pool"), seed=1)
    term = {"loss": "normalized_mse", "value": "stage.1", "target": "teacher.stage.0"}
    done = train_model(graph(), data(), task(), training(TASK, term), teachers={"teacher": teacher})
    assert "loss.normalized_mse" in done.fit.history[0]


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({**KL, "target": "teacher.logit"}, "the objective reads 'logit', which small does not have"),
        ({**KL, "value": "stage.7"}, "the objective reads 'stage.7', which small does not have"),
    ],
)
def test_values_that_are_not_there_are_named(term: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        train_model(graph(), data(), task(), training(TASK, term), teachers={"teacher": model(graph())})
    assert message in str(caught.value)


def test_the_same_seed_gives_the_same_bits() -> None:
    left = train_model(graph(), data(), task(), training())
    torch.manual_seed(7)
    right = train_model(graph(), data(), task(), training())
    assert all(torch.equal(t, right.weights[k]) for k, t in left.weights.items())


def test_data_that_does_not_fit_the_model_is_named() -> None:
    other = build(parse("kind: model\ninputs: {picture: [B, 1, 6, 6]}\ngraph: {flatten: flatten}\n").model)
    with pytest.raises(InputError, match="the model reads 'picture', the data has image"):
        train_model(other, data(), task(), training())
    small = load({"name": "blobs", "size": 8})
    with pytest.raises(InputError, match=r"the model wants 'image' \[1, 6, 6\], the data has \[1, 8, 8\]"):
        train_model(graph(), small, task(), training())


def test_a_loss_that_is_no_number_names_the_step_where_that_begins() -> None:
    text = "kind: model\ninputs: {image: [B, 1, 6, 6]}\ngraph:\n  f: flatten\n  z: {op: scale, factor: 0.0}\n  l: log\n"
    text += "  h: {op: linear, out: 10}\noutputs: {logits: h}\n"
    with pytest.raises(TrainingError) as caught:
        train_model(build(parse(text, "bad.yaml").model, name="bad"), data(), task(), training(steps=1))
    assert str(caught.value) == (
        "bad.yaml:7:6: error: the loss of bad is nan; h (linear) is the first step whose value is not finite (NaN): "
        "it is given minus infinity, which l (log), bad.yaml:6 makes first\n"
        "      h: {op: linear, out: 10}\n"
        "         ^^^^^^^^^^^^^^^^^^^^^"
    )
