"""A host split at a slot: the tail that depends on the slot, and the values that enter it."""

from __future__ import annotations

import pytest
import torch
from assemble_models import graph, model, part
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.assemble.hybrid import split, value_paths, values_of, with_values
from assembler.assemble.weights import load_there, part_keys, whole_keys, within
from assembler.compile.lower import lower
from assembler.errors import GraphError, InputError, RecipeError
from assembler.graph.core import Graph
from assembler.graph.edit import extract, graft
from assembler.infer.shape import shapes
from assembler.recipe.document import parse
from assembler.wiring.build import build

SLOTS = ("stem", "early", "stage", "stage.0", "stage.1", "stage.0.mix", "stage.1.mlp.ffn", "skip", "join", "head")


def outputs(whole: Graph, weights: dict[str, torch.Tensor], values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    module = lower(whole)
    load_there(module, weights)
    found = module.eval()(*(values[name] for name in whole.input_names))
    return found if isinstance(found, dict) else {whole.outputs[0][0]: found}


@pytest.mark.parametrize("slot", SLOTS)
def test_the_tail_on_the_frontier_gives_what_the_whole_gives(slot: str) -> None:
    whole = model(graph())
    wanted = {"logits": "head", "stem": "stem", "join": "join", "stage": whole.graph.resolve("stage.1")}
    image = torch.randn(3, 1, 6, 6)
    full = outputs(with_values(whole.graph, wanted), whole.weights, {"image": image})
    found = split(whole.graph, slot, wanted, shapes(whole.graph))
    border = values_of(whole.graph, found.frontier)
    values = outputs(border, whole.weights, {"image": image})
    tail = outputs(found.tail, whole.weights, values)
    assert tail.keys() == full.keys()
    for name in full:
        assert torch.equal(tail[name], full[name]), name


def test_a_connection_past_the_slot_is_a_second_value_of_the_frontier() -> None:
    whole = graph()
    found = split(whole, "stage.0", {"logits": "head"}, shapes(whole))
    assert set(found.frontier.values()) == {"early", "skip"}
    assert not any(within(i, "skip") or i in ("stem", "early") for i in found.tail.nodes)


def test_only_what_the_wanted_values_need_is_in_the_tail() -> None:
    whole = graph()
    found = split(whole, "stage.0", {"slot": whole.resolve("stage.0")}, shapes(whole))
    assert set(found.tail.nodes) == set(whole.region("stage.0")) and set(found.frontier.values()) == {"early"}


def test_steps_called_like_the_frontier_do_not_disturb_it() -> None:
    text = "kind: model\ninputs: {x1: [B, 4]}\ngraph: {x0: {op: linear, out: 4}, b: {op: linear, out: 4}}\n"
    whole = model(build(parse(text).model))
    found = split(whole.graph, "x0", {"y": "b", "x": "x1"}, shapes(whole.graph))
    values = torch.randn(2, 4)
    tail = outputs(found.tail, whole.weights, {name: values for name in found.frontier})
    assert torch.equal(tail["y"], lower_of(whole.graph, whole.weights, values)) and torch.equal(tail["x"], values)


def lower_of(whole: Graph, weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    module = lower(whole)
    load_there(module, weights)
    found: torch.Tensor = module(x)
    return found


@pytest.mark.parametrize("slot", ["stage.0", "stage.1", "stage.0.mix", "stage.1.mlp.ffn", "stage.1.mix.token", "head"])
@pytest.mark.parametrize("token", ["dwconv", "pool"])
def test_part_keys_come_back_as_whole_keys(slot: str, token: str) -> None:
    whole = model(graph(token))
    inner = extract(whole.graph, slot, shapes(whole.graph))
    own = part_keys(whole.weights, slot, inner)
    assert set(own) == set(lower(inner).state_dict())
    there = {k: v for k, v in whole.weights.items() if within(k, slot)}
    assert whole_keys(own, slot, inner) == there


NAMES = st.sampled_from(["a", "b", "ab", "x", "x0", "weight"])


@settings(max_examples=40, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=3, unique=True), st.sampled_from(["a", "x", "box.inner"]))
def test_part_keys_come_back_for_any_names(names: list[str], slot: str) -> None:
    inner = "body: {" + ", ".join(f"{n}: {{op: linear, out: 4}}" for n in names) + "}"
    for name in reversed(slot.split(".")[1:]):
        inner = f"body: {{{name}: {{{inner}}}}}"
    head = slot.split(".")[0]
    whole = model(build(parse(f"kind: model\ninputs: {{image: [B, 4]}}\ngraph: {{{head}: {{{inner}}}}}\n").model))
    region = extract(whole.graph, slot, shapes(whole.graph))
    own = part_keys(whole.weights, slot, region)
    assert set(own) == set(lower(region).state_dict())
    assert whole_keys(own, slot, region) == whole.weights
    assert graft(whole.graph, slot, region) == whole.graph


def test_a_step_called_like_a_slots_own_is_refused() -> None:
    text = "kind: model\ninputs: {image: [B, 4]}\ngraph: {a: {body: {root: {op: linear, out: 4}}}}\n"
    whole = build(parse(text).model)
    with pytest.raises(GraphError, match=r"'a\.root' stands in the way: a slot's own step is called root"):
        extract(whole, "a", shapes(whole))


def test_a_part_fits_wherever_its_slot_is() -> None:
    whole = model(graph("pool"))
    inner = part("stage.1")
    grafted = graft(whole.graph, "stage.1", inner)
    weights = {**whole.weights, **whole_keys({k: v for k, v in lower(inner).state_dict().items()}, "stage.1", inner)}
    load_there(lower(grafted), weights)


def test_values_are_found_by_output_path_and_slot() -> None:
    whole = graph()
    found = value_paths(whole, ["logits", "stage.0", "slot", "stem"], "stage.1")
    assert found == {
        "logits": "head",
        "stage.0": whole.resolve("stage.0"),
        "slot": whole.resolve("stage.1"),
        "stem": "stem",
    }


@pytest.mark.parametrize(
    ("name", "slot", "hint"),
    [
        ("logit", "", "did you mean 'logits'?"),
        ("stage.2", "", "did you mean 'stage.1' or 'stage.0' or 'stage'?"),
        ("slt", "stage.0", "did you mean 'slot'?"),
        ("features.deep", "", "outputs are logits; any step's path names its value"),
    ],
)
def test_an_unknown_value_gets_the_nearest_names(name: str, slot: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        value_paths(graph(), [name], slot)
    message = str(caught.value)
    assert f"the objective reads '{name}', which small does not have" in message and hint in message


def test_a_step_that_joins_two_values_is_a_slot() -> None:
    assert value_paths(graph(), ["slot"], "join") == {"slot": "join"}


def test_missing_and_misshapen_weights_are_named_all_at_once() -> None:
    whole = model(graph())
    weights = {k: v for k, v in whole.weights.items() if k != "head.bias"}
    weights["stem.weight"] = torch.zeros(1)
    with pytest.raises(InputError) as caught:
        load_there(lower(whole.graph), weights, "the host's weights")
    assert "the host's weights hold nothing for 'head.bias'" in str(caught.value)
    assert "have shape [1] for 'stem.weight', the model wants [6, 1, 3, 3]" in str(caught.value)
