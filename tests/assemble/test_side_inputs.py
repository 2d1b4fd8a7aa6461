"""Slots with side inputs in real models: cross attention (T5), a condition (DiT), the embedding of a time (DDPM)."""

from __future__ import annotations

import functools

import pytest
import torch

from assembler.assemble.hybrid import split, values_of
from assembler.assemble.weights import load_there
from assembler.compile.lower import lower
from assembler.compile.outline import outline, swap
from assembler.graph.core import Graph
from assembler.graph.cuts import cuts
from assembler.graph.edit import cut, extract, graft
from assembler.graph.modes import in_mode
from assembler.graph.structure import flatten, pack
from assembler.infer.shape import dtype_of, shapes
from assembler.recipe.document import load
from assembler.wiring.build import build

LEVEL = "denoise.unet.level"
TINY = {
    "t5_small": "tokens=6 vocab=20 dim=8 heads=2 head_dim=4 hidden=16 depth=2",
    "dit": "dim=12 heads=2 depth=2 size=4 classes=5",
    "ddpm_unet": "width=8 widths=[1,2] groups=4 size=8 attend=4 steps=10",
}
SLOTS = {
    ("t5_small", "decoder.block.0"): ("decoder.drop", ("decoder.bias", "encoder.end", "mask")),
    ("t5_small", "decoder.block.1.cross"): ("decoder.block.1.attn", ("encoder.end", "mask")),
    ("t5_small", "decoder.block.1.cross.attention.mix"): ("decoder.block.1.cross.attention.q", ("k", "v", "mask")),
    ("t5_small", "encoder.block.0..encoder.block.1"): ("encoder.drop", ("encoder.bias", "mask")),
    ("dit", "layer.1"): ("layer.0.block.mlp.add", ("condition",)),
    ("dit", "layer.0..layer.1"): ("tokens", ("condition",)),
    ("ddpm_unet", f"{LEVEL}.down1"): ("denoise.unet.embed", ("denoise.unet.time.fc2",)),
    ("ddpm_unet", f"{LEVEL}.below"): (f"{LEVEL}.down2.mix", ("denoise.unet.time.fc2",)),
}


@functools.cache
def _graph(name: str) -> Graph:
    document = load(name, [f"vars.{said}" for said in TINY[name].split()])
    return in_mode(build(document.default, name=name), "eval")


def _inputs(graph: Graph) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    kinds = ((name, kind.shape, dtype_of(kind.dtype)) for name, kind in graph.inputs)
    return {n: torch.randn(s) if t.is_floating_point else torch.randint(1, 5, s).to(t) for n, s, t in kinds}


def _called(module: torch.nn.Module, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        found = module.eval()(**pack(values.items()))
    return dict(flatten(found)) if isinstance(found, dict) else {"": found}


@pytest.mark.parametrize(("name", "slot"), SLOTS)
def test_a_slot_with_side_inputs_is_a_module_and_a_part_of_its_own(name: str, slot: str) -> None:
    graph, types = _graph(name), shapes(_graph(name))
    place = cut(graph, slot)
    source, sides = SLOTS[name, slot]
    assert place.source == source and tuple(s.removeprefix(f"{slot[:-3]}") for s in place.sides) == sides
    part = extract(graph, slot, types)
    assert graft(graph, slot, part) == graph

    whole, inputs = lower(graph, seed=1), _inputs(graph)
    wanted = _called(whole, inputs)
    cased = outline(graph, [slot], types, seed=2)
    assert cased.state_dict().keys() == whole.state_dict().keys()
    cased.load_state_dict(whole.state_dict())
    torch.testing.assert_close(_called(cased, inputs), wanted)

    halves = split(graph, slot, dict(graph.outputs), types)
    before = lower(values_of(graph, halves.frontier))
    load_there(before, whole.state_dict())
    border = _called(before, {n: v for n, v in inputs.items() if n in values_of(graph, halves.frontier).input_names})
    after = lower(halves.tail)
    load_there(after, whole.state_dict())
    values = border if len(border) > 1 else dict.fromkeys(halves.frontier, *border.values())
    torch.testing.assert_close(_called(after, values), wanted)


def test_a_part_that_reads_a_value_that_the_slot_does_not() -> None:
    graph, types = _graph("t5_small"), shapes(_graph("t5_small"))
    cross = extract(graph, "decoder.block.0.cross", types)
    slot = "decoder.block.0.mlp"
    made, ids = graft(graph, slot, cross), ("encoder.end", "mask")
    base = outline(graph, [slot], types, reads={slot: ids})
    base.load_state_dict(lower(graph, seed=1).state_dict())
    part = lower(cross, seed=3)
    whole = lower(made)
    inner = {f"{slot}.{k}": v for k, v in part.state_dict().items()}
    load_there(whole, {**base.state_dict(), **inner})
    inputs = _inputs(graph)
    torch.testing.assert_close(_called(swap(base, {slot: part}), inputs), _called(whole, inputs))


@pytest.mark.parametrize(("name", "chain"), [("t5_small", "decoder.block.1.cross"), ("dit", "layer.1")])
def test_the_chain_goes_through_blocks_with_side_inputs(name: str, chain: str) -> None:
    found = cuts(_graph(name))
    held = {i for slot in found.chain for i in slot.ids}
    assert chain in [s.path for s in found.chain]
    assert all(before.output == behind.source for before, behind in zip(found.chain, found.chain[1:], strict=False))
    assert len(held) > len(_graph(name)) / 2
