"""The check built in: a graph that does not compute what the module does is refused, with the step that differs."""

import pytest
import torch
from torch import Tensor, nn

from assembler.errors import GraphError
from assembler.importing import from_module


class Moody(nn.Module):
    """Counts its calls in Python, which no trace can see."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * float(self.calls)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.moody, self.head = nn.Linear(4, 4), Moody(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.moody(self.stem(x)))


def test_a_module_that_changes_from_call_to_call() -> None:
    with pytest.raises(GraphError) as caught:
        from_module(Net(), torch.randn(2, 4))
    assert "the graph's output 'output' differs from the module's by" in str(caught.value)


def test_a_wrong_operator_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.roll(self.stem(x), 1, 1))

    module = Shifted()
    monkeypatch.setattr("assembler.importing.operators._ALONE", ("roll",))
    from assembler.importing import operators

    real = operators.converted

    def wrong(call, ids):
        made = real(call, ids)
        if made.node is not None and made.node.op == "aten.roll":
            args = tuple((k, (2,) if k == "shifts" else v) for k, v in made.node.args)
            return operators.Made(made.name, operators.Node("aten.roll", args, made.node.inputs))
        return made

    monkeypatch.setattr("assembler.importing.nodes.converted", wrong)
    with pytest.raises(GraphError, match=r"the graph differs from the module by .*, first at 'roll' \(aten.roll\)"):
        from_module(module, torch.randn(2, 4))
