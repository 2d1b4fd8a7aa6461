"""Parts that cannot be traced: named by the error, kept as they are on request, their code needed at load."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.errors import GraphError
from assembler.importing import from_module
from assembler.importing.folder import read, save
from assembler.infer.cost import total
from assembler.registry.live import LIVE


class Router(nn.Module):
    """Decides by the values that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(8, 8)

    def forward(self, x: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        if x.mean() > 0:
            return self.up(x) * scale, x
        return self.up(-x) * scale, -x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.router = Router()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden, side = self.router(self.stem(x), scale=2.0)
        return self.head(hidden + side)


def test_the_error_names_the_part_and_offers_to_keep_it() -> None:
    with pytest.raises(GraphError) as caught:
        from_module(Net(), torch.randn(4, 8))
    first, hint = str(caught.value).split("\n")
    assert first.startswith("router: error: 'router' (Router) cannot be traced: could not guard on data-dependent")
    assert hint == "    hint: keep it as it is: opaque=['router']"


@pytest.mark.parametrize("opaque", [["router"], "auto"])
def test_an_opaque_part_is_one_step_with_its_own_weights(opaque: list[str]) -> None:
    net = Net().eval()
    found = from_module(net, torch.randn(4, 8), opaque=opaque)
    assert found.opaque == ("router",)
    assert found.graph.nodes["router"].op.startswith("opaque.Router_")
    assert found.weights.keys() == net.state_dict().keys()
    x = torch.randn(7, 8)
    torch.testing.assert_close(found.build().eval()(x), net(x))
    assert total(found.graph).params == sum(p.numel() for p in net.parameters())


def test_an_opaque_part_is_trained_with_the_rest_and_apart_from_the_module() -> None:
    net = Net()
    module = from_module(net, torch.randn(4, 8), opaque=["router"]).build().train()
    before = net.router.up.weight.clone()
    module(torch.randn(4, 8)).sum().backward()
    torch.optim.SGD(module.parameters(), 1.0).step()
    assert torch.equal(net.router.up.weight, before)
    assert not torch.equal(module.get_parameter("router.up.weight"), before)


def test_its_name_is_of_what_it_is() -> None:
    a, b = (from_module(Net(), torch.randn(4, 8), opaque=["router"]).graph for _ in range(2))
    assert a.fingerprint == b.fingerprint


def test_its_code_is_needed_to_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = from_module(Net(), torch.randn(4, 8), opaque=["router"])
    save(found, tmp_path)
    assert read(tmp_path).graph == found.graph
    monkeypatch.delitem(LIVE, ("op", found.graph.nodes["router"].op))
    with pytest.raises(GraphError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        "router: error: step 'router' is the Python module Router, whose code is not here\n"
        "    hint: import the model again in this process, or bring Router as a class under @op, with --plugin FILE, "
        "first"
    )


def test_a_part_that_is_not_there() -> None:
    with pytest.raises(
        GraphError, match=r"there is no part 'ruter' in Net\n    hint: did you mean 'router' or 'router.up'\?"
    ):
        from_module(Net(), torch.randn(4, 8), opaque=["ruter"])


def test_a_part_that_can_be_traced_may_be_kept_all_the_same() -> None:
    found = from_module(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.randn(2, 4), opaque=["0"])
    assert found.graph.nodes["0"].op.startswith("opaque.Linear_")
    assert lower(found.graph)(torch.randn(3, 4)).shape == (3, 4)
