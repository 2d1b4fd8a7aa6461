"""The loop: it learns, repeats itself bit by bit, and stops with a reason."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from assembler.errors import TrainingError
from assembler.train.data import Augment, Batches, load
from assembler.train.evaluate import evaluate, forward_of
from assembler.train.loop import FitResult, Hooks, fit
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec

TASK = Objective.from_spec([{"loss": "cross_entropy", "value": "logits", "target": "label"}])
BLOBS = {"name": "blobs", "train": 40, "validation": 20, "test": 20, "size": 4}


def small(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3))


def train(
    model: nn.Module, spec: FitSpec, hooks: Hooks | None = None, seed: int = 0, data: dict | None = None
) -> FitResult:
    batches = Batches(load(data or BLOBS).train, spec.batch, seed, Augment.from_spec(spec.augment))
    return fit(forward_of(model, ("image",)), batches, TASK, dict(model.named_parameters()), spec, hooks)


def test_a_linear_model_learns_the_digits():
    data = load({"name": "digits"})
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    result = train(model, FitSpec(epochs=5, lr=1e-2), data={"name": "digits"})
    assert evaluate(model, data.validation) > 0.9
    assert result.steps == 5 * 18 and result.history[-1]["loss"] < result.history[0]["loss"]


@pytest.mark.parametrize("optimizer", ["adamw", {"name": "sgd", "momentum": 0.5}])
def test_the_same_seed_gives_the_same_bits(optimizer):
    spec = FitSpec(epochs=2, batch=16, optimizer=optimizer, augment={"shift": 1, "flip": True})
    states = []
    for noise in (0, 7):
        model = small()
        torch.manual_seed(noise)  # what happened before plays no part
        train(model, spec, seed=5)
        states.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(*states)
    other = small()
    train(other, spec, seed=6)
    assert not torch.equal(states[0], torch.cat([p.flatten() for p in other.parameters()]))


def test_a_run_leaves_the_generators_as_they_were():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = small(seed=3)
    torch.set_rng_state(before)
    train(model, FitSpec(steps=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_reported_and_when():
    told, logged, asked = [], [], []
    hooks = Hooks(
        progress=lambda *args: told.append(args),
        log=logged.append,
        validate=lambda: asked.append(1) or 0.5,
    )
    result = train(small(), FitSpec(epochs=2.5, batch=10, validate_every=2), hooks)
    assert result.steps == 10 and result.samples == 100 and result.validation == 0.5
    assert [r["epoch"] for r in logged] == [1, 2, 2.5] and [r["step"] for r in logged] == [4, 8, 10]
    assert ["validation" in r for r in logged] == [False, True, True] and len(asked) == 2
    assert result.history == tuple(logged) and result.loss == logged[-1]["loss"]
    step, total, info = told[-1]
    assert (step, total) == (10, 10) and info["epoch"] == 2.5 and info["loss"] > 0 and info["lr"] < 1e-3
    assert len(told) < 10


def test_terms_are_logged_where_there_are_several():
    model = small()
    two = Objective.from_spec(
        [
            {"loss": "cross_entropy", "value": "logits", "target": "label"},
            {"loss": "kl", "value": "logits", "target": "teacher.logits", "weight": 0.0},
        ]
    )
    inner = forward_of(model, ("image",))

    def forward(batch):
        return {**inner(batch), "teacher.logits": torch.zeros(len(batch["label"]), 3)}

    result = fit(forward, Batches(load(BLOBS).train, 16), two, dict(model.named_parameters()), FitSpec(epochs=1))
    record = result.history[0]
    assert record["loss"] == pytest.approx(record["loss.cross_entropy"]) and record["loss.kl"] > 0


def test_only_the_given_parameters_move():
    model = small()
    frozen = model[1].weight.detach().clone()
    params = {f"4.{name}": p for name, p in model[4].named_parameters()}
    fit(forward_of(model, ("image",)), Batches(load(BLOBS).train, 16), TASK, params, FitSpec(epochs=1))
    assert torch.equal(model[1].weight, frozen)


def test_a_loss_that_blows_up_names_step_term_and_value():
    with pytest.raises(TrainingError) as error:
        train(small(), FitSpec(steps=5, lr=1e30, weight_decay=0.0, warmup=0.0, clip=None, schedule="constant"))
    assert str(error.value) == (
        "logits: error: the loss is nan at step 2 of 5: term 'cross_entropy'; the value 'logits' is not finite, "
        "the trained weights are finite (the largest, '1.weight', is at 1e+30)\n"
        "    hint: lower `lr` (it was 1e+30 in this step), warm up longer, or clip the gradient harder"
    )


def test_a_value_that_overflows_is_named():
    model = small()
    inner = forward_of(model, ("image",))

    def forward(batch):
        logits = inner(batch)["logits"]
        return {"stage.0": logits, "stage.1": logits / 0.0, "logits": logits / 0.0}

    with pytest.raises(TrainingError, match=r"at step 1 of 1: term .*; the value 'stage.1' is not finite, the trained"):
        fit(forward, Batches(load(BLOBS).train, 16), TASK, dict(model.named_parameters()), FitSpec(steps=1))


def test_a_gradient_that_overflows_is_named():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))

    def forward(batch):
        logits = model(batch["image"])
        return {"logits": (logits - logits.detach()).abs().sqrt()}  # 0, with an infinite slope

    batches, params = Batches(load(BLOBS).train, 16), dict(model.named_parameters())
    with pytest.raises(TrainingError) as error:
        fit(forward, batches, TASK, params, FitSpec(steps=4))
    assert str(error.value).startswith(
        "1.weight: error: the gradient of '1.weight' is not finite at step 1 of 4, though the loss is\n"
    )
    with pytest.raises(TrainingError) as error:  # without clipping, the next loss tells
        fit(forward, batches, TASK, params, FitSpec(steps=4, clip=None, warmup=0.0))
    assert str(error.value) == (
        "1.weight: error: the loss is nan at step 2 of 4: term 'cross_entropy'; the weight '1.weight' is not finite\n"
        "    hint: lower `lr` (it was 0.000854 in this step), warm up longer, or clip the gradient harder"
    )


def test_nothing_to_train_is_said():
    model = small().requires_grad_(False)
    with pytest.raises(TrainingError, match="there is nothing to train: no parameter takes a gradient"):
        train(model, FitSpec(steps=1))
    with pytest.raises(
        TrainingError, match=r"no trained parameter has a part in the objective\n.*it reads label, logits"
    ):
        batches = Batches(load(BLOBS).train, 16)
        fit(forward_of(model, ("image",)), batches, TASK, {"w": nn.Parameter(torch.ones(1))}, FitSpec(steps=1))


def test_bfloat16_trains_on_the_cpu_too():
    kinds = set()
    model = small()
    model[4].register_forward_hook(lambda _module, _inputs, output: kinds.add(output.dtype))
    train(model, FitSpec(steps=2, precision="bfloat16"))
    train(model, FitSpec(steps=2, precision="float32"))
    assert kinds == {torch.bfloat16, torch.float32}
