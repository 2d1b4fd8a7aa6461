"""Ops, blocks and models with several outputs, and models whose inputs and outputs nest."""

from __future__ import annotations

import pytest
import torch

from assembler.errors import RecipeError, ShapeError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.edit import extract, graft
from assembler.graph.structure import flatten, pack
from assembler.infer.shape import shapes

LSTM = """
    inputs: {x: [B, 5, 4]}
    graph:
      rnn: {op: lstm, out: 6, batch_first: true}
      head: {op: linear, out: 3}
    outputs: {y: head, cell: rnn.cell, last: rnn.1}
"""


def test_every_output_of_an_op_can_be_read_by_name_and_number(model) -> None:
    found = model(LSTM)
    x = torch.randn(2, 5, 4)
    all_, (hidden, cell) = found.rnn(x)
    made = found(x)
    torch.testing.assert_close(made["y"], found.head(all_))
    torch.testing.assert_close(made["cell"], cell)
    torch.testing.assert_close(made["last"], hidden)


def test_the_first_output_is_the_step_itself(graph) -> None:
    assert dict(graph("inputs: {x: [B, 5, 4]}\ngraph: {rnn: {op: gru, out: 6}}\noutputs: rnn.output").outputs) == {
        "output": "rnn"
    }


def test_further_outputs_are_typed(graph) -> None:
    types = shapes(graph(LSTM))
    assert (types["rnn"].shape, types["rnn.cell"].shape) == ((2, 5, 6), (1, 2, 6))


def test_blocks_give_out_what_they_name(model) -> None:
    found = model("""
        inputs: {x: [B, 4]}
        blocks:
          two:
            inputs: [a]
            body: {up: {op: linear, out: 3}, down: {op: linear, out: 2}}
            outputs: {low: down, high: up}
        graph:
          one: {op: two, from: x}
        outputs: {first: one, named: one.low, second: one.high}
    """)
    made = found(torch.randn(2, 4))
    assert torch.equal(made["first"], made["named"])
    assert made["second"].shape == (2, 3)


def test_inputs_and_outputs_nest(model) -> None:
    found = model("""
        inputs: {cache: {k: [B, 2], v: [B, 2]}, xs: [[B, 2], [B, 2]]}
        graph:
          sum: {op: add, from: [cache.k, cache.v]}
          more: {op: add, from: [xs.0, xs.1]}
        outputs: {pair: [sum, more], named: {k: cache.k, sum: sum}}
    """)
    k, v, a, b = (torch.randn(2, 2) for _ in range(4))
    made = found({"k": k, "v": v}, [a, b])
    assert torch.equal(made["pair"][0], k + v) and torch.equal(made["pair"][1], a + b)
    assert set(made["named"]) == {"k", "sum"} and torch.equal(made["named"]["k"], k)


def test_nesting_and_flattening_are_inverse() -> None:
    pairs = [("a.0", 1), ("a.1.x", 2), ("b", 3)]
    assert pack(pairs) == {"a": [1, {"x": 2}], "b": 3}
    assert list(flatten(pack(pairs))) == pairs


def test_a_slot_keeps_the_further_outputs_of_its_steps(graph) -> None:
    whole = graph("""
        inputs: {x: [B, 5, 4]}
        graph:
          enc:
            body:
              rnn: {op: lstm, out: 4, batch_first: true}
              last: {op: flatten, start_dim: 0, from: rnn.cell}
          head: {op: linear, out: 3}
    """)
    part = extract(whole, "enc", shapes(whole))
    assert "rnn.cell" in part.nodes
    assert graft(whole, "enc", part) == whole


@pytest.mark.parametrize("output", ["cel", "7"])
def test_inference_refuses_what_is_neither_an_output_nor_a_weight(output: str) -> None:
    nodes = {
        "rnn": Node("lstm", (("out", 3),), (("input", "x"),)),
        "rnn.z": Node("item", (("output", output),), (("input", "rnn"),)),
    }
    graph = Graph((("x", TensorType((2, 5, 4))),), nodes, (("y", "rnn.z"),))
    with pytest.raises(ShapeError, match=f"has no output and no weight '{output}'"):
        shapes(graph)


OPTIONAL = """
    inputs: {x: [B, 4, 8], y: [B, 4, 8]}
    blocks:
      layer:
        inputs: [x, more?]
        body: {norm: layer_norm, sum: {op: add, from: [norm, more]}, ffn: {op: linear, out: 8}}
    graph:
      plain: {op: layer, from: x}
      with: {op: layer, repeat: 2, from: [plain, y]}
"""


def test_a_block_may_be_called_without_an_optional_input(graph) -> None:
    whole = graph(OPTIONAL.replace("with:", "both:"))
    assert whole.nodes["plain.sum"].sources == ("plain.norm",)
    assert whole.nodes["both.0.sum"].sources == ("both.0.norm", "y")
    assert whole.nodes["both.1.sum"].sources == ("both.1.norm", "y")


def test_an_op_that_needs_what_a_call_leaves_out_says_so(graph) -> None:
    text = OPTIONAL.replace("with:", "both:").replace("op: add, from: [norm, more]", "op: sub, from: [norm, more]")
    with pytest.raises(RecipeError, match=r"'plain\.sum' needs its input 'b', which the call of the block leaves out"):
        graph(text)
