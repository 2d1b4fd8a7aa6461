"""Every check, on a model that has the property and on one that lacks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from claim_case import TOKENS, measured

import assembler as asm
from assembler import registry
from assembler.compile.weights import save_weights
from assembler.errors import AssemblerError, InputError, RecipeError
from assembler.recipe.document import parse

MLP = """\
inputs: {x: [B, 4]}
graph: {up: {op: linear, out: 16}, act: gelu, down: {op: linear, out: 3, frozen: true}}
outputs: {y: down}
"""
CAUSAL = TOKENS + "graph: {mix: {op: attention, num_heads: 2, causal: true}}"
FULL = TOKENS + "graph: {mix: {op: attention, num_heads: 2}}"
SOFTMAX = TOKENS + "graph: {p: {op: softmax, dim: 2}, q: {op: relu, from: x}}\noutputs: {p: p, q: q}"


def test_params_are_counted_whole_by_path_and_without_frozen_steps() -> None:
    assert measured(MLP, "check: params") == 4 * 16 + 16 + 16 * 3 + 3
    assert measured(MLP, "check: params, of: up") == 80
    assert measured(MLP, "check: params, of: [up, down]") == 131
    assert measured(MLP, "check: params, trained: true") == 80


def test_a_claims_own_constants_are_as_precise_as_the_model() -> None:
    half = "graph: {third: {op: constant, values: [3.0, 1, 1, 1], from: x}, part: {op: div, from: [x, third]}"
    both = f"check: equal, of: back, to: x, {half}, back: {{op: mul, from: [part, third]}}}}"
    assert measured(MLP, both) < 1e-15


def test_flops_count_a_multiply_add_as_two() -> None:
    assert measured(MLP, "check: flops") == 2 * (4 * 16 + 16 * 3)
    assert measured(MLP, "check: flops, of: down") == 2 * 16 * 3


def test_steps_are_counted_by_op_and_path() -> None:
    assert measured(MLP, "check: steps") == 3
    assert measured(MLP, "check: steps, op: linear") == 2
    assert measured(MLP, "check: steps, op: linear, of: [up, act]") == 1
    assert measured(MLP, "check: steps, op: layer_norm") == 0


def test_a_shape_has_the_batch_first() -> None:
    assert measured(MLP, "check: shape") == [2, 3]
    assert measured(MLP, "check: shape, of: up") == [2, 16]
    assert measured(MLP, "check: shape, of: x") == [2, 4]
    assert measured(MLP, "check: shape, of: s, graph: {s: {op: sum, dim: 1, from: up}}") == [2]


def test_measure_takes_figures_of_a_value_and_along_an_axis() -> None:
    assert measured(SOFTMAX, "check: measure, of: sums, graph: {sums: {op: sum, dim: 2, from: p}}, take: std") < 1e-15
    assert measured(SOFTMAX, "check: measure, of: p, take: sum, axis: 2") == pytest.approx(1)
    assert measured(SOFTMAX, "check: measure, of: p, take: sum, axis: 2, over: smallest") == pytest.approx(1)
    assert measured(SOFTMAX, "check: measure, of: p, take: sum") == pytest.approx(12)
    assert measured(SOFTMAX, "check: measure, of: p, take: mean") == pytest.approx(1 / 8)
    assert measured(SOFTMAX, "check: measure, of: q, take: smallest") == 0
    assert measured(SOFTMAX, "check: measure, of: p, take: distinct") == 96
    units = TOKENS + "graph: {unit: {op: normalize, dim: 2}}"
    assert measured(units, "check: measure, take: norm, axis: 2") == pytest.approx(1)
    first = "inputs: {x: [B, 9]}\ngraph: {top: {op: topk, k: 3}}\noutputs: {top: top}"
    assert measured(first, "check: measure, take: nonzero, axis: 1") == 3
    assert measured(first, "check: measure, take: step, axis: 1") < 0
    rising = "inputs: {x: [B, 9]}\ngraph: {size: abs, sum: {op: cumsum, dim: 1}}"
    assert measured(rising, "check: measure, take: step, axis: 1, over: smallest") > 0


def test_outside_is_the_distance_to_a_range_or_a_set() -> None:
    assert measured(SOFTMAX, "check: outside, of: p, low: 0, high: 1") == 0
    assert 0 < measured(SOFTMAX, "check: outside, of: x, low: 0, high: 1") < 5
    signs = TOKENS + "graph: {bit: {op: binary_quantize}}\noutputs: {b: bit}"
    assert measured(signs, "check: outside, members: [-1, 1]") < 1e-12
    assert measured(SOFTMAX, "check: outside, of: p, members: [0, 1]") > 0.1
    with pytest.raises(RecipeError, match="needs a range or a set"):
        measured(SOFTMAX, "check: outside, of: p")


def test_equal_compares_values_of_one_pass_and_numbers() -> None:
    twice = TOKENS + "graph: {a: {op: scale, factor: 2.0}, b: {op: add, from: [x, x]}}\noutputs: {a: a, b: b}"
    assert measured(twice, "check: equal, of: a, to: b") == 0
    assert measured(twice, "check: equal, of: a, to: x") > 0.5
    assert measured(twice, "check: equal, of: a, to: b, relative: true") == 0
    sums = "graph: {s: {op: sum, dim: 2, from: p}}"
    assert measured(SOFTMAX, f"check: equal, of: s, to: 1, {sums}") < 1e-12
    assert measured(SOFTMAX, f"check: equal, of: s, to: 2.0, {sums}") == pytest.approx(1)
    with pytest.raises(RecipeError, match=r"cannot be compared: they are \[2, 6, 8\] and \[2, 6\]"):
        measured(SOFTMAX, f"check: equal, of: p, to: s, {sums}")


def test_causal_tells_a_mask_from_none_and_a_strict_one_from_a_plain_one() -> None:
    assert measured(CAUSAL, "check: causal") == 0
    assert measured(FULL, "check: causal") > 1e-3
    assert measured(CAUSAL, "check: causal, lag: 1") > 1e-3
    shifted = TOKENS + "graph: {sum: {op: cumsum, dim: 1}, late: {op: sub, from: [sum, x]}}\noutputs: {y: late}"
    assert measured(shifted, "check: causal, lag: 1") < 1e-12
    words = "inputs: {ids: {shape: [B, 6], dtype: int64}}\ngraph: {e: {op: embedding, num_embeddings: 9, out: 8}"
    for masked in (True, False):
        mix = f"{{op: attention, num_heads: 2, causal: {str(masked).lower()}}}"
        found = measured(f"{words}, mix: {mix}}}", "check: causal, inputs: {ids: [0, 9]}")
        assert (found == 0) is masked
    with pytest.raises(RecipeError, match="nothing later"):
        measured("inputs: {x: [B, 1]}\ngraph: {y: relu}", "check: causal")


def test_causal_matches_axes_of_different_lengths() -> None:
    strided = "inputs: {x: [B, 2, 8]}\ngraph: {y: {op: conv1d, out: 3, kernel_size: 2, stride: 2}}"
    assert measured(strided, "check: causal, axis: 2") == 0


PAIR = "inputs: {a: [B, 4], b: [B, 4]}\n"


def test_independent_changes_inputs_and_values_where_a_mask_says() -> None:
    two = PAIR + "graph: {f: {op: relu, from: a}, g: {op: add, from: [f, b]}}\noutputs: {f: f, g: g}"
    assert measured(two, "check: independent, of: f, on: b") == 0
    assert measured(two, "check: independent, of: g, on: b") > 0.1
    assert measured(two, "check: independent, of: g, on: f") > 0.1
    gated = PAIR + "graph: {m: {op: relu, from: b}, g: {op: mul, from: [a, m]}}"
    closed = "graph: {minus: {op: scale, factor: -1.0, from: b}, off: relu}"
    assert measured(gated, f"check: independent, of: g, on: a, where: off, {closed}") == 0
    assert measured(gated, "check: independent, of: g, on: a, where: m") > 0.01
    assert measured(gated, f"check: independent, of: g, on: a, seen: off, {closed}") == 0
    with pytest.raises(RecipeError, match=r"'s' does not say where in 'a': they are \[4, 2\] and \[2, 4\]"):
        measured(gated, "check: independent, on: a, where: s, graph: {s: {op: transpose, dim0: 0, dim1: 1, from: a}}")


def test_what_is_changed_of_a_step_leaves_its_other_outputs_and_weights() -> None:
    best = PAIR + "graph: {t: {op: topk, k: 2, from: a}, u: {op: take, from: [b, t.indices]}"
    best += ", g: {op: add, from: [t, u]}}"
    assert measured(best, "check: gradient, of: g, on: t") > 0.1
    assert measured(best, "check: gradient, of: u, on: t") == 0
    back = "graph: {back: {op: einsum, equation: 'bo,oi->bi', from: [up, up.weight]}}"
    assert measured(MLP, f"check: gradient, of: back, on: up, {back}") > 1e-3


def test_a_receptive_field_is_counted_in_elements_and_along_an_axis() -> None:
    conv = "inputs: {x: [B, 1, 9, 9]}\ngraph: {a: {op: conv2d, out: 2, kernel_size: 3, padding: 1}"
    assert measured(f"{conv}}}", "check: receptive_field") == 9
    assert measured(f"{conv}}}", "check: receptive_field, axis: 3") == 3
    assert measured(f"{conv}, b: {{op: conv2d, out: 2, kernel_size: 3, padding: 1}}}}", "check: receptive_field") == 25
    assert measured(f"{conv}}}", "check: receptive_field, position: [0, 0, 0]") == 4
    assert measured(f"{conv}, d: detach}}", "check: receptive_field") == 0


def test_equivariance_and_invariance_under_the_four_moves() -> None:
    assert measured(FULL, "check: equivariant, under: permutation") < 1e-12
    assert measured(CAUSAL, "check: equivariant, under: permutation") > 1e-3
    pooled = FULL.replace("}}", "}, mean: {op: mean, dim: 1}}")
    assert measured(pooled, "check: invariant, under: permutation") < 1e-12
    assert measured(pooled, "check: invariant, under: flip, axis: 2") > 1e-4
    padded = "{p: {op: circular_pad1d, padding: 1}, y: {op: conv1d, out: 3, kernel_size: 3}}"
    circular = f"inputs: {{x: [B, 2, 8]}}\ngraph: {padded}"
    assert measured(circular, "check: equivariant, under: shift, axis: 2, by: 3") < 1e-12
    assert measured(circular, "check: equivariant, under: flip, axis: 2") > 1e-3
    steps = "{y: {op: power, exponent: 2.0}, n: {op: normalize, dim: 1, from: x}}"
    square = f"inputs: {{x: [B, 4]}}\ngraph: {steps}\noutputs: {{y: y, n: n}}"
    assert measured(square, "check: equivariant, under: scale, degree: 2") < 1e-12
    assert measured(square, "check: equivariant, under: scale") > 0.1
    assert measured(square, "check: invariant, of: n, under: scale, by: 5") < 1e-12
    both = "inputs: {a: [B, 5, 4], b: [B, 5, 4]}\ngraph: {y: {op: mul, from: [a, b]}}"
    assert measured(both, "check: equivariant, under: permutation, on: [a, b]") == 0
    assert measured(both, "check: equivariant, under: permutation, on: [a]") > 0.1


EXPERTS = """\
vars: {width: 8}
inputs: {x: [B, 4]}
graph: {up: {op: linear, out: =width}, act: relu, down: {op: linear, out: 3}}
"""
FOLDED = "inputs: {x: [B, 3, 6, 6]}\ngraph: {c: {op: conv2d, out: 4, kernel_size: 3}, n: batch_norm2d}"


def test_same_function_compares_with_changes_recipes_and_rewrites() -> None:
    assert measured(EXPERTS, "check: same_function, change: {act: gelu}") > 1e-3
    assert measured(EXPERTS, "check: same_function, change: {act: {op: leaky_relu, negative_slope: 0.0}}") == 0
    assert measured(EXPERTS, "check: same_function, change: {act: gelu}, of: up") == 0
    assert measured(FOLDED, "check: same_function, rewrite: [fold_batch_norm]") < 1e-12
    assert measured(FOLDED, "check: same_function, rewrite: [{rewrite: low_rank, at: c, rank: 1}]") > 1e-3
    assert measured(EXPERTS, "check: same_function, change: {down: {op: linear, out: 3, bias: false}}") > 1e-4
    with pytest.raises(RecipeError, match="needs another model"):
        measured(EXPERTS, "check: same_function")


def test_a_map_of_same_function_says_only_what_has_another_name() -> None:
    renamed = "check: same_function, change: {up: {body: {fc: {op: linear, out: 8}}}}"
    assert measured(EXPERTS, f"{renamed}, map: {{up.fc.*: up.*}}") == 0
    assert measured(EXPERTS, renamed) > 1e-3
    with pytest.raises(InputError, match=r"no rule of the weights map covers 'up\.fc\.bias'"):
        measured(EXPERTS, f"{renamed}, map: {{up.fc.weight: up.weight}}")


def test_edits_count_what_differs_between_two_graphs() -> None:
    assert measured(MLP, "check: edits, change: {act: relu}") == 1
    assert measured(MLP, "check: edits, change: {act: relu}, besides: act") == 0
    assert measured(MLP, "check: edits, change: {act: relu, up.out: 8}") == 2
    assert measured(MLP, "check: edits, change: {act: relu, up.out: 8}, besides: [up]") == 1
    assert measured(MLP, "check: edits, change: {graph.act: null}") == 2  # the step, and what `down` reads
    with pytest.raises(RecipeError, match="the check 'edits' needs another model"):
        measured(MLP, "check: edits")


def test_same_function_maps_weights() -> None:
    model = "inputs: {x: [B, 4]}\ngraph: {a: {op: linear, out: 4}, b: {op: linear, out: 4}}\n"
    own = "a.weight: a.weight, a.bias: a.bias, b.weight: b.weight, b.bias: b.bias"
    swapped = "a.weight: b.weight, a.bias: b.bias, b.weight: a.weight, b.bias: a.bias"
    assert measured(model, f"check: same_function, change: {{a.bias: true}}, map: {{{own}}}") == 0
    assert measured(model, f"check: same_function, change: {{a.bias: true}}, map: {{{swapped}}}") > 1e-3


def test_randomness_is_told_in_each_mode() -> None:
    dropped = TOKENS + "graph: {d: {op: dropout, p: 0.5}}"
    assert measured(dropped, "check: randomness") == 0
    assert measured(dropped, "check: randomness, mode: train") > 0.1
    learning = "inputs: {x: [B, 4, 3, 3]}\ngraph: {q: {op: vector_quantize, num_codes: 8, update: ema}}"
    assert measured(learning, "check: randomness, mode: train") == 0  # the first pass leaves no trace


def test_state_change_of_a_pass() -> None:
    assert measured(FOLDED, "check: state_change") == 0
    assert measured(FOLDED, "check: state_change, mode: train") >= 1
    assert measured(FOLDED, "check: state_change, mode: train, of: c") == 0


def test_a_gradient_arrives_or_does_not() -> None:
    cut = "inputs: {x: [B, 4]}\ngraph:\n  a: {op: linear, out: 4}\n  d: detach\n  b: {op: linear, out: 4}\n"
    cut += "  c: {op: linear, out: 2, from: a}\noutputs: {b: b, c: c}"
    assert measured(cut, "check: gradient, of: b, weights: a") == 0
    assert measured(cut, "check: gradient, of: b, weights: [b]") > 0
    assert measured(cut, "check: gradient, of: c, weights: a") > 0
    assert measured(cut, "check: gradient, of: b, on: x") == 0
    assert measured(cut, "check: gradient, of: b, on: [d]") > 0
    assert measured(cut, "check: gradient, of: c, on: [x, a]") > 0
    assert measured(MLP, "check: gradient, weights: down") == 0
    half = "inputs: {x: [B, 4]}\ngraph: {c: {op: constant, values: [0, 0, 1, 1]}, s: {op: slice, stop: 2, from: x}}"
    half += "\noutputs: {s: s, c: c}"
    assert measured(half, "check: gradient, on: x, where: c") == 0
    assert measured(half, "check: gradient, on: x") > 0
    loss = "graph: {loss: {op: mse, from: {value: b, target: x}}}"
    assert measured(cut, f"check: gradient, of: loss, weights: b, {loss}") > 0
    assert measured(cut, f"check: gradient, of: loss, weights: c, {loss}") == 0
    with pytest.raises(RecipeError, match="needs 'on' or 'weights'"):
        measured(cut, "check: gradient")


def test_gradients_are_held_against_differences() -> None:
    assert measured(MLP, "check: gradient_error") < 1e-6
    assert measured("inputs: {x: [B, 4]}\ngraph: {y: binary_quantize}", "check: gradient_error, on: x") > 0.5


def test_random_inputs_are_those_of_the_seed_and_in_their_range() -> None:
    assert measured(SOFTMAX, "check: outside, of: x, low: 2, high: 3, inputs: {x: [2, 3]}") == 0
    ids = "inputs: {ids: {shape: [B, 50], dtype: int64}}\ngraph: {e: {op: embedding, num_embeddings: 9, out: 4}}"
    assert measured(ids, "check: measure, of: ids, take: distinct, inputs: {ids: [0, 9]}") == 9
    assert measured(ids, "check: measure, of: ids, take: distinct") == 2


def test_what_torch_says_of_a_wrong_axis_is_an_error_of_the_claim() -> None:
    with pytest.raises(RecipeError, match=r"m\.yaml:\d+:\d+: error: the check 'causal' cannot be made: .*axis|range"):
        measured(CAUSAL, "check: causal, axis: 7")


def test_precision_and_mode_are_the_claims() -> None:
    assert 0 < measured(FOLDED, "check: same_function, rewrite: [fold_batch_norm], precision: float32") < 1e-4
    assert measured(FOLDED, "check: same_function, rewrite: [fold_batch_norm], mode: train") > 1e-2


def test_a_recipe_that_names_its_weights_is_measured_with_them(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MLP)
    model = asm.build(tmp_path / "m.yaml", seed=7)
    model.up.weight.data.fill_(0.0)
    save_weights(model, tmp_path / "m.safetensors")
    text = "weights: {file: m.safetensors}\nclaims:\n  it: {doc: A., check: gradient, of: up, on: x, expect: == 0}\n"
    (tmp_path / "m.yaml").write_text(MLP + text)
    assert asm.verify(tmp_path / "m.yaml")[0].holds
    assert measured(MLP, "check: gradient, of: up, on: x") > 0


def test_what_is_not_finite_holds_nothing() -> None:
    model = "inputs: {x: [B, 4]}\ngraph: {r: relu, y: log}\n"
    text = f"{model}claims:\n  it: {{doc: A., check: measure, take: smallest, expect: < 0}}\n"
    (found,) = asm.verify(parse(text, "m.yaml"))
    assert found.values == (float("-inf"),)
    assert not found.holds


def test_every_check_is_listed_with_a_sentence() -> None:
    found = [registry.lookup("check", name) for name in registry.names("check")]
    assert sum(entry.module.startswith("assembler.") for entry in found) == 26  # another test has one of its own
    assert all(entry.doc for entry in found)


def test_causal_says_that_a_value_is_not_made_from_another_and_the_others_measure_nothing() -> None:
    apart = TOKENS + "graph: {a: {op: linear, out: 8}, b: {op: linear, out: 8, from: x}, c: {op: relu, from: x}}\n"
    apart += "outputs: {a: a, b: b, c: c}"
    for value in ("b", "c"):
        with pytest.raises(RecipeError) as caught:
            measured(apart, f"check: causal, of: {value}, on: a")
        problem = caught.value.problems[0]
        assert problem.message == f"'{value}' is not made from 'a': no element of that could change it"
        assert problem.hint == (
            f"`of` is what is looked at, `on` what is changed; that '{value}' ignores it is a claim of `independent`"
        )
        assert measured(apart, f"check: independent, of: {value}, on: a") == 0
        assert measured(apart, f"check: receptive_field, of: {value}, on: a") == 0
    assert measured(apart, "check: causal, of: s, on: a, graph: {s: {op: cumsum, dim: 1, from: a}}") == 0


def test_a_check_is_made_with_as_many_samples_as_its_claim_says() -> None:
    model = "inputs: {x: [B, 4]}\ngraph: {a: {op: linear, out: 3}}\n"
    count = "check: measure, of: x, take: distinct"
    assert measured(model, f"{count}, batch: 16") == 64
    assert measured(model, count) == 8


def test_a_step_of_a_claim_that_does_not_fit_is_told_at_its_place() -> None:
    text = """\
kind: model
inputs: {x: [B, 4, 8]}
graph: {h: {op: linear, out: 3}}
claims:
  it:
    doc: A claim.
    check: shape
    of: b
    graph:
      a: {op: softmax, dim: 1, from: h}
      b: {op: matmul, from: [a, h]}
    expect: == 0
"""
    with pytest.raises(AssemblerError) as caught:
        asm.verify(parse(text, "m.yaml"))
    assert str(caught.value).startswith("m.yaml:11:10: error: b (matmul) does not accept a [2, 4, 3] and h [2, 4, 3]")
