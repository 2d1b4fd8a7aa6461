"""Weights that are replaced are not drawn first, and nothing undrawn is left."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from assembler.compile.lower import lower
from assembler.compile.undrawn import fill, undrawn
from assembler.recipe.document import parse
from assembler.wiring.build import build

RECIPE = """\
kind: model
inputs: {{x: [B, 64]}}
graph: {{fc: {{op: linear, out: 48, initializers: {rules}}}}}
"""


def layer(rules: str) -> nn.Linear:
    module = lower(build(parse(RECIPE.format(rules=rules)).model))
    found = module.get_submodule("fc")
    assert isinstance(found, nn.Linear)
    return found


def test_what_is_replaced_as_a_whole_is_not_drawn() -> None:
    before = torch.get_rng_state()
    made = undrawn(lambda: nn.Linear(64, 48), {"weight", "bias"})
    assert made.weight.shape == (48, 64)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_replaced_in_part_is_drawn() -> None:
    torch.manual_seed(0)
    drawn = nn.Linear(64, 48)
    torch.manual_seed(0)
    made = undrawn(lambda: nn.Linear(64, 48), {"weight"})
    assert torch.equal(made.weight, drawn.weight)
    assert torch.equal(made.bias, drawn.bias)


def test_every_parameter_begins_as_its_rule_or_its_op_says() -> None:
    whole = layer("{weight: {name: constant, val: 2.0}, bias: zeros}")
    assert torch.equal(whole.weight, torch.full((48, 64), 2.0)) and not whole.bias.any()
    part = layer("{weight: {name: constant, val: 2.0}}")
    assert torch.equal(part.weight, whole.weight)
    assert 0 < part.bias.abs().max() <= 64**-0.5  # as nn.Linear draws it


@pytest.mark.parametrize(
    "args",
    [{"std": 0.02}, {"mean": 0.1, "std": 0.2}, {"std": 0.02, "a": -0.03, "b": 0.02}, {}, {"std": 0.2223, "b": 2.5}],
)
def test_a_truncated_normal_is_torchs(args: dict[str, float]) -> None:
    ours, theirs = torch.empty(300, 301), torch.empty(300, 301)
    torch.manual_seed(0)
    fill(ours, "trunc_normal", args)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    nn.init.trunc_normal_(theirs, **args)
    assert torch.equal(ours, theirs)
    assert torch.equal(after, torch.get_rng_state())


def test_no_normal_number_lies_beyond_where_none_is_looked_for() -> None:
    """The farthest that torch's arithmetic can reach, in the precision of either dtype."""
    for dtype, bits in ((torch.float32, 24), (torch.float64, 53)):
        least = torch.tensor(2.0, dtype=dtype) ** -bits
        assert float((-2 * least.log()).sqrt()) < 9
