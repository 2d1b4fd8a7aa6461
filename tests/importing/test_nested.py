"""Modules whose arguments are nested mappings, lists and tuples: the graph takes them so, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import assembler as asm
from assembler.cli.app import app
from assembler.importing.imported import from_module


class Net(nn.Module):
    """Reads a plain input, a mapping in which a pair lies, and leaves another member of it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(5, 4)

    def forward(self, x: Tensor, batch: dict[str, Any]) -> Tensor:
        first, second = batch["pair"]
        return self.a(batch["a"]) + self.b(first) * second + x.mean(-1, keepdim=True)


def example(batch: int) -> tuple[Tensor, dict[str, Any]]:
    pair = (torch.randn(batch, 5), torch.randn(batch, 4))
    return torch.randn(batch, 2), {"a": torch.randn(batch, 3), "unread": torch.randn(batch, 7), "pair": pair}


@pytest.mark.parametrize("opaque", [[], ["b"]])
def test_a_graph_has_nested_inputs(opaque: list[str]) -> None:
    net = Net()
    found = from_module(net, example(2), opaque=opaque)
    assert found.graph.input_names == ("x", "batch.a", "batch.unread", "batch.pair.0", "batch.pair.1")
    made = found.build()
    x, batch = example(5)
    assert torch.allclose(made(x, batch), net(x, batch))
    assert torch.allclose(made(x=x, batch=batch), net(x, batch))


def test_a_graph_that_differs_names_the_step() -> None:
    with pytest.raises(asm.AssemblerError) as told:
        from_module(Net(), example(2), tolerance=-1)
    assert told.value.problems[0].path == "a"


def test_the_command_line_names_them_with_dots(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a = torch.nn.Linear(3, 4)\n"
        "    def forward(self, batch):\n"
        "        return self.a(batch['a']) + batch['b']\n"
    )
    shapes = ["--input", "batch.a=[B, 3]", "--input", "batch.b=[B, 4]"]
    made = CliRunner().invoke(app, ["import", f"{tmp_path}/net.py:Net", *shapes, "--out", f"{tmp_path}/net"])
    assert made.exit_code == 0, made.output
    net = asm.build(tmp_path / "net" / "graph.txt")
    assert net({"a": torch.randn(2, 3), "b": torch.randn(2, 4)}).shape == (2, 4)
