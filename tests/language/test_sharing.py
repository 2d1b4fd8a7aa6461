"""Steps that use the weights of other steps, and steps that are not trained."""

from __future__ import annotations

import copy

import pytest
import torch

from assembler.compile.lower import lower
from assembler.errors import GraphError, ShapeError
from assembler.graph.diff import diff
from assembler.graph.edit import cut, insert_after, prune
from assembler.infer.cost import total

TIED = """
    inputs: {tokens: {shape: [B, 6], dtype: int64}}
    graph:
      wte: {op: embedding, num_embeddings: 11, out: 8}
      mix: {op: linear, out: 8}
      head: {op: linear, out: 11, bias: false, share: {weight: wte.weight}}
"""
COPIES = """
    inputs: {x: [B, 8]}
    graph:
      block: {body: {norm: layer_norm, ffn: {op: linear, out: 8}, act: relu}, repeat: 3, share: true}
      last: {op: linear, out: 8, share: block.0.ffn}
"""


def test_a_tied_parameter_is_one_parameter(model) -> None:
    found = model(TIED)
    assert found.head.weight is found.wte.weight
    assert sum(p.numel() for p in found.parameters()) == 11 * 8 + 8 * 8 + 8
    assert sum(p.numel() for p in copy.deepcopy(found).parameters()) == 11 * 8 + 8 * 8 + 8
    assert set(found.state_dict()) == {"wte.weight", "mix.weight", "mix.bias", "head.weight"}


def test_copies_that_share_are_one_module(model) -> None:
    found = model(COPIES)
    assert set(found.state_dict()) == {f"block.0.{k}" for k in ("norm.weight", "norm.bias", "ffn.weight", "ffn.bias")}
    x, norm, ffn = torch.randn(2, 8), found.block.get_submodule("0.norm"), found.block.get_submodule("0.ffn")
    wanted = x
    for _ in range(3):
        wanted = ffn(norm(wanted)).relu()
    torch.testing.assert_close(found(x), ffn(wanted))


@pytest.mark.parametrize(
    "said", ["for: {k: [back.2, back.0]}, share: =k", """repeat: 2, share: "='back.' + str(2 - 2 * j)" """]
)
def test_copies_share_what_an_expression_names(model, said: str) -> None:
    found = model(
        f"""
    inputs: {{x: [B, 8]}}
    graph:
      back: {{op: linear, out: 8, repeat: 3}}
      on: {{op: linear, out: 8, {said}}}
"""
    )
    zero, one, two = (found.get_submodule(f"back.{n}") for n in range(3))
    x = torch.randn(2, 8)
    torch.testing.assert_close(found(x), zero(two(two(one(zero(x))))))


def test_shared_weights_are_counted_once(graph, model) -> None:
    for text in (TIED, COPIES):
        assert total(graph(text)).params == sum(p.numel() for p in model(text).parameters())


def test_sharing_tells_graphs_apart_and_names_do_not(graph) -> None:
    apart, shared = COPIES.replace(", share: true", "").replace(", share: block.0.ffn", ""), COPIES
    renamed = COPIES.replace("ffn", "mlp").replace("block", "layer")
    assert graph(apart).fingerprint != graph(shared).fingerprint
    assert graph(renamed).fingerprint == graph(shared).fingerprint


def test_a_slot_cannot_share_with_what_is_outside(graph) -> None:
    with pytest.raises(GraphError, match=r"'block.1.norm' uses the weights of 'block.0.norm', which is on the other"):
        cut(graph(COPIES), "block.1")


def test_pruning_keeps_the_owners(graph) -> None:
    assert list(prune(graph(TIED)).nodes) == ["wte", "mix", "head"]


def test_weights_of_other_sizes_cannot_be_shared(graph) -> None:
    text = """
        inputs: {x: [B, 8]}
        graph:
          a: {op: linear, out: 4}
          b: {op: linear, out: 4, share: a}
    """
    with pytest.raises(ShapeError, match=r"'b' cannot use the weights of 'a': it needs weight \[4, 4\]") as error:
        lower(graph(text))
    assert "they are weight [4, 8], bias [4]" in str(error.value)


def test_a_tie_of_other_shapes_is_refused_by_path(graph) -> None:
    text = TIED.replace("out: 11, bias", "out: 12, bias")
    with pytest.raises(GraphError, match=r"'weight' \[12, 8\] cannot be 'weight' \[11, 8\]: their shapes differ"):
        lower(graph(text))


