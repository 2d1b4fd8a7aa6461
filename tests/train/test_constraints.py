"""Constraints on weights: met at the start and after every step, by the gradient too; mistakes in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from assembler.errors import RecipeError
from assembler.train.data.batches import Batches
from assembler.train.data.core import Split
from assembler.train.loop import Hooks, fit
from assembler.train.objective import Objective
from assembler.train.spec import FitSpec


def trained(constraints: dict[str, Any], after: Callable[[nn.Module], None], **more: Any) -> nn.Linear:
    """A layer that is trained for a few steps, looked at after each."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    x = torch.randn(32, 6)
    split = Split({"x": x, "y": torch.randn(32, 4)}, ("y",))

    def forward(batch: Any) -> dict[str, Tensor]:
        return {"out": layer(batch["x"])}

    spec = FitSpec(steps=5, batch=8, constraints=constraints, **{"lr": 0.1, **more})
    objective = Objective.from_spec([{"loss": "mse", "value": "out", "target": "y"}])
    params = {f"fc.{name}": p for name, p in layer.named_parameters()}
    fit(forward, Batches(split, 8, 0), objective, params, spec, Hooks(after=lambda: after(layer)))
    return layer


@pytest.mark.parametrize("dim", [0, 1])
def test_unit_norm_holds_after_every_step(dim: int) -> None:
    seen: list[Tensor] = []
    layer = trained(
        {"fc.weight": {"name": "unit_norm", "dim": dim}}, lambda m: seen.append(m.weight.detach().norm(dim=dim))
    )
    assert len(seen) == 5 and all(torch.allclose(n, torch.ones_like(n), atol=1e-6) for n in seen)
    assert layer.bias.norm() > 0


def test_the_gradient_of_a_weight_of_unit_norm_lies_along_the_sphere() -> None:
    seen: list[float] = []

    def look(module: nn.Module) -> None:
        seen.append(float((module.weight.grad * module.weight.detach()).sum(0).abs().max()))

    for given in ({"*.weight": {"name": "unit_norm", "dim": 0}}, {}):
        trained(given, look, weight_decay=0.0, optimizer="sgd", lr=1e-4)
    # The weight has moved by a small step since, so that there is a little along it again.
    assert max(seen[:5]) < 0.01 * min(seen[5:])


def test_a_norm_and_a_range_are_bounds() -> None:
    def look(module: nn.Module) -> None:
        assert module.weight.norm(dim=1).max() <= 0.3 + 1e-6 and module.bias.abs().max() <= 0.01

    held = {
        "fc.weight": {"name": "max_norm", "dim": 1, "most": 0.3},
        "fc.bias": {"name": "range", "low": -0.01, "high": 0.01},
    }
    trained(held, look)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "unit_nrom", "dim": 0}, "the constraint of 'fc.weight' is none that there is: 'unit_nrom'"),
        ({"name": "unit_norm"}, "the constraint of 'fc.weight', unit_norm, takes dim"),
        ({"name": "max_norm", "dim": 0}, "the constraint of 'fc.weight', max_norm, takes dim and most"),
        ({"name": "range", "low": "a", "high": 1}, "the constraint of 'fc.weight', range, cannot be of 'a'"),
        (
            {"name": "range", "low": 2, "high": 1},
            "the constraint of 'fc.weight' has its ends the wrong way round: 2 to 1",
        ),
        ({"name": "unit_norm", "dim": 0.5}, "the constraint of 'fc.weight', unit_norm, cannot be of 0.5"),
    ],
)
def test_mistakes_are_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        FitSpec(constraints={"fc.weight": given})
    assert raised.value.problems[0].message == message


def test_a_path_without_a_trained_weight_is_told() -> None:
    with pytest.raises(RecipeError) as raised:
        trained({"fd.weight": {"name": "unit_norm", "dim": 0}}, lambda _: None)
    problem = raised.value.problems[0]
    assert problem.message == "there is no trained weight 'fd.weight' for a constraint"
    assert problem.hint == "did you mean 'fc.weight'?"
