"""A part trained inside its frozen host: what changes, what does not, and what it costs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from assemble_models import BLOCKWISE, TASK, data, graph, model, part, task, training

from assembler.assemble import frozen as frozen_module
from assembler.assemble.frozen import kept, piece
from assembler.assemble.incubate import Seat, incubate
from assembler.assemble.models import Model, Task
from assembler.assemble.values import ValueCache
from assembler.assemble.weights import whole_keys, within
from assembler.assemble.worth import judge
from assembler.errors import RecipeError, TrainingError
from assembler.infer.cost import total, train_flops
from assembler.train.data.batches import Augment
from assembler.train.data.core import Split
from assembler.train.objective import Objective


def seat(slot: str = "stage.0", token: str = "dwconv", **more: Any) -> Seat:
    return Seat(model(graph()), slot, part(slot, token), **more)


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(t, right[k]) for k, t in left.items())


@pytest.mark.parametrize("terms", [[TASK], [BLOCKWISE], [TASK, BLOCKWISE]])
@pytest.mark.parametrize("slot", ["stage.0", "stage.1.mix", "skip"])
def test_everything_outside_the_part_stays_bit_for_bit(slot: str, terms: list[dict[str, Any]]) -> None:
    where = seat(slot)
    before = {k: v.clone() for k, v in where.host.weights.items()}
    made = incubate(where, data(), training(*terms))
    weights, result, spent = made.weights, made.fit, made.flops
    assert same(where.host.weights, before)
    assert result is not None and result.steps == 3 and spent > 0
    inner = whole_keys(weights, slot, where.part)
    assert set(inner) == {k for k in before if within(k, slot)}
    assert any(not torch.equal(t, before[k]) for k, t in inner.items()), "nothing was learnt"


def test_running_statistics_move_in_the_part_alone() -> None:
    where = seat()
    weights = incubate(where, data(), training(start="host")).weights
    moved = weights["mix.norm.running_mean"]
    assert not torch.equal(moved, where.host.weights["stage.0.mix.norm.running_mean"])
    assert int(weights["mix.norm.num_batches_tracked"]) == 3


def test_frozen_steps_of_a_part_stay_as_they_began() -> None:
    host = model(graph("dwconv", "frozen: true"))
    where = Seat(host, "stage.0", part("stage.0", "dwconv", "frozen: true"))
    weights = incubate(where, data(), training(start="host")).weights
    assert torch.equal(weights["mix.token.conv.weight"], host.weights["stage.0.mix.token.conv.weight"])
    assert not torch.equal(weights["mix.norm.weight"], host.weights["stage.0.mix.norm.weight"])


def test_a_part_that_starts_from_the_host_has_its_weights_where_they_fit() -> None:
    where = seat()
    weights = incubate(where, data(), training(start="host", steps=1, lr=0.0, weight_decay=0.0)).weights
    for name, tensor in whole_keys(weights, "stage.0", where.part).items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            assert torch.equal(tensor, where.host.weights[name]), name
    fresh = incubate(where, data(), training(steps=1, lr=0.0, weight_decay=0.0, seed=1)).weights
    assert not torch.equal(fresh["mlp.ffn.fc1.weight"], weights["mlp.ffn.fc1.weight"])


def test_the_first_block_wise_loss_of_a_copy_of_the_host_is_nothing() -> None:
    where = Seat(model(graph("dwconv")), "stage.1.mlp", part("stage.1.mlp"))
    result = incubate(where, data(), training(BLOCKWISE, start="host", steps=1)).fit
    assert result is not None and result.history[0]["loss"] == pytest.approx(0, abs=1e-10)


def test_values_of_the_part_the_host_and_a_teacher_can_be_compared() -> None:
    big = model(graph("pool"), seed=1)
    terms = [
        BLOCKWISE,
        {"loss": "kl", "value": "logits", "target": "teacher.logits"},
        {"loss": "normalized_mse", "value": "stage.1", "target": "teacher.stage.1", "name": "deep"},
        {"loss": "normalized_mse", "value": "stage.0.mix.token", "target": "host.stage.0.mix.token", "name": "inner"},
        TASK,
    ]
    result = incubate(seat(teachers={"teacher": big}), data(), training(*terms)).fit
    assert result is not None
    assert {"loss.kl", "loss.deep", "loss.inner", "loss.cross_entropy"} <= set(result.history[0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("logit", "the objective reads 'logit', which small does not have\n    hint: did you mean 'logits' or 'slot'?"),
        ("host.stage.3", "the objective reads 'stage.3', which small does not have"),
        ("slot.mix.tokn", "which small does not have\n    hint: did you mean 'slot.mix.token'"),
        ("techer.logits", "the objective reads 'techer.logits', which small does not have"),
    ],
)
def test_a_value_that_is_not_there_is_named(value: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        incubate(seat(), data(), training({**BLOCKWISE, "target": value}))
    assert message in str(caught.value)


def test_a_term_that_the_part_has_no_share_in_is_refused() -> None:
    with pytest.raises(TrainingError, match="no trained parameter has a part in the objective"):
        incubate(seat(), data(), training({**BLOCKWISE, "value": "stem", "target": "host.stem"}))


@pytest.mark.parametrize("slot", ["stage.0", "stage.0..stage.0"])
def test_a_path_in_the_slot_is_one_in_whichever_slot(slot: str) -> None:
    """`slot.mix.token` is `stage.0.mix.token` for the part in `stage.0`; the steps of a run have their own paths."""
    whole = {**BLOCKWISE, "value": "stage.0.mix.token", "target": "host.stage.0.mix.token"}
    path = "slot.mix.token" if slot == "stage.0" else "slot.stage.0.mix.token"
    inner = {**BLOCKWISE, "value": path, "target": f"host.{path}"}
    one, other = (incubate(seat(slot), data(), training(term)).weights for term in (whole, inner))
    assert same(one, other) and len(one)


def test_a_term_inside_the_part_leaves_the_rest_of_it_as_it_began() -> None:
    inner = {**BLOCKWISE, "value": "stage.0.mix.token", "target": "host.stage.0.mix.token"}
    weights = incubate(seat(), data(), training(inner, start="host")).weights
    assert torch.equal(weights["mlp.ffn.fc1.weight"], seat().host.weights["stage.0.mlp.ffn.fc1.weight"])
    assert judge(seat(), weights, data(), task()).loss > 0


def test_a_part_without_weights_costs_nothing_and_is_judged() -> None:
    where = Seat(model(graph()), "stage.0.mix.token", part("stage.0.mix.token", "pool"))
    made = incubate(where, data(), training())
    weights, result, spent = made.weights, made.fit, made.flops
    assert (weights, result, spent) == ({}, None, 0)
    worth = judge(where, weights, data(), task())
    assert 0 <= worth.metric <= 1 and math.isfinite(worth.loss)


def test_a_part_that_gives_nan_fails_with_its_step_or_its_judgement() -> None:
    broken = seat()
    with pytest.raises(TrainingError, match="step 1 of 3"):
        incubate(replace(broken, host=_nan(broken.host)), data(), training())
    with pytest.raises(TrainingError, match=r"the validation loss of small is nan"):
        judge(replace(broken, host=_nan(broken.host)), model(broken.part).weights, data(), task())


def _nan(host: Model) -> Model:
    return replace(host, weights={**host.weights, "head.bias": torch.full((3,), math.nan)})


def test_a_later_slot_costs_less_and_all_cost_less_than_the_whole() -> None:
    spent = {slot: incubate(seat(slot), data(), training()).flops for slot in ("stage.0", "stage.1")}
    samples = 3 * 16
    whole = train_flops(graph()) * samples
    assert spent["stage.1"] < spent["stage.0"] < whole


def test_the_cost_is_the_kept_prefix_once_a_sample_and_the_tail_every_step() -> None:
    where, content = seat("stage.1"), data(32)
    made = incubate(where, content, training(steps=8))
    result, spent = made.fit, made.flops
    assert result is not None and result.samples == 8 * 16
    once = total(frontier(where)).flops * 32
    tail = (spent - once) / result.samples
    assert tail == int(tail) and 0 < tail < train_flops(where.graph)
    double = incubate(where, content, training(steps=16)).flops
    assert double - once == 2 * (spent - once)


def frontier(where: Seat) -> Any:
    from assembler.assemble.hybrid import split, values_of
    from assembler.infer.shape import shapes

    whole = where.graph
    return values_of(whole, split(whole, where.slot, {"logits": "head"}, shapes(whole)).frontier)


def test_frozen_values_that_are_not_kept_cost_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    where, content = seat("stage.1"), data(32)
    spent = incubate(where, content, training(steps=8)).flops
    monkeypatch.setattr(frozen_module, "MOST_BYTES", 1)
    live = incubate(where, content, training(steps=8))
    assert live.flops == spent + total(frontier(where)).flops * (8 * 16 - 32)
    shifted = incubate(where, content, training(steps=8, augment={"shift": 1}))
    assert shifted.flops == live.flops
    none = incubate(where, content, training(steps=8, augment={"shift": 0}))
    assert none.flops == live.flops


def test_kept_and_live_values_train_the_same_part(monkeypatch: pytest.MonkeyPatch) -> None:
    where, content = seat("stage.1"), data()
    first = incubate(where, content, training(TASK, BLOCKWISE)).weights
    monkeypatch.setattr(frozen_module, "MOST_BYTES", 1)
    assert same(incubate(where, content, training(TASK, BLOCKWISE)).weights, first)


def test_kept_values_are_those_of_each_sample() -> None:
    whole, content = model(graph()), data()
    one = piece(whole, {"v0": "stem"}, {"v0": "host.stem"}, "cpu")
    split = kept(content.train, [one], batch=5)
    assert split is not None and split.split.inputs == content.train.inputs
    assert torch.allclose(split.split.fields["host.stem"], one(content.train.fields)["host.stem"], atol=1e-6)


def test_the_order_of_training_changes_nothing() -> None:
    slots = ("stage.0", "stage.1", "skip")
    host = model(graph())
    forth = {s: incubate(Seat(host, s, part(s)), data(), training()).weights for s in slots}
    torch.manual_seed(99)
    back = {s: incubate(Seat(host, s, part(s)), data(), training()).weights for s in reversed(slots)}
    assert all(same(forth[s], back[s]) for s in slots)


def test_another_seed_gives_another_part() -> None:
    left = incubate(seat(), data(), training()).weights
    right = incubate(seat(), data(), training(seed=1)).weights
    assert not same(left, right)


@pytest.mark.parametrize("slot", ["stage.0", "stage.1"])
def test_a_judged_part_is_the_grafted_model(slot: str, tmp_path: Path) -> None:
    where = seat(slot)
    weights = incubate(where, data(), training(start="host")).weights
    from assembler.assemble.judging import assess
    from assembler.assemble.weights import load_there
    from assembler.compile.lower import lower

    module = lower(where.graph)
    load_there(module, {**where.host.weights, **whole_keys(weights, slot, where.part)})
    metric, loss = assess(module, where.graph, data(), task())
    alone, cache = judge(where, weights, data(), task()), ValueCache(tmp_path, 1 << 20)
    first, again = (judge(where, weights, data(), task(), cache) for _ in range(2))
    assert (alone.metric, alone.loss) == (first.metric, first.loss) == (again.metric, again.loss) == (metric, loss)
    whole = total(where.graph).flops * len(data().validation)
    assert alone.flops == whole == first.flops + sum(first.shared.values()) and not alone.shared
    assert first.shared == again.shared and len(list(tmp_path.glob("*.safetensors"))) == 1


def test_a_field_may_have_any_name(tmp_path: Path) -> None:
    def renamed(one: Split) -> Split:
        return Split({"image": one.fields["image"], "x0": one.fields["label"]}, ("x0",))

    def told(target: str) -> Task:
        return Task(Objective.from_spec([{**TASK, "target": target}]))

    there, where, how = data(), seat("stage.1"), training({**TASK, "target": "x0"})
    other = replace(there, train=renamed(there.train), validation=renamed(there.validation))
    weights = incubate(where, there, training()).weights
    assert same(incubate(where, other, how).weights, weights)
    cache = ValueCache(tmp_path, 1 << 20)
    ours, theirs = judge(where, weights, there, told("label"), cache), judge(where, weights, other, told("x0"), cache)
    assert (ours.metric, ours.loss) == (theirs.metric, theirs.loss)


def test_augmentation_reaches_the_frozen_prefix() -> None:
    assert Augment.from_spec({"shift": 0}) == Augment()
    still = incubate(seat("stage.1"), data(), training()).weights
    moved = incubate(seat("stage.1"), data(), training(augment={"flip": True})).weights
    assert not same(still, moved)
