from __future__ import annotations

import copy

import pytest
import torch
from compile_graphs import chain, hybrid, node, plain

from assembler.compile.lower import lower
from assembler.compile.outline import outline, part, swap
from assembler.errors import GraphError
from assembler.infer.shape import shapes

SLOTS = ["ctx.local", "tokens", "stage.0", "stage.1.mix", "gap"]


def images() -> torch.Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_same_keys_same_weights_same_outputs_as_lower() -> None:
    whole, outlined = lower(hybrid()).eval(), outline(hybrid(), SLOTS).eval()
    assert set(outlined.state_dict()) == set(whole.state_dict())
    assert all(torch.equal(v, whole.state_dict()[k]) for k, v in outlined.state_dict().items())
    assert all(torch.equal(v, whole(images())[k]) for k, v in outlined(images()).items())
    assert outlined.meta["graph"] == hybrid()


def test_every_slot_is_one_call() -> None:
    called = [n.target for n in outline(chain(12), ["stage.0", "stage.1", "stage.2"]).graph.nodes]
    assert called == ["x", "stage.0", "stage.1", "stage.2", "output"]


def test_swapping_a_part_is_loading_its_weights_and_leaves_the_host_alone() -> None:
    g = hybrid()
    host = outline(g, SLOTS).eval()
    before = host(images())["logits"]
    other = part(g, "stage.0", seed=7).eval()
    swapped = swap(host, {"stage.0": other})
    whole = lower(g).eval()
    whole.load_state_dict(whole.state_dict() | {f"stage.0.{k}": v for k, v in other.state_dict().items()})
    assert torch.equal(swapped(images())["logits"], whole(images())["logits"])
    assert torch.equal(host(images())["logits"], before)
    assert not torch.equal(swapped(images())["logits"], before)
    assert swapped.get_submodule("stage.1.mix") is host.get_submodule("stage.1.mix")
    assert set(swapped.state_dict()) == set(host.state_dict())
    assert torch.equal(copy.deepcopy(swapped)(images())["logits"], swapped(images())["logits"])


def test_a_part_of_another_architecture_fits_as_it_is() -> None:
    g = chain(8)
    lean = g.replace("stage.1", op="conv2d", out=16, kernel_size=1)
    swapped = swap(outline(g, ["stage.0", "stage.1"]), {"stage.1": part(lean, "stage.1")})
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(swapped(x), lower(lean)(x))
    assert {k for k in swapped.state_dict() if k.startswith("stage.1")} == {"stage.1.weight", "stage.1.bias"}


def test_a_part_of_functions_alone_is_a_module_too() -> None:
    g = plain({"a": node("conv2d", "x", out=4, kernel_size=1), "p": node("pool", "a")}, 2, 3, 8, 8)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(outline(g, ["p"])(x), lower(g)(x))


def test_parts_are_seeded_by_their_whole_path() -> None:
    g = hybrid()
    inner = part(g, "stage.1.mix", shapes(g))
    whole = lower(g).state_dict()
    assert all(torch.equal(v, whole[f"stage.1.mix.{k}"]) for k, v in inner.state_dict().items())


def test_a_swapped_module_compiles_whole() -> None:
    g = chain(8)
    swapped = swap(outline(g, ["stage.0", "stage.1"]), {"stage.1": part(g, "stage.1", seed=3)})
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(torch.compile(swapped, fullgraph=True, backend="eager")(x), swapped(x))


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        (["stage.0", "stage.0.mix"], "the slots 'stage.0' and 'stage.0.mix' overlap"),
        (["ctx"], "slot 'ctx' ends in weighted_sum, which has weights of its own beside those of its arms"),
    ],
)
def test_what_is_no_slot_is_refused(slots: list[str], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        outline(hybrid(), slots)


def test_a_path_that_is_no_slot_of_the_module_is_refused() -> None:
    host = outline(chain(8), ["stage.0"])
    with pytest.raises(GraphError, match=r"there is no slot 'stage\.1' in this module\n.*did you mean 'stage\.0'\?"):
        swap(host, {"stage.1": part(chain(8), "stage.1")})
