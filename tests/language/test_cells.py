"""Recurrent cells with their state as named inputs and outputs."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from assembler.compile.source import to_source
from assembler.errors import ShapeError
from assembler.infer.shape import shapes

LSTM = """
    inputs: {x: [B, 5, 3], h: [B, 4], c: [B, 4]}
    graph:
      rnn:
        op: loop
        from: {x: x, h: h, c: c}
        scan: [x]
        carry: [h, c]
        collect: [all]
        body: {cell: {op: lstm_cell, out: 4, from: {input: x, hidden: h, cell: c}}}
        outputs: {h: cell, c: cell.cell, all: cell}
    outputs: {all: rnn.all, h: rnn, c: rnn.c}
"""
CELL = """
    inputs: {x: [B, 5, 3], h: [B, 4]}
    graph:
      rnn:
        op: loop
        from: {x: x, h: h}
        scan: [x]
        carry: [h]
        collect: [all]
        body: {cell: {op: KIND_cell, out: 4, from: {input: x, hidden: h}}}
        outputs: {h: cell, all: cell}
    outputs: {all: rnn.all, h: rnn}
"""


def test_an_lstm_cell_in_a_loop_is_an_lstm(model) -> None:
    found = model(LSTM)
    whole = torch.nn.LSTM(3, 4, batch_first=True)
    whole.load_state_dict({f"{k}_l0": v for k, v in found.rnn.cell.state_dict().items()})
    x, h, c = torch.randn(2, 5, 3), torch.randn(2, 4), torch.randn(2, 4)
    made, (all_, (hn, cn)) = found(x, h, c), whole(x, (h[None], c[None]))
    for name, wanted in (("all", all_), ("h", hn[0]), ("c", cn[0])):
        torch.testing.assert_close(made[name], wanted)
    program = torch.export.export(found, (x, h, c)).module()
    torch.testing.assert_close(program(x, h, c), made)
    torch.testing.assert_close(torch.compile(found, fullgraph=True, backend="eager")(x, h, c), made)


@pytest.mark.parametrize("kind", ["gru", "rnn"])
def test_a_cell_of_one_state_is_the_whole_layer(model, kind: str) -> None:
    found = model(CELL.replace("KIND", kind))
    whole = {"gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind](3, 4, batch_first=True)
    whole.load_state_dict({f"{k}_l0": v for k, v in found.rnn.cell.state_dict().items()})
    x, h = torch.randn(2, 5, 3), torch.randn(2, 4)
    made, (all_, hn) = found(x, h), whole(x, h[None])
    torch.testing.assert_close(made["all"], all_)
    torch.testing.assert_close(made["h"], hn[0])


@pytest.mark.parametrize("text", [LSTM, CELL.replace("KIND", "gru")])
def test_the_stand_alone_file_makes_the_same(graph, model, text: str) -> None:
    module = types.ModuleType("cell_model")
    module.__file__ = "cell_model.py"
    sys.modules[module.__name__] = module
    exec(compile(to_source(graph(text)), "cell_model.py", "exec"), module.__dict__)
    found, other = model(text), module.Model()
    other.load_state_dict(found.state_dict())
    given = [torch.randn(2, *kind.shape[1:]) for _, kind in graph(text).inputs]
    torch.testing.assert_close(found(*given), other(*given))


def test_a_whole_layer_takes_the_state_that_it_begins_with(model) -> None:
    found = model("""
        inputs: {x: [B, 5, 3], h: [B, 1, 4], c: [B, 1, 4]}
        graph:
          first: {op: permute, dims: [1, 0, 2], from: h}
          held: {op: permute, dims: [1, 0, 2], from: c}
          rnn: {op: lstm, out: 4, batch_first: true, from: {input: x, hidden: first, cell: held}}
        outputs: {y: rnn, c: rnn.cell}
    """)
    x, h, c = torch.randn(2, 5, 3), torch.randn(2, 1, 4), torch.randn(2, 1, 4)
    wanted, (_, cell) = found.rnn(x, (h.transpose(0, 1), c.transpose(0, 1)))
    torch.testing.assert_close(found(x, h, c), {"y": wanted, "c": cell})


def test_half_of_a_state_is_refused(graph) -> None:
    half = LSTM.replace(", cell: c}}", "}}")
    with pytest.raises(ShapeError, match="lstm_cell reads 'hidden' and 'cell' together, or none of them"):
        shapes(graph(half))