def test_a_frozen_step_is_not_trained_and_stays_in_evaluation(model) -> None:
    found = model("""
        inputs: {x: [B, 3, 8, 8]}
        graph:
          stem: {body: {conv: {op: conv2d, out: 4, kernel_size: 3}, norm: batch_norm2d}, frozen: true}
          free: batch_norm2d
    """).train()
    before = copy.deepcopy(found.state_dict())
    found(torch.randn(4, 3, 8, 8)).square().mean().backward()
    assert {n for n, p in found.named_parameters() if p.grad is not None} == {"free.weight", "free.bias"}
    after = found.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if k.startswith("stem"))
    assert not torch.equal(after["free.running_mean"], before["free.running_mean"])


LEVELS = """
    inputs: {x: [B, 4, 3], h: [B, 3]}
    blocks:
      cell:
        inputs: [x, h]
        body:
          {a: {op: linear, out: 3, from: x}, b: {op: linear, out: 3, from: h}, sum: {op: add, from: [a, b]}, act: tanh}
    graph:
      start: {op: mean, dim: 1, from: x}
      first: {op: cell, from: [start, h]}
      rnn:
        op: loop
        from: {x: x, h: first}
        scan: [x]
        carry: [h]
        body:
          step: {op: cell, from: [x, h], share: first}
          own: {op: linear, out: 3}
          inner:
            op: loop
            times: 2
            carry: [u]
            from: {u: own}
            body: {a: {op: linear, out: 3, share: own}}
            outputs: {u: a}
        outputs: {h: inner}
      again:
        {op: loop, times: 2, carry: [h], from: {h: rnn}, outputs: {h: b},
         body: {b: {op: linear, out: 3, share: rnn.own}}}
      last: {op: linear, out: 3, share: first.a}
      tied: {op: linear, out: 3, bias: false, share: {weight: rnn.own.weight}}
"""


def test_weights_are_shared_in_and_out_of_loops(graph, model) -> None:
    found = model(LEVELS)
    x, h = torch.randn(2, 4, 3), torch.randn(2, 3)
    a, b, own = found.first.a, found.first.b, found.rnn.own
    wanted = torch.tanh(a(x.mean(1)) + b(h))
    for n in range(4):
        wanted = own(own(own(torch.tanh(a(x[:, n]) + b(wanted)))))
    torch.testing.assert_close(found(x, h), a(own(own(wanted))) @ own.weight.T)
    owners = ("first.a", "first.b", "rnn.own")
    keys = [f"{owner}.{name}" for owner in owners for name in ("weight", "bias")]
    assert list(found.state_dict()) == [*keys, "tied.weight"]
    assert found.tied.weight is own.weight
    assert total(graph(LEVELS)).params == sum(p.numel() for p in found.parameters()) == 3 * (9 + 3)
    again = copy.deepcopy(found)
    assert list(again.state_dict()) == [*keys, "tied.weight"]
    again.first.a.weight.data.zero_()
    assert not torch.equal(again(x, h), found(x, h))


def test_sharing_across_a_loop_survives_compiling_and_export(model) -> None:
    found = model(LEVELS).eval()
    given = torch.randn(2, 4, 3), torch.randn(2, 3)
    compiled = torch.compile(found, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*given), found(*given))
    program = torch.export.export(found, given)
    torch.testing.assert_close(program.module()(*given), found(*given))
    assert len(set(program.state_dict)) == len(found.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        (", share: first.a}\n", "}\n"),
        ("share: first.a}", "share: first.b}"),
        ("share: rnn.own}", "share: first.a}"),
        ("share: own}", "share: step.a}"),
    ],
)
def test_what_is_shared_with_a_loop_tells_graphs_apart(graph, change: tuple[str, str]) -> None:
    changed = graph(LEVELS.replace(*change))
    assert changed.fingerprint != graph(LEVELS).fingerprint
    assert diff(graph(LEVELS), changed)
    assert graph(LEVELS.replace("own", "mine")).fingerprint == graph(LEVELS).fingerprint


def test_edits_keep_what_is_shared_across_a_loop(graph) -> None:
    found = graph(LEVELS)
    with pytest.raises(GraphError, match=r"'rnn' uses the weights of 'first\.a', which is on the other"):
        cut(found, "rnn")
    longer = insert_after(found, "again", "after", "relu")
    assert longer.nodes["rnn"] == found.nodes["rnn"]
    with pytest.raises(GraphError, match=r"step 'again\.b', a linear, shares the weights of '\^rnn/own', a gelu"):
        found.replace("rnn.own", op="gelu")
