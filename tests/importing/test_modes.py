"""Modules that return other outputs in training than in evaluation: every one is there, for its mode."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typer.testing import CliRunner

from assembler.cli.app import app
from assembler.importing import from_module
from assembler.importing.folder import read, save

X = torch.randn(4, 3)


class Made(NamedTuple):
    logits: Tensor
    aux: Tensor


class Net(nn.Module):
    """Layers, a step that drops in each way, and what the modes return."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.stem, self.drop, self.head, self.side = nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 4), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Any:
        mid = self.drop(F.dropout(self.stem(x), 0.5, self.training))
        y, aux = self.head(mid), self.side(mid)
        if self.kind == "one":
            return (y, aux) if self.training else y
        if self.kind == "named":
            return Made(y, aux) if self.training else y
        if self.kind == "beside":
            return {"y": y, "aux": aux} if self.training else {"y": y}
        if self.kind == "more":
            return {"y": y} if self.training else {"y": y, "extra": (aux.softmax(-1) + 1, mid.detach())}
        return {"y": aux} if self.training else {"y": (y, aux)}


class Apart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.side = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.stem(x)
        return {"y": self.side(y)} if self.training else {"y": self.side(x), "aux": y}


@pytest.mark.parametrize(
    ("kind", "outputs", "only"),
    [
        ("one", ["output.0", "output.1"], {"output.1": "train"}),
        ("named", ["logits", "aux"], {"aux": "train"}),
        ("beside", ["y", "aux"], {"aux": "train"}),
        ("more", ["y", "extra.0", "extra.1"], {"extra.0": "eval", "extra.1": "eval"}),
    ],
)
def test_outputs_of_one_mode_are_there_in_it(kind: str, outputs: list[str], only: dict[str, str]) -> None:
    net = Net(kind)
    found = from_module(net, X)
    assert found.untrained == "" and found.difference == 0
    assert [name for name, _ in found.graph.outputs] == outputs
    assert dict(found.graph.only) == only
    assert sum(node.op == "dropout" for _, node in found.graph) == 2
    made = found.build()
    for mode in (True, False):
        net.train(mode), made.train(mode)
        torch.manual_seed(0)
        theirs = net(X)
        torch.manual_seed(0)
        ours = made(X)
        assert all(a.equal(b) for a, b in zip(_flat(ours), _flat(theirs), strict=True))


def test_outputs_that_cannot_be_one_graph_are_those_of_evaluation_and_it_is_said() -> None:
    found = from_module(Net("other"), X)
    assert [name for name, _ in found.graph.outputs] == ["y.0", "y.1"]
    assert found.untrained == "in training it returns y, in evaluation y.0 and y.1"


def test_a_layer_of_both_modes_that_each_calls_with_another_value_is_named() -> None:
    found = from_module(Apart(), X)
    assert dict(found.graph.outputs).keys() == {"y", "aux"} and not found.graph.only
    said = "in training it returns y, in evaluation y and aux; 'side' (linear) is another step in each"
    assert found.untrained == said


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_memories_of_xlnet_are_there_in_evaluation() -> None:
    tf = pytest.importorskip("transformers")
    net = tf.XLNetModel(tf.XLNetConfig(vocab_size=20, d_model=16, n_layer=2, n_head=2, d_inner=32, mem_len=4))
    ids = torch.randint(0, 20, (2, 6))
    found = from_module(net, {"input_ids": ids})
    assert found.untrained == ""
    assert dict(found.graph.only) == {"mems.0": "eval", "mems.1": "eval"}
    assert sum(node.op == "dropout" for _, node in found.graph) > 2
    made, theirs = found.build().eval()(ids), net.eval()(ids)
    torch.testing.assert_close(_flat(made), [theirs.last_hidden_state, *theirs.mems])


def test_they_are_written_and_read(tmp_path: Any) -> None:
    found = from_module(Net("more"), X)
    save(found, tmp_path)
    assert read(tmp_path).graph == found.graph


def test_the_command_line_takes_an_auxiliary_head(tmp_path: Any) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 2)\n"
        "    def forward(self, x):\n"
        "        y = self.a(x)\n"
        "        return (y, self.b(y)) if self.training else y\n"
        "def net():\n"
        "    return Net(), torch.randn(2, 3)\n"
    )
    made = CliRunner().invoke(app, ["import", f"{tmp_path}/net.py:net", "--out", f"{tmp_path}/net"])
    assert made.exit_code == 0, made.output
    assert "return output.0 = %a, output.1 = %b train" in (tmp_path / "net" / "graph.txt").read_text()


def _flat(returned: Any) -> list[Tensor]:
    return [v for v in torch.utils._pytree.tree_leaves(returned) if isinstance(v, Tensor)]
