"""Ops that call sub-graphs: loops with carried state, and experts."""

from __future__ import annotations

import pytest
import torch

from assembler.compile.lower import lower
from assembler.errors import ShapeError
from assembler.graph.diff import diff
from assembler.infer.cost import total
from assembler.infer.shape import shapes

RNN = """
    inputs: {x: [B, 5, 4], h: [B, 3], shift: [B, 3]}
    graph:
      rnn:
        op: loop
        from: {x: x, h: h}
        scan: [x]
        carry: [h]
        collect: [y]
        body:
          cat: {op: concat, from: [x, h], dim: -1}
          cell: {op: linear, out: 3}
          new: {op: add, from: [cell, shift]}
          act: tanh
        outputs: {h: act, y: cell}
    outputs: {last: rnn, all: rnn.y}
"""
MOE = """
    inputs: {x: [B, 5, 4]}
    graph:
      router: {op: linear, out: 3, from: x}
      moe:
        op: experts
        count: 3
        k: K
        from: {x: x, logits: router}
        body: {up: {op: linear, out: 8, from: x}, act: gelu, down: {op: linear, out: 4}}
    outputs: {y: moe, load: moe.load}
"""


def test_a_loop_is_the_loop_written_out(model) -> None:
    found = model(RNN)
    x, h, shift = torch.randn(2, 5, 4), torch.randn(2, 3), torch.randn(2, 3)
    made, wanted = found(x, h, shift), []
    for n in range(5):
        y = found.rnn.cell(torch.cat([x[:, n], h], -1))
        wanted.append(y)
        h = torch.tanh(y + shift)
    torch.testing.assert_close(made["last"], h)
    torch.testing.assert_close(made["all"], torch.stack(wanted, 1))
    assert set(found.state_dict()) == {"rnn.cell.weight", "rnn.cell.bias"}


def test_a_loop_of_a_number_of_times_knows_its_index(model) -> None:
    found = model("""
        inputs: {x: [B, 3]}
        graph:
          refine:
            op: loop
            times: 4
            carry: [x]
            index: i
            from: {x: x}
            body: {sum: {op: add, from: [x, i]}}
            outputs: {x: sum}
    """)
    assert torch.equal(found(torch.zeros(2, 3)), torch.full((2, 3), 6.0))


def test_gradients_reach_the_weights_of_all_iterations(model) -> None:
    found = model(RNN).double()
    x, h, shift = (torch.randn(2, *s, dtype=torch.double, requires_grad=True) for s in ((5, 4), (3,), (3,)))
    assert torch.autograd.gradcheck(lambda *v: found(*v)["last"], (x, h, shift))


def test_a_body_is_part_of_the_graph(graph) -> None:
    whole = graph(RNN)
    assert list(whole.nodes["rnn"].body.nodes) == ["cat", "cell", "new", "act"]
    other = whole.replace("rnn.act", op="relu")
    assert other.fingerprint != whole.fingerprint
    assert "inside: ~ act: op tanh -> relu" in str(diff(whole, other))
    renamed = graph(RNN.replace("cell", "gate"))
    assert renamed.fingerprint == whole.fingerprint


def test_costs_count_every_iteration(graph) -> None:
    assert total(graph(RNN)).params == 7 * 3 + 3
    assert total(graph(RNN)).flops == 5 * 2 * 7 * 3


def test_weights_do_not_depend_on_what_is_around_the_loop(graph) -> None:
    one, two = lower(graph(RNN), seed=3), lower(graph(RNN.replace("inputs:", "vars: {a: 1}\n    inputs:")), seed=3)
    assert torch.equal(one.rnn.cell.weight, two.rnn.cell.weight)


