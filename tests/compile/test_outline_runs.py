"""Runs of steps as slots of an outlined module: its keys and values are those of the module as a whole."""

from __future__ import annotations

import copy

import torch
from compile_graphs import hybrid

from assembler.compile.lower import lower
from assembler.compile.outline import outline, part, swap
from assembler.graph import Graph
from assembler.graph.balance import balanced
from assembler.graph.cuts import cuts

SLOTS = ["stem..ctx", "tokens..stage.0", "stage.1"]


def images() -> torch.Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_same_keys_same_weights_same_outputs_as_lower() -> None:
    whole, outlined = lower(hybrid()).eval(), outline(hybrid(), SLOTS).eval()
    assert [n.target for n in outlined.graph.nodes][1:4] == ["stem__ctx", "act", "tokens__stage_0"]
    for module in (outlined, copy.deepcopy(outlined)):
        assert set(module.state_dict()) == set(whole.state_dict())
        assert all(torch.equal(v, whole.state_dict()[k]) for k, v in module.state_dict().items())
        assert torch.equal(module(images())["logits"], whole(images())["logits"])
    other = lower(hybrid(), seed=5).eval()
    outlined.load_state_dict(other.state_dict())
    assert torch.equal(outlined(images())["logits"], other(images())["logits"])


def test_swapping_a_run_is_loading_its_weights() -> None:
    host, other = outline(hybrid(), SLOTS).eval(), part(hybrid(), SLOTS[1], seed=7).eval()
    before = host(images())["logits"]
    swapped = swap(host, {SLOTS[1]: other})
    whole = lower(hybrid()).eval()
    whole.load_state_dict(whole.state_dict() | other.state_dict())
    assert torch.equal(swapped(images())["logits"], whole(images())["logits"])
    assert torch.equal(host(images())["logits"], before)
    assert set(swapped.state_dict()) == set(whole.state_dict())
    swapped.load_state_dict(whole.state_dict())


def test_a_graph_without_named_containers_is_cut_and_outlined() -> None:
    graph = hybrid()
    bare = Graph(graph.inputs, graph.nodes, (("logits", "head"),), name="imported")
    slots = [s.path for s in balanced(bare, cuts(bare), dict.fromkeys(bare.nodes, 1), 2)]
    assert slots == ["stem..act", "tokens..head"]
    whole, outlined = lower(bare).eval(), outline(bare, slots).eval()
    assert set(outlined.state_dict()) == set(whole.state_dict())
    assert torch.equal(outlined(images()), whole(images()))
