"""Unrolling: which steps there are, under which paths, with which arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import RecipeError
from assembler.recipe.document import load, parse
from assembler.recipe.expand import expand
from assembler.recipe.steps import Step
from assembler.recipe.values import Map, marked
from assembler.wiring.build import build

HEAD = "inputs: {image: [B, 3, 8, 8]}\n"


def steps(graph: str, head: str = "") -> dict[str, Step]:
    tree = parse(f"{HEAD}{head}\ngraph:\n{graph}").model
    return {step.path: step for step in walk(expand(tree))}


def walk(found: Iterable[Step]) -> Iterator[Step]:
    for step in found:
        yield step
        yield from walk((*step.body, *step.shortcut))


def args(found: dict[str, Step], name: str) -> list[Any]:
    return [dict(step.args)[name] for step in found.values() if name in dict(step.args)]


def test_for_zips_and_counts() -> None:
    found = steps(
        "  s:\n    for: {w: =widths, n: [1, 2]}\n    body:\n      c: {op: conv2d, out: =w * n + i, kernel_size: 1}\n",
        "vars: {widths: [8, 16]}",
    )
    assert list(found) == ["s", "s.0", "s.0.c", "s.1", "s.1.c"]
    assert args(found, "out") == [8, 33]


def test_t_goes_from_0_to_1_over_all_copies_of_a_step() -> None:
    found = steps(
        """
  s:
    for: {n: [1, 3, 1]}
    body:
      b: {op: dropout, repeat: =n, p: =t}
""".strip("\n")
    )
    assert args(found, "p") == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert args(steps("  s: {op: dropout, repeat: 1, p: =t}"), "p") == [0.0]


def test_nested_loops_see_the_names_of_the_outer_ones() -> None:
    text = "  a: {repeat: 2, body: {b: {for: {w: [5, 7]}, body: {c: {op: dropout, p: =w + 10 * i + 100 * j}}}}}"
    assert args(steps(text), "p") == [5, 17, 105, 117]


def test_a_copy_can_be_changed_alone() -> None:
    found = steps("  s: {repeat: 3, body: {a: {op: dropout, p: 0.1}, b: relu}, 1: {a: {p: 0.5}}, 2: {b: null}}")
    assert args(found, "p") == [0.1, 0.5, 0.1]
    assert [p for p in found if p.endswith("b")] == ["s.0.b", "s.1.b"]


def test_a_copy_may_be_another_op() -> None:
    found = steps("  s: {op: dropout, p: 0.1, repeat: 3, 1: relu}")
    assert [step.op for path, step in found.items() if path != "s"] == ["dropout", "relu", "dropout"]


def test_blocks_see_vars_and_their_own_parameters_alone() -> None:
    block = "{params: {w: =dim * 2, p: 0.1}, body: {c: {op: dropout, p: =p}, d: {op: linear, out: =w}}}"
    head = f"vars: {{dim: 4}}\nblocks:\n  b: {block}"
    found = steps("  x: b\n  y: {op: b, w: 3, p: =dim / 8}\n  z: {op: b, d: {out: 5}}", head)
    assert args(found, "out") == [8, 3, 5]
    assert args(found, "p") == [0.1, 0.5, 0.1]
    with pytest.raises(RecipeError, match="unknown name 'j'"):
        steps("  x: {op: b, repeat: 2}", "blocks:\n  b: {body: {c: {op: dropout, p: =j}}}")


def test_a_parameter_may_be_an_op_with_arguments() -> None:
    head = "blocks:\n  b: {params: {mixer: relu}, body: {m: {op: =mixer, from: input}}}"
    found = steps("  x: {op: b, mixer: {op: dropout, p: 0.3}}", head)
    assert (found["x.m"].op, found["x.m"].args, found["x.m"].source) == ("dropout", (("p", 0.3),), "input")


def test_residuals_and_branches() -> None:
    found = steps(
        "  r: {op: residual, body: {a: relu}, shortcut: {s: gelu}}\n"
        "  f: {op: branches, merge: {op: concat, dim: 1}, body: {a: relu, b: gelu}}"
    )
    assert [s.path for s in found["r"].body + found["r"].shortcut] == ["r.a", "r.s"]
    assert found["f"].merge == ("concat", (("dim", 1),))


def test_a_loop_without_copies_leaves_nothing() -> None:
    found = steps("  s: {repeat: 0, body: {a: relu}}\n  t: {for: {w: []}, body: {a: relu}}\n  u: relu")
    assert list(found) == ["s", "t", "u"]


@pytest.mark.parametrize("ref", ["poolformer@s12", "poolformer@s24", "poolformer@s36", "digits_metaformer"])
def test_paths_of_shipped_recipes_are_unique(ref: str) -> None:
    found = [s.path for s in walk(expand(load(ref).model))]
    assert len(found) == len(set(found))


BODIES = st.recursive(
    st.sampled_from(["relu", "gelu", {"op": "dropout", "p": 0.5}]),
    lambda inner: st.fixed_dictionaries(
        {"body": st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, min_size=1, max_size=3)},
        optional={"repeat": st.integers(0, 3), "op": st.just("residual")},
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), BODIES, min_size=1))
@settings(max_examples=150, deadline=None)
def test_paths_are_unique_and_every_node_is_a_step(graph: dict[str, Any]) -> None:
    tree = marked({"inputs": {"image": ["B", 4]}, "graph": graph})
    assert isinstance(tree, Map)
    paths = [s.path for s in walk(expand(tree))]
    assert len(paths) == len(set(paths))
    assert set(build(tree).nodes) <= set(paths)


def test_the_places_of_arguments_lead_to_where_they_were_written() -> None:
    head = "vars: {dim: 4}\nblocks:\n  b: {params: {w: 3}, body: {d: {op: linear, out: =w}}}"
    found = steps("  x: {op: b, w: =dim}\n  y: b\n  z: {op: linear, out: 9, from: [image, x]}", head)

    def text(path: str, *keys: str) -> str:
        span = found[path].value_span(*keys)
        assert span is not None
        return f"{span.line}: {span.text[span.column - 1 : span.column - 1 + span.width]}"

    assert (text("x.d", "out"), text("y.d", "out"), text("z", "out")) == ("2: 4", "4: 3", "8: 9")
    assert text("z", "from", "1") == "8: x"
    assert text("z", "nothing").startswith("8: {op: linear")
