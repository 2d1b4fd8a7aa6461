"""Parts in hosts of another width: the layers around them, and what those begin with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from assemble_models import data, model, training
from test_starting import deep, staged

from assembler.assemble.frozen import piece
from assembler.assemble.incubate import Seat, incubate
from assembler.assemble.models import Model, Task
from assembler.assemble.stitches import NONE, fitted_in, fitted_out, stitched
from assembler.assemble.weights import whole_keys
from assembler.assemble.worth import judge
from assembler.compile.lower import lower
from assembler.errors import GraphError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.edit import cut, extract, graft
from assembler.infer.shape import shapes
from assembler.recipe.document import parse
from assembler.train.objective import Objective
from assembler.wiring.build import build

TOKENS = """
kind: model
inputs: {x: [B, 9, 4]}
graph:
  embed: {op: linear, out: 4}
  block: {op: residual, body: {ffn: {op: linear, out: 4}}}
  head: {op: linear, out: 2}
outputs: {logits: head}
"""


def kind(*shape: int) -> TensorType:
    return TensorType((2, *shape))


def wide(slot: str = "stage.0", dim: int = 10) -> Seat:
    """A part of more channels than its host has."""
    host, part = model(staged()), deep(slot, dim=dim)
    types = shapes(host.graph)
    graph, stitches = stitched(part, kind(dim, 6, 6), types["stem"], types["stem"], slot)
    return Seat(host, slot, graph, stitches=stitches)


def test_a_part_that_fits_stands_alone() -> None:
    part = deep()
    assert stitched(part, kind(6, 6, 6), kind(6, 6, 6), kind(6, 6, 6), "stage.0") == (part, NONE)


def test_a_part_of_other_channels_stands_between_convolutions() -> None:
    where = wide()
    assert where.stitches == ("stitch_in", "stitch_out")
    types = shapes(where.graph)
    assert types["stage.0.stitch_in"] == kind(10, 6, 6) and types[where.graph.resolve("stage.0")] == kind(6, 6, 6)
    assert where.graph.nodes["stage.0.stitch_out"].op == "conv2d"


def test_the_slots_own_step_makes_room_for_a_stitch() -> None:
    whole = build(parse(TOKENS).model, name="tokens")
    part = extract(whole, "block", shapes(whole))
    graph, stitches = stitched(part, kind(9, 4), kind(9, 6), kind(9, 6), "block")
    assert stitches == ("stitch_in", "root")
    assert graph.nodes["root"].op == "linear" and graph.nodes["unstitched"].op == "add"
    assert graph.outputs[0][1] == "root"


@pytest.mark.parametrize("slot", ["embed..block", "block..block"])
def test_a_run_of_steps_takes_stitches_at_its_ends(slot: str) -> None:
    whole = build(parse(TOKENS).model, name="tokens")
    part = extract(whole, slot, shapes(whole))
    host = build(parse(TOKENS.replace("out: 4", "out: 6")).model, name="wide")
    types = shapes(host)
    place = cut(host, slot)
    graph, _ = stitched(part, kind(9, 4), types[place.source], types[place.output], slot)
    found = graft(host, slot, graph)
    assert shapes(found)[found.resolve("block")] == kind(9, 6)
    again = extract(found, slot, shapes(found))
    assert again.fingerprint == graph.fingerprint


@pytest.mark.parametrize(
    ("made", "leaves"),
    [
        (kind(6, 3, 3), kind(9, 5)),
        (kind(9, 6), kind(5, 3, 3)),
        (
            kind(
                6,
            ),
            kind(
                4,
            ),
        ),
    ],
    ids=["a map to tokens", "tokens to a map", "rows"],
)
def test_positions_are_laid_out_anew(made: TensorType, leaves: TensorType) -> None:
    part = Graph((("x", made),), {"act": Node("relu", (), (("0", "x"),))}, (("y", "act"),), {}, "part")
    graph, stitches = stitched(part, made, made, leaves, "stage.0")
    assert shapes(graph)[graph.outputs[0][1]] == leaves and stitches.leave and not stitches.enter


def test_other_positions_are_no_matter_of_stitches() -> None:
    with pytest.raises(GraphError) as caught:
        stitched(deep(), kind(6, 6, 6), kind(6, 6, 6), kind(6, 3, 3), "stage.0")
    assert str(caught.value) == (
        "error: no stitch makes float32[2, 6, 3, 3] of float32[2, 6, 6, 6]\n"
        "    hint: a stitch changes the features alone"
    )


def test_the_stitch_that_leads_out_comes_as_near_to_the_host_as_least_squares_can() -> None:
    where = wide()
    state = lower(where.graph, seed=3).state_dict()
    seated = Model(where.graph, {**{k: t.clone() for k, t in state.items()}, **outside(where)})
    split = data(64).train
    made = fitted_out("stage.0.stitch_out", seated, "stage.0", where.host, split)
    reads = piece(seated, {"v": "stage.0.block.0.mlp"}, {"v": "v"}, "cpu")(split.fields)["v"]
    wanted = piece(where.host, {"v": where.host.graph.resolve("stage.0")}, {"v": "v"}, "cpu")(split.fields)["v"]
    rows, aim = (t.movedim(1, -1).reshape(-1, t.shape[1]).double() for t in (reads, wanted))
    ones = torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], 1)
    best = torch.linalg.lstsq(ones, aim).solution
    ours = torch.cat([made["stage.0.stitch_out.weight"].flatten(1).T, made["stage.0.stitch_out.bias"][None]]).double()
    errors = [float((ones @ w - aim).square().sum()) for w in (ours, best)]
    assert errors[0] <= 1.01 * errors[1] + 1e-9


def outside(where: Seat) -> dict[str, torch.Tensor]:
    return {k: t for k, t in where.host.weights.items() if not k.startswith(f"{where.slot}.")}


def test_the_stitch_that_leads_in_meets_another_model_of_the_parts_width() -> None:
    where = wide()
    seated = Model(where.graph, {**lower(where.graph, seed=0).state_dict(), **outside(where)})
    other, split = model(staged(dim=10), seed=4), data(256).train
    made = fitted_in("stage.0.stitch_in", seated, [(m, "stage.0") for m in (where.host, other)], split, 0)
    stem = {
        k: piece(m, {"v": "stem"}, {"v": "v"}, "cpu")(split.fields)["v"] for k, m in (("h", where.host), ("o", other))
    }
    back = torch.nn.functional.conv2d(stem["h"], made["stage.0.stitch_in.weight"], made["stage.0.stitch_in.bias"])
    mean = stem["o"].mean((0, 2, 3), keepdim=True)
    assert (back - stem["o"]).square().sum() < 0.7 * (mean - stem["o"]).square().sum()


def test_without_such_a_model_it_keeps_lengths() -> None:
    where = wide()
    seated = Model(where.graph, {**lower(where.graph, seed=0).state_dict(), **outside(where)})
    weight = fitted_in("stage.0.stitch_in", seated, [], data().train, 0)["stage.0.stitch_in.weight"].flatten(1)
    assert torch.allclose(weight.T @ weight, torch.eye(6), atol=1e-5)


def test_a_stitched_part_is_trained_with_its_stitches_and_judged_in_the_host() -> None:
    where, task = wide(), Task(Objective.from_spec([{"loss": "cross_entropy", "value": "logits", "target": "label"}]))
    made = incubate(where, data(64), training(steps=4))
    assert made.fit is not None and made.fit.history[-1]["loss"] < 5
    assert {"stitch_in.weight", "stitch_out.bias"} <= made.weights.keys()
    assert judge(where, made.weights, data(64), task).loss > 0
    assert set(whole_keys(made.weights, where.slot, where.part)) <= set(lower(where.graph).state_dict())


def test_the_host_with_a_teachers_part_gives_the_target() -> None:
    host, teacher = model(staged()), model(staged(), seed=5)
    begin = {k.removeprefix("stage.0."): t for k, t in teacher.weights.items() if k.startswith("stage.0.")}
    where = Seat(host, "stage.0", deep(), {"teacher": teacher}, begin=begin)
    swapped = where.references(frozenset({"teacher@host.logits"}), data().train)["teacher@host"]
    key = "stage.0.block.0.mlp.ffn.fc1.bias"
    assert torch.equal(swapped.weights[key], teacher.weights[key])
    assert torch.equal(swapped.weights["head.weight"], host.weights["head.weight"])
    same = {"loss": "mse", "value": "head", "target": "teacher@host.head"}
    for term, least in ((same, 0.0), ({**same, "target": "teacher.head"}, 1e-6)):
        frozen = training(term, steps=1, lr=0.0, weight_decay=0.0)
        made = incubate(replace(where, part=deep()), data(), replace(frozen, paths=("stage.0.block.0.mlp.ffn",)))
        loss = made.fit.history[0]["loss"] if made.fit else -1.0
        assert (loss < 1e-10) is (least == 0), (term, loss)


def test_a_wider_teachers_part_stands_in_the_host_between_stitches() -> None:
    host, teacher = model(staged()), model(staged(dim=10), seed=5)
    where, split = replace(wide(), host=host, teachers={"teacher": teacher}), data(64).train
    swapped = where.references(frozenset({"teacher@host.logits"}), split)["teacher@host"]
    assert shapes(swapped.graph)["stage.0.stitch_in"] == kind(10, 6, 6)
    key = "stage.0.block.0.mlp.ffn.fc1.bias"
    assert torch.equal(swapped.weights[key], teacher.weights[key])
    logits, own = (piece(m, {"v": "head"}, {"v": "v"}, "cpu")(split.fields)["v"] for m in (swapped, host))
    assert (logits - own).square().sum() < (own - own.mean(0)).square().sum()
    made = incubate(where, data(64), training({"loss": "mse", "value": "head", "target": "teacher@host.head"}, steps=4))
    assert made.fit is not None and made.fit.steps == 4
