"""All variants of a slot trained at once: whose weights they have, how often each is drawn, what does not change."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from assemble_models import BLOCKWISE, HOST, TASK, data, graph, model, training
from test_stitches import wide
from torch import Tensor

from assembler.assemble.incubate import Seat, incubate, seated
from assembler.assemble.models import Task, Training
from assembler.assemble.nested import incubate_nested
from assembler.assemble.worth import judge
from assembler.errors import RecipeError
from assembler.graph.edit import cut, extract
from assembler.infer.cost import total
from assembler.infer.shape import shapes
from assembler.recipe.document import parse
from assembler.train.objective import Objective
from assembler.train.world import World, together
from assembler.wiring.build import build

HOST_MODEL = model(graph())


def seat(ratio: float = 2, token: str = "dwconv", size: int = 3, more: str = "", slot: str = "stage.0") -> Seat:
    """A variant of a slot of the host: another ratio, mixer or kernel."""
    text = HOST.replace("TOKEN, kernel_size: 3, EXTRA", f"{token}, kernel_size: {size}")
    whole = build(parse(text.replace("ratio: 2", f"ratio: {ratio}{more}")).model, name="small")
    return Seat(HOST_MODEL, slot, extract(whole, slot, shapes(whole)))


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(t, right[k]) for k, t in left.items())


@pytest.mark.parametrize("terms", [[TASK], [BLOCKWISE], [TASK, BLOCKWISE]])
@pytest.mark.parametrize("where", [seat(4), seat(3, more=", dropout: 0.2"), seat(slot="stage.1.mlp")])
@pytest.mark.parametrize("more", [{"start": "host"}, {"ema": {"decay": 0.5}, "augment": {"shift": 1}}])
def test_one_variant_is_trained_as_it_would_be_alone(terms: list[Any], where: Seat, more: dict[str, Any]) -> None:
    how = training(*terms, steps=5, **more)
    alone, at_once = incubate(where, data(), how), incubate_nested([where], data(), how)
    assert same(at_once.weights[0], alone.weights) and at_once.drawn == (5,)
    assert (at_once.flops, at_once.shared, at_once.fit.loss) == (alone.flops, alone.shared, alone.fit.loss)  # type: ignore[union-attr]
    assert str(at_once.account) == str(alone.account)


def test_every_variant_is_cut_out_of_the_largest_and_the_host_stays_as_it_is() -> None:
    before = {name: t.clone() for name, t in HOST_MODEL.weights.items()}
    made = incubate_nested([seat(4, size=5), seat(2), seat(0.5)], data(), training(TASK, BLOCKWISE, steps=30))
    assert sum(made.drawn) == 30 and all(made.drawn) and same(HOST_MODEL.weights, before)
    largest, *smaller = made.weights
    for weights, hidden in zip(smaller, (12, 3), strict=True):
        assert torch.equal(weights["mlp.ffn.fc1.weight"], largest["mlp.ffn.fc1.weight"][:hidden])
        assert torch.equal(weights["mlp.ffn.fc2.weight"], largest["mlp.ffn.fc2.weight"][:, :hidden])
        assert torch.equal(weights["mix.token.conv.weight"], largest["mix.token.conv.weight"][..., 1:4, 1:4])
        assert torch.equal(weights["mlp.ffn.fc2.bias"], largest["mlp.ffn.fc2.bias"])
    begun = incubate_nested([seat(4, size=5), seat(2)], data(), training(epochs=0, steps=None)).weights[0]
    for name in ("mlp.ffn.fc1.weight", "mix.token.conv.weight"):
        assert not torch.equal(begun[name], largest[name]), "nothing was learnt"


def test_each_variant_computes_with_running_statistics_of_its_own() -> None:
    made = incubate_nested([seat(4), seat(2), seat(1, "pool")], data(), training(steps=12))
    assert [int(w["mix.norm.num_batches_tracked"]) for w in made.weights] == list(made.drawn)
    first, second, _ = (w["mix.norm.running_mean"] for w in made.weights)
    assert not torch.equal(first, second)


def test_another_op_has_weights_of_its_own() -> None:
    made = incubate_nested([seat(2, "conv2d, out: 6, padding: 1"), seat(2)], data(), training(steps=8))
    dense, depthwise = made.weights
    assert {"mix.token.weight", "mix.token.bias"} == dense.keys() - depthwise.keys()
    assert {"mix.token.conv.weight", "mix.token.conv.bias"} == depthwise.keys() - dense.keys()
    assert torch.equal(dense["mlp.ffn.fc1.weight"], depthwise["mlp.ffn.fc1.weight"])


def test_smaller_variants_are_drawn_more_often_by_one_over_their_parameters() -> None:
    seats = [seat(8), seat(4), seat(1), seat(4, token="pool")]
    made = incubate_nested(seats, data(), training(BLOCKWISE, steps=200))
    chances = [1 / total(one.part).params for one in seats]
    for count, chance in zip(made.drawn, (c / sum(chances) for c in chances), strict=True):
        assert abs(count - 200 * chance) < 5 * math.sqrt(200 * chance * (1 - chance))


def test_it_costs_what_the_drawn_variants_cost() -> None:
    seats, how = [seat(4), seat(1)], training(TASK, steps=9)
    made = incubate_nested(seats, data(), how)
    each = [seated(one, data(), how).flops for one in seats]
    beside = incubate(seats[0], data(), how).flops - each[0] * 9 * 16
    assert made.flops == sum(cost * n * 16 for cost, n in zip(each, made.drawn, strict=True)) + beside


def test_the_largest_begins_as_the_host_and_the_others_with_its_first_channels() -> None:
    made = incubate_nested([seat(2), seat(1)], data(), training(start="host", steps=None, epochs=0))
    assert str(made.account) == str(incubate(seat(2), data(), training(start="host")).account) and made.fit is None
    host = HOST_MODEL.weights["stage.0.mlp.ffn.fc1.weight"]
    assert torch.equal(made.weights[0]["mlp.ffn.fc1.weight"], host)
    assert torch.equal(made.weights[1]["mlp.ffn.fc1.weight"], host[:6])


def test_what_is_not_to_be_trained_stays_and_a_variant_without_any_of_it_is_not_drawn() -> None:
    how = training(BLOCKWISE, steps=6)
    how = Training(how.objective, how.spec, how.seed, "host", paths=("stage.0.mix.token",))
    made = incubate_nested([seat(), seat(token="pool")], data(), how)
    assert made.drawn == (6, 0)
    host = HOST_MODEL.weights
    assert torch.equal(made.weights[0]["mlp.ffn.fc1.weight"], host["stage.0.mlp.ffn.fc1.weight"])
    assert not torch.equal(made.weights[0]["mix.token.conv.weight"], host["stage.0.mix.token.conv.weight"])
    none = incubate_nested([seat(token="pool")], data(), how)
    assert (none.drawn, none.fit, none.flops) == ((0,), None, 0)


def test_frozen_steps_stay_as_they_began() -> None:
    how = training(BLOCKWISE, steps=6, start="host")
    made = incubate_nested([seat(2, "dwconv, frozen: true"), seat(1, "dwconv, frozen: true")], data(), how)
    for weights in made.weights:
        assert torch.equal(weights["mix.token.conv.weight"], HOST_MODEL.weights["stage.0.mix.token.conv.weight"])


def test_variants_between_stitches_are_nested_with_them() -> None:
    seats = [wide(dim=12), wide(dim=8)]
    made = incubate_nested(seats, data(), training(steps=8))
    large, small = made.weights
    assert torch.equal(small["stitch_in.weight"], large["stitch_in.weight"][:8])
    assert torch.equal(small["stitch_out.weight"], large["stitch_out.weight"][:, :8])
    labels = Task(Objective.from_spec([TASK]))
    assert all(judge(one, w, data(), labels).loss > 0 for one, w in zip(seats, made.weights, strict=True))


@pytest.mark.parametrize(
    ("how", "term", "message"),
    [
        ("fsdp", BLOCKWISE, "nested variants cannot be divided among processes\n    hint: use ddp"),
        (None, {**BLOCKWISE, "target": "ema.stage.0"}, "the average of nested variants has no values to compare with"),
    ],
)
def test_what_cannot_be_trained_so_is_said(how: Any, term: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        if how:
            with together(World(0, 2, how)):
                incubate_nested([seat()], data(), training(term))
        else:
            incubate_nested([seat()], data(), training(term, ema={"decay": 0.9}))
    assert message in str(caught.value)


BESIDE = """
kind: model
inputs: {image: [B, 1, 6, 6]}
graph:
  one: {op: conv2d, out: 6, kernel_size: 1, from: image}
  two: {op: conv2d, out: 6, kernel_size: 1, from: image}
  stem: {op: conv2d, out: 6, kernel_size: 3, padding: 1, from: image}
  block:
    body:
      ffn: {op: conv_mlp, ratio: RATIO}
      join: {op: add, from: [ffn, SIDE]}
  rest: {op: add, from: [block, one, two]}
  pool: {op: global_avg_pool, from: [rest]}
  head: {op: linear, out: 3}