GROWING = """
    inputs: {x: [B, 5, 4], h: [B, 3]}
    graph:
      rnn:
        {
          op: loop, scan: [x], carry: [h], from: {x: x, h: h},
          body: {h2: {op: concat, from: [x, h], dim: -1}}, outputs: {h: h2}
        }
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", "the carried 'h' is [2, 3] at first and [2, 7] then"),
        ("scan: [x]", "scan: [z]", "loop goes over 'z', which is not among what it reads: x, h"),
        ("scan: [x], ", "", "loop needs 'times', or 'scan' with what it goes over"),
        ("carry: [h], ", "", "loop makes nothing: name outputs of its body in 'carry' or 'collect'"),
    ],
)
def test_a_loop_that_does_not_fit_is_refused_with_its_path(graph, old: str, new: str, said: str) -> None:
    with pytest.raises(ShapeError) as error:
        shapes(graph(GROWING.replace(old, new)))
    assert said in str(error.value)
    assert error.value.problems[0].path == "rnn"


def test_a_loop_that_does_not_know_how_to_begin_says_what_to_write(graph) -> None:
    text = """
        inputs: {x: [B, 5, 4]}
        graph:
          rnn: {op: loop, scan: [x], carry: [h], from: {x: x}, body: {a: {op: linear, out: 3}}, outputs: {h: a}}
    """
    with pytest.raises(ShapeError) as error:
        shapes(graph(text))
    assert "loop carries 'h', which is not among what it reads: x" in str(error.value)
    assert "hint: name under 'from' what it begins as, such as {op: parameter, " in str(error.value)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_experts_are_the_weighted_sum_of_the_chosen(model, k: int) -> None:
    found, x = model(MOE.replace("K", str(k))), torch.randn(2, 5, 4)
    logits = found.router(x)
    best, chosen = logits.topk(k, -1)
    gates = torch.zeros_like(logits).scatter(-1, chosen, best.softmax(-1))
    parts = [expert(x=x.flatten(0, 1), logits=logits.flatten(0, 1))["output"] for expert in found.moe.expert]
    wanted = sum(g[..., None] * p.unflatten(0, (2, 5)) for g, p in zip(gates.unbind(-1), parts, strict=True))
    torch.testing.assert_close(found(x)["y"], wanted)
    torch.testing.assert_close(found(x)["load"].sum(), torch.tensor(1.0))
    compiled = torch.compile(found, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x)["y"], wanted)


KEYED = """
    inputs: {x: [B, 5, 4]}
    graph:
      moe:
        op: experts
        count: 3
        k: K
        keys: up
        weighted: false
        bias: true
        from: {x: x}
        body: {up: {op: linear, out: 8, from: x}, act: gelu, down: {op: linear, out: 4, bias: false}}
    outputs: {y: moe}
"""


@pytest.mark.parametrize("k", [1, 2, 3])
def test_experts_with_keys_are_chosen_by_their_mean_row_and_added_with_one_bias(model, k: int) -> None:
    found, x = model(KEYED.replace("K", str(k))), torch.randn(2, 5, 4)
    found.moe.bias.data.normal_()
    logits = torch.stack([x @ expert.up.weight.mean(0) for expert in found.moe.expert], -1)
    gates = torch.zeros_like(logits).scatter(-1, logits.topk(k, -1).indices, 1.0)
    parts = [expert(x=x.flatten(0, 1))["output"] for expert in found.moe.expert]
    wanted = sum(g[..., None] * p.unflatten(0, (2, 5)) for g, p in zip(gates.unbind(-1), parts, strict=True))
    torch.testing.assert_close(found(x), wanted + found.moe.bias)
    assert sum(p.numel() for p in found.parameters()) == 3 * (4 * 8 + 8 + 8 * 4) + 4
    compiled = torch.compile(found, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), wanted + found.moe.bias)


def test_experts_with_keys_say_what_is_wrong(graph) -> None:
    with pytest.raises(ShapeError, match="keys are rows of a linear layer of the body that reads x, and 'act' is none"):
        shapes(graph(KEYED.replace("K", "1").replace("keys: up", "keys: act")))
    with pytest.raises(ShapeError, match=r"experts reads x, not x, logits"):
        shapes(graph(MOE.replace("k: K", "keys: up")))


GATED = KEYED.replace("keys: up", "").replace("from: {x: x}", "from: {x: x, gates: g}").replace("K", "1")
GATED = GATED.replace("x: [B, 5, 4]", "x: [B, 5, 4], g: [B, 5, 3]")


def test_experts_with_gates_are_the_sum_that_the_gates_say_and_are_not_visited_where_they_are_zero(model) -> None:
    found, x, seen = model(GATED), torch.randn(2, 5, 4), []
    gates = torch.rand(2, 5, 3) * (torch.rand(2, 5, 3) > 0.5)
    parts = torch.stack([e(x=x.flatten(0, 1), gates=gates.flatten(0, 1))["output"] for e in found.moe.expert], -1)
    wanted = (parts.unflatten(0, (2, 5)) * gates[..., None, :]).sum(-1) + found.moe.bias
    for expert in found.moe.expert:
        expert.register_forward_hook(lambda _, args, kwargs, made: seen.append(len(kwargs["x"])), with_kwargs=True)
    torch.testing.assert_close(found.eval()(x, gates), wanted)
    assert seen == (gates != 0).sum((0, 1)).tolist()
    torch.testing.assert_close(found.train()(x, gates.requires_grad_()), wanted)
    found(x, gates).sum().backward()
    assert (gates.grad != 0).all()


def test_only_the_chosen_experts_cost_flops(graph) -> None:
    one, three = (total(graph(MOE.replace("K", k))) for k in "13")
    assert one.params == three.params == 4 * 3 + 3 + 3 * (4 * 8 + 8 + 8 * 4 + 4)
    came = {1: 3 * 4, 3: 3 * 10}  # of 10 tokens, where the experts are loaded alike
    assert three.flops - one.flops == (came[3] - came[1]) * (2 * 4 * 8 + 2 * 8 * 4) // 2
