"""The JSON Schema for editors: accepts what is right, rejects what it can see to be wrong."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from assembler.errors import AssemblerError
from assembler.recipe.read import read_file, read_text
from assembler.recipe.values import plain
from assembler.resources import shipped
from assembler.schema import schema

GOLDEN = Path(__file__).parent / "golden" / "mistakes"
SEEN = [
    "argument_missing", "argument_type", "argument_unknown", "argument_unknown_of_none", "block_unknown_key",
    "block_unused", "body_on_an_op", "choice_empty", "choice_of_fractions", "choice_option", "choice_unknown",
    "eight_mistakes", "extends_a_list", "for_not_a_mapping", "from_not_a_name", "graph_missing", "input_dtype",
    "input_empty_axis", "input_without_shape", "inputs_missing", "key_of_another_kind", "key_unknown", "kind_unknown",
    "merge_on_an_op", "op_not_a_name", "outputs_a_list", "repeat_not_a_number", "residual_unknown_key",
    "residual_without_body", "run_data_argument", "run_data_missing", "run_data_unknown", "run_loss_term",
    "run_loss_unknown", "run_metric", "run_model_missing", "run_phase_literal", "run_phase_option",
    "run_phase_unknown", "run_sampler", "run_seeds", "run_train_key", "space_not_a_choice", "space_search",
    "space_without_base", "step_name_a_key", "step_name_a_number", "step_name_reserved", "step_name_with_dot",
    "step_name_with_hyphen", "step_not_a_mapping", "vars_not_a_mapping", "version_unknown",
    "weights_file_not_a_name", "weights_key_unknown", "weights_map_a_list", "weights_map_bad_transpose",
    "weights_map_concat_of_one", "weights_map_key_unknown", "weights_map_made_of_nothing", "weights_map_made_of_two",
    "weights_map_not_a_name", "weights_not_a_mapping",
]  # fmt: skip


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    found = schema()
    Draft7Validator.check_schema(found)
    json.dumps(found)
    return Draft7Validator(found)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_is_accepted(name: str, validator: Draft7Validator) -> None:
    assert [e.message for e in validator.iter_errors(plain(read_file(shipped()[name])))] == []


@pytest.mark.parametrize("name", SEEN)
def test_a_mistake_that_a_schema_can_see_is_rejected(name: str, validator: Draft7Validator) -> None:
    assert not validator.is_valid(plain(read_file(GOLDEN / f"{name}.yaml")))


def model(step: str) -> Any:
    return plain(read_text(f"inputs: {{x: [B, 4]}}\ngraph:\n  a: {step}\n", "r.yaml"))


@pytest.mark.parametrize(
    "step",
    [
        "layer_norm",
        "LayerNorm",
        "=mixer",
        "my_block",
        "{op: my_block, anything: [1, {a: b}]}",
        "{op: linear, out: =dim}",
        "{op: linear, out_features: 4}",
        "{op: linear, out: {$oneof: [2, 4]}}",
        "{op: linear, out: {$int: [2, 4]}, repeat: 3, from: x}",
        "{op: {$oneof: [relu, {op: linear, out: 4}]}}",
        "{op: residual, body: {b: gelu}, shortcut: {c: relu}}",
        "{op: branches, merge: {op: concat, dim: 1}, body: {b: gelu, c: relu}}",
        "{for: {w: [1, 2]}, body: {b: {op: linear, out: =w}}, 1: {b: {out: 3}}}",
        "{body: {b: {op: dropout, p: {$float: [1e-3, 0.5], log: true}}}, from: [x]}",
    ],
)
def test_every_form_of_a_step_is_accepted(step: str, validator: Draft7Validator) -> None:
    assert [e.message for e in validator.iter_errors(model(step))] == []


@pytest.mark.parametrize(
    "step",
    [
        "{op: linear}",
        "{op: Linear}",
        "{op: LayerNorm, epss: 1}",
        "{op: linear, out: wide}",
        "{op: linear, out: {$oneof: []}}",
        "{op: linear, out: 3, body: {}}",
        "{op: residual}",
        "{op: residual, body: {b: {op: gelu, approximat: tanh}}}",
        "{op: branches, shortcut: {}, body: {b: relu}}",
        "{op: relu, from: 3}",
        "{repeat: -1, body: {b: relu}}",
        "{reepat: 2, body: {b: relu}}",
        "[relu]",
        "3",
    ],
)
def test_a_wrong_step_is_rejected(step: str, validator: Draft7Validator) -> None:
    assert not validator.is_valid(model(step))


def test_a_recipe_that_extends_may_leave_out_what_it_needs(validator: Draft7Validator) -> None:
    assert validator.is_valid({"extends": "poolformer@s12", "graph": {"head": {"out": 10}, "pool": None}})
    assert not validator.is_valid({"graph": {"pool": "relu"}})


def test_editors_get_text_to_show() -> None:
    found = schema()["definitions"]
    assert found["op.attention"]["description"]
    assert found["op.dropout"]["properties"]["p"]["description"] == "a number; 0.5 by default"
    assert found["model"]["properties"]["vars"]["description"].startswith("Values that expressions can use")
    assert found["phase.incubate"]["description"].startswith("Train each slot's variants")


def test_the_schema_and_the_checker_agree_on_what_is_wrong(validator: Draft7Validator) -> None:
    from assembler.pipeline.checking.check import check
    from assembler.recipe.document import parse

    for file in sorted(GOLDEN.glob("*.yaml")):
        text = file.read_text()
        try:
            tree = plain(read_text(text, file.name))
        except AssemblerError:
            continue
        if not validator.is_valid(tree):
            with contextlib.suppress(AssemblerError):
                assert check(parse(text, file.name, strict=False)), file.name


def test_no_torch_is_loaded_for_it() -> None:
    code = "import sys\nfrom assembler.schema import schema\nschema(); print({'torch', 'networkx'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