outputs: {logits: head}
"""


def beside(side: str, ratio: float, name: str = "ffn") -> Seat:
    """A variant that reads another value of the host beside what enters the slot."""
    text = BESIDE.replace("ffn", name)
    host, whole = (build(parse(t.replace("SIDE", s).replace("RATIO", str(r))).model, name="small")
                   for t, s, r in ((BESIDE, "one", 2), (text, side, ratio)))  # fmt: skip
    return Seat(model(host), "block", extract(whole, "block", shapes(whole), cut(host, "block").source))


def test_variants_may_read_other_values_beside() -> None:
    seats, how = [beside("one", 4), beside("two", 2), beside("stem", 1)], training(BLOCKWISE, steps=24, seed=1)
    entering = [set(seated(one, data(), how).frontier.values()) for one in seats]
    assert entering == [{"stem", "one"}, {"stem", "two"}, {"stem"}]
    made = incubate_nested(seats, data(), how)
    assert all(made.drawn) and torch.equal(made.weights[2]["ffn.fc1.weight"], made.weights[0]["ffn.fc1.weight"][:6])
    for side in ("two", "stem"):  # alone among others that have nothing to train, it is as if it were alone
        one, how = beside(side, 2, "own"), Training(how.objective, how.spec, how.seed, paths=("block.own",))
        among = incubate_nested([seats[0], one, *seats[1:]], data(), how)
        assert among.drawn == (0, 24, 0, 0) and same(among.weights[1], incubate(one, data(), how).weights)
