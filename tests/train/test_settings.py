"""Settings of a run, schedules, optimisers, devices, evaluation."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from assembler.errors import InputError, RecipeError
from assembler.train import device, optimizers, schedule
from assembler.train.data import Split, load
from assembler.train.evaluate import evaluate, forward_of, measure
from assembler.train.spec import FitSpec, signature


def test_settings_are_read_from_a_mapping():
    spec = FitSpec.from_spec({"epochs": 3, "optimizer": {"name": "sgd"}, "clip": None})
    assert spec == FitSpec(epochs=3, optimizer={"name": "sgd"}, clip=None)
    assert (
        spec.total_steps(7) == 21 and FitSpec(steps=4).total_steps(7) == 4 and FitSpec(epochs=0.1).total_steps(7) == 1
    )


def test_the_signature_is_a_schema():
    params = {p.name: p for p in signature().params}
    assert list(params)[:3] == ["epochs", "steps", "batch"] and params["schedule"].type.accepts("linear")
    assert not params["schedule"].type.accepts("cosinus") and not any(p.required for p in params.values())


def test_settings_do_not_need_torch():
    code = (
        "import sys; from assembler.train import spec as s; s.FitSpec.from_spec({}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"epoch": 3}, "fit: error: 'training' has no setting 'epoch'\n    hint: did you mean 'epochs'?"),
        (
            {"schedule": "cos"},
            "fit: error: 'schedule' of 'training' must be one of 'cosine', 'linear', 'constant', not 'cos'\n"
            "    hint: did you mean 'cosine'?",
        ),
        ({"batch": 0}, "fit: error: 'batch' must be at least 1, not 0"),
        (
            {"epochs": -1, "warmup": 2},
            "fit: error: 'epochs' must be at least 0, not -1\nfit: error: 'warmup' must be from 0 to 1, not 2",
        ),
    ],
)
def test_wrong_settings_are_named(spec, expected):
    with pytest.raises(RecipeError) as error:
        FitSpec.from_spec(spec, path="fit")
    assert str(error.value) == expected


@given(st.sampled_from(["cosine", "linear", "constant"]), st.integers(1, 200), st.floats(0, 1))
def test_schedules_climb_then_fall(name, total, warmup):
    rates = [schedule.factor(name, step, total, warmup) for step in range(total)]
    peak = rates.index(max(rates))
    assert all(0 < r <= 1 for r in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)


def test_vectors_are_not_decayed():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    optimizer = optimizers.build("adamw", dict(model.named_parameters()), lr=0.1, weight_decay=0.2)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decay[id(p)] for p in model.parameters()] == [0.2, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("adam_w", "optimizer: error: unknown optimizer 'adam_w'\n    hint: did you mean 'adamw'?"),
        (
            {"name": "sgd", "momentm": 0.8},
            "optimizer: error: optimizer 'sgd' has no argument 'momentm'\n    hint: did you mean 'momentum'?",
        ),
        ({"name": "sgd", "lr": 0.8}, "optimizer: error: 'lr' stands beside `optimizer`, not inside it"),
        (
            {"momentum": 1},
            "optimizer: error: an optimizer needs a 'name', a string\n    hint: {name: sgd, momentum: 0.8}",
        ),
    ],
)
def test_wrong_optimizers_are_named(spec, expected):
    with pytest.raises(RecipeError) as error:
        optimizers.build(spec, {}, 0.1, 0.0)
    assert str(error.value) == expected


def test_devices():
    assert device.resolve("cpu") == torch.device("cpu") and device.resolve("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(InputError) as error:
        device.resolve("cdua")
    assert str(error.value) == "error: unknown device 'cdua'\n    hint: did you mean 'cuda'?"
    with pytest.raises(InputError, match="unknown device 'cuda:x'"):
        device.resolve("cuda:x")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"device 'cuda:1' is not there: .*\n    hint: use 'auto' or 'cpu'"):
            device.resolve("cuda:1")


def test_seeding_covers_torch():
    device.seed_all(4)
    first = torch.rand(3)
    device.seed_all(4)
    assert torch.equal(first, torch.rand(3))


def test_evaluation_restores_every_mode():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.9), nn.BatchNorm1d(10))
    model[3].eval()
    before = model[3].running_mean.clone()
    split = load({"name": "digits"}).validation
    assert evaluate(model, split) == evaluate(model, split, batch=7)
    assert [m.training for m in model] == [True, True, True, False] and torch.equal(model[3].running_mean, before)


def test_metrics():
    split = Split({"x": torch.tensor([[0.0, 1.0], [2.0, 1.0]]), "label": torch.tensor([1, 1])})
    assert measure(forward_of(nn.Identity(), ("x",)), split) == 0.5
    squares = Split({"x": torch.tensor([[1.0], [2.0], [3.0]]), "y": torch.zeros(3, 1)}, targets=("y",))
    assert evaluate(nn.Identity(), squares, "mse", target="y", batch=2) == pytest.approx(14 / 3)
    with pytest.raises(RecipeError) as error:
        measure(forward_of(nn.Identity(), ("x",)), split, "acuracy")
    assert str(error.value) == "error: unknown metric 'acuracy'\n    hint: did you mean 'accuracy'?"


def test_models_name_their_outputs():
    batch = {"a": torch.ones(1), "b": torch.zeros(1)}

    class Two(nn.Module):
        def forward(self, a, b):
            return a, b

    class Named(nn.Module):
        def forward(self, a):
            return {"out": a}

    assert forward_of(Two(), ("a", "b"), ("p", "q"))(batch) == {"p": batch["a"], "q": batch["b"]}
    assert forward_of(Named(), ("a",))(batch) == {"out": batch["a"]}
