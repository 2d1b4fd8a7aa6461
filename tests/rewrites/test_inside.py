"""Rewrites in the bodies of loops and experts, and what is said where a rewrite finds nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import assembler as asm
from assembler.cli.app import app
from assembler.errors import GraphError
from assembler.recipe.document import parse
from assembler.rewrites.drive import places
from assembler.rewrites.spec import order

NESTED = """\
inputs: {x: [B, 16]}
graph:
  go:
    op: loop
    times: 3
    carry: [h]
    from: {h: x}
    body:
      a: {op: linear, out: 16}
      b: relu
      c: {op: linear, out: 16}
    outputs: {h: c}
  router: {op: linear, out: 4}
  mixed:
    op: experts
    count: 4
    k: 2
    from: {x: go, logits: router}
    body: {up: {op: linear, out: 32, from: x}, act: gelu, down: {op: linear, out: 16}}
"""
BLOCKS = """\
inputs: {image: [B, 3, 8, 8]}
graph:
  stem: {op: conv_bn_act, out: 8}
  mid: {op: conv_bn_act, out: 8}
  pool: global_avg_pool
  head: {op: linear, out: 10}
outputs: {logits: head}
"""
STEM = "'stem' is conv_bn_act, one step"


def built(text: str = NESTED) -> asm.Recipe:
    return asm.build(parse(text, "net.yaml")).eval()


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("go.a", ("go.a",)),
        ("go", ("go.a", "go.c")),
        ("mixed.*", ("mixed.up", "mixed.down")),
        ("*", ("router", "go.a", "go.c", "mixed.up", "mixed.down")),
    ],
)
def test_paths_lead_into_bodies(at: str, found: tuple[str, ...]) -> None:
    graph = asm.graph(parse(NESTED))
    assert places(order({"rewrite": "low_rank", "rank": 2}).rewrite, graph, at) == found


@pytest.mark.parametrize(
    "what",
    [
        {"rewrite": "widen"},
        {"rewrite": "low_rank", "rank": 16},
        {"rewrite": "deepen"},
        {"rewrite": "widen", "at": "mixed.up", "out": 48},
    ],
)
def test_a_body_that_is_rewritten_computes_the_same_with_the_weights_carried_over(what: dict[str, object]) -> None:
    module, x = built().double(), torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = asm.rewrite(module, {k: v for k, v in what.items() if k != "at"}, str(what.get("at", "*")))
    inside = [k for k in made.state_dict() if k.startswith(("go.", "mixed.expert."))]
    before = module.state_dict()
    assert any(k not in before or made.state_dict()[k].shape != before[k].shape for k in inside)
    assert torch.allclose(module(x), made.eval()(x), atol=1e-10)


def test_each_copy_gets_the_factors_of_its_own_weights() -> None:
    module = built()
    state = asm.rewrite(module, {"rewrite": "low_rank", "rank": 3}, "mixed.up").state_dict()
    for n in range(4):
        own = module.state_dict()[f"mixed.expert.{n}.up.weight"]
        left, values, right = torch.linalg.svd(own, full_matrices=False)
        made = state[f"mixed.expert.{n}.up.expand.weight"] @ state[f"mixed.expert.{n}.up.reduce.weight"]
        assert torch.allclose(made, left[:, :3] * values[:3] @ right[:3], atol=1e-5)


def test_a_rank_by_energy_is_not_chosen_for_copies_that_differ() -> None:
    found = places(order({"rewrite": "low_rank", "energy": 0.5}).rewrite, asm.graph(parse(NESTED)), "*")
    assert found == ("router", "go.a", "go.c")


def test_a_body_whose_weights_others_use_is_left_alone() -> None:
    text = NESTED + "  last: {op: linear, out: 16, share: go.a}\n"
    found = places(order({"rewrite": "low_rank", "rank": 2}).rewrite, asm.graph(parse(text)), "*")
    assert found == ("router", "mixed.up", "mixed.down")


@pytest.mark.parametrize(
    ("text", "what", "at", "said", "hint"),
    [
        (NESTED, "low_rank:2", "go.aa", "there is no step 'go.aa' in recipe", "did you mean 'go.a'"),
        (NESTED, "low_rank:40", "*", "there is no site for low_rank in recipe", "it applies to linear layers and conv"),
        (BLOCKS, "low_rank:9", "*", "there is no site for low_rank in recipe", "it applies to linear layers"),
        (
            BLOCKS,
            "low_rank:2",
            "stem",
            "low_rank cannot be applied at 'stem'",
            f"{STEM}; `expand` lays it out as steps",
        ),
        (BLOCKS, "widen", "stem", "widen cannot be applied at 'stem'", f"{STEM}, and others beside it; `expand` lays"),
        (
            BLOCKS,
            "deepen",
            "*",
            "there is no site for deepen in recipe",
            f"{STEM}, and others beside it; `expand` lays",
        ),
    ],
)
def test_what_is_said_where_there_is_no_site(text: str, what: str, at: str, said: str, hint: str) -> None:
    name, _, rank = what.partition(":")
    with pytest.raises(GraphError) as caught:
        asm.rewrite(parse(text, "net.yaml"), {"rewrite": name} | ({"rank": int(rank)} if rank else {}), at)
    problem = caught.value.problems[0]
    assert problem.message == said and problem.hint.startswith(hint), problem.render()


def test_the_command_line_names_a_rewrite_that_had_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(BLOCKS)
    done = CliRunner().invoke(app, ["rewrite", str(tmp_path / "net.yaml"), "fuse_branches", "expand"])
    assert done.exit_code == 0
    assert "fuse_branches has no site here; it applies to the sums whose inputs can be fused" in done.output
    failed = CliRunner().invoke(app, ["rewrite", str(tmp_path / "net.yaml"), "low_rank:rank=9"])
    assert failed.exit_code == 2
