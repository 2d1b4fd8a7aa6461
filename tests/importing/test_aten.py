"""The namespace `aten.`: looked up without torch, closed, sizes by the batch."""

import subprocess
import sys

import pytest
import torch

from assembler.compile.lower import lower
from assembler.errors import AssemblerError, ShapeError
from assembler.graph.text import from_text
from assembler.graph.verify import verify
from assembler.infer.shape import shapes
from assembler.registry import lookup

GRAPH = """graph "m" (%x: float32[2, 8]) {
  %a = aten.reshape(self=%x) {shape = [-1, 2, 4]}
  %rows = aten.arange(like=%x) {end = "B"}
  %picked = aten.index.Tensor(self=%a, 0=%rows) {places = ["indices.1"]}
  %both = aten.cat(0=%a, 1=%a) {dim = 1}
  %top = aten.topk(self=%both) {k = 3}
  %top.indices = item(input=%top) {output = "indices"}
  %room = aten.zeros(like=%both) {size = ["2*B+1", 4]}
  return y = %both, places = %top.indices, room = %room
}
"""


def test_names_are_looked_up_without_torch() -> None:
    code = "import sys; from assembler.registry import lookup; lookup('op', 'aten.relu'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_signatures_are_those_of_torch() -> None:
    entry = lookup("op", "aten.scaled_dot_product_attention")
    assert (entry.inputs, entry.optional) == (("query", "key", "value", "attn_mask"), 1)
    assert entry.arguments == ("dropout_p", "is_causal", "scale", "enable_gqa")
    assert lookup("op", "aten.topk").outputs({}) == ("values", "indices")
    assert lookup("op", "aten.split.Tensor").outputs({}) == ()


def test_a_graph_of_operators_runs_at_any_batch() -> None:
    graph = from_text(GRAPH.replace("indices.1", "indices.0"))
    verify(graph)
    assert shapes(graph)["room"].shape == (5, 4)
    made = lower(graph)(torch.arange(40.0).reshape(5, 8))
    assert made["room"].shape == (11, 4)
    assert made["places"].shape == (5, 4, 3)


@pytest.mark.parametrize(
    "name",
    [
        "aten.from_file",  # reads files
        "aten.add_.Tensor",  # writes into its input
        "aten.relu_",
        "aten.add.out",
        "aten.set_data",
        "aten._cudnn_rnn",  # internal
        "aten.mkldnn_linear",
        "aten.nothing",
        "aten.add.Tensor; import os",
        "aten.__class__",
        "aten.",
        "prims.add",
    ],
)
def test_the_namespace_is_closed(name: str) -> None:
    with pytest.raises(AssemblerError, match=f"unknown op '{name.split(';')[0]}"):
        lookup("op", name)


def test_a_size_that_is_none() -> None:
    graph = from_text(GRAPH.replace("2*B+1", "__import__('os')").replace("indices.1", "indices.0"))
    with pytest.raises(ShapeError, match=r"room \(aten.zeros\) .* is no size"):
        shapes(graph)
