"""`torch.nn` classes by their own names, those that return a tuple included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import assembler as asm
from assembler.recipe.document import parse

HEAD = "kind: model\ninputs: {x: [B, 6, 8]}\ngraph:\n"
STEPS = {
    "rnn": "{op: rnn, out: 5, batch_first: true}",
    "lstm": "{op: LSTM, hidden_size: 5, num_layers: 2, batch_first: true}",
    "gru": "{op: gru, out: 5, batch_first: true, bidirectional: true}",
    "attention": "{op: MultiheadAttention, num_heads: 2, batch_first: true, from: {query: x, key: x, value: x}}",
    "linear": "{op: Linear, out_features: 5}",
    "encoder": "{op: TransformerEncoderLayer, nhead: 2, dim_feedforward: 16, batch_first: true}",
    "conv": "{op: Conv1d, out: 4, kernel_size: 3}",
    "norm": "{op: BatchNorm1d}",
}
WANTED = {
    "rnn": lambda: nn.RNN(8, 5, batch_first=True),
    "lstm": lambda: nn.LSTM(8, 5, 2, batch_first=True),
    "gru": lambda: nn.GRU(8, 5, batch_first=True, bidirectional=True),
    "attention": lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    "linear": lambda: nn.Linear(8, 5),
    "encoder": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    "conv": lambda: nn.Conv1d(6, 4, 3),
    "norm": lambda: nn.BatchNorm1d(6),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_torch_class_gives_what_it_gives_alone(name: str, tmp_path: Path) -> None:
    ours = asm.build(parse(f"{HEAD}  step: {STEPS[name]}\n")).eval()
    peer = WANTED[name]().eval()
    peer.load_state_dict({k.removeprefix("step."): v for k, v in ours.state_dict().items()})
    x = torch.randn(3, 6, 8)
    found = peer(x, x, x) if name == "attention" else peer(x)
    with torch.no_grad():
        wanted = found[0] if isinstance(found, tuple) else found
        torch.testing.assert_close(ours(x), wanted)
        asm.export(ours, tmp_path, ["safetensors", "source"])
        torch.save((x, ours(x)), tmp_path / "io.pt")
    # torch takes other kernels where gradients are on.
    load = "import torch, model; torch.set_grad_enabled(False); x, y = torch.load('io.pt')"
    check = f"{load}; assert torch.equal(model.load().eval()(x), y)"
    subprocess.run([sys.executable, "-c", check], cwd=tmp_path, check=True)
