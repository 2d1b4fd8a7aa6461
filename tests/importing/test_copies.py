"""Deeper imported models begin with a shallow one's blocks, whatever their residual branches end in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from assembler.assemble.inherit import inherited, stacked
from assembler.compile.lower import lower
from assembler.graph.core import Graph
from assembler.graph.edit import remove
from assembler.importing.imported import from_module


class Scaled(nn.Module):
    """A block that ends in a layer scale and a permutation, as ConvNeXt's do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.gamma = nn.Parameter(torch.full((6,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.gamma * self.fc(x.permute(0, 2, 1).tanh())).permute(0, 2, 1)


class Multiplied(nn.Module):
    """A block whose weight is a bare tensor with the inputs first, as GPT-2's are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 5) / 3)
        self.bias = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.addmm(self.bias, x.reshape(-1, 5).tanh(), self.weight).reshape(x.shape)


class Shortcut(nn.Module):
    """A block that sums up two modules, the one of which hands on what enters, as ResNet's do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.shortcut = nn.Linear(5, 5), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc(x.tanh()) + self.shortcut(x)
        return found


class Gated(nn.Module):
    """A block whose factors hang together: dividing either of them divides more than their product."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        return x + y * y.sigmoid()


def net(block: type[nn.Module], depth: int) -> tuple[Graph, dict[str, Tensor]]:
    module = nn.Sequential(*(block() for _ in range(depth))).eval()
    graph = from_module(module, torch.randn(2, 6, 5)).graph
    return graph, {k: v.detach() for k, v in module.state_dict().items()}


@pytest.mark.parametrize(
    ("block", "ends"),
    [(Scaled, {"gamma"}), (Multiplied, {"weight", "bias"}), (Shortcut, {"fc.weight", "fc.bias"})],
)
def test_copies_divide_once_what_a_branch_ends_in(block: type[nn.Module], ends: set[str]) -> None:
    (shallow, weights), (deep, _) = net(block, 2), net(block, 6)
    made, account = stacked(shallow, weights, deep)
    divided = {key for key, fate in account.fates.items() if fate == "scaled"}
    assert divided == {f"{n}.{end}" for n in range(6) for end in ends}
    for key, tensor in made.items():
        number, _, name = key.partition(".")
        old = weights[f"{int(number) // 3}.{name}"]
        torch.testing.assert_close(tensor, old / 3 if key in divided else old)


@pytest.mark.parametrize("block", [Scaled, Multiplied, Shortcut])
def test_new_blocks_begin_as_if_they_were_not_there(block: type[nn.Module]) -> None:
    (shallow, weights), (deep, _) = net(block, 2), net(block, 3)
    made, _ = inherited(shallow, weights, deep)
    x, small, large = torch.randn(2, 6, 5), lower(shallow).eval(), lower(deep).eval()
    small.load_state_dict(weights)
    large.load_state_dict(made)
    torch.testing.assert_close(large(x), small(x))


def test_nothing_is_divided_where_that_would_not_divide_what_is_added() -> None:
    (shallow, weights), (deep, _) = net(Gated, 2), net(Gated, 6)
    assert stacked(shallow, weights, deep)[1].counts == {"copied": 12}


def test_blocks_that_are_left_begin_as_themselves() -> None:
    whole, weights = net(Multiplied, 3)
    made, account = stacked(whole, weights, remove(whole, "1"))
    assert account.counts == {"copied": 4}
    assert torch.equal(made["2.weight"], weights["2.weight"])
