"""What candidates are put together from: the graph, fingerprint and costs of every choice are those of building it."""

from __future__ import annotations

import random

import pytest

from assembler.errors import AssemblerError
from assembler.graph import Graph
from assembler.graph.fingerprint import fingerprint
from assembler.graph.verify import verify
from assembler.infer.cost import measured, total
from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.choices import Choice, decide
from assembler.recipe.document import Document, load, parse
from assembler.search.moves import mutate
from assembler.wiring import variants
from assembler.wiring.build import build
from assembler.wiring.variants import Variants

STAGES = """
kind: space
base: poolformer@s12
choose:
  stage.*.block.mixer: {$oneof: [pool, dwconv, {op: attention, num_heads: 8}, identity]}
  stage.2.block.1.ratio: {$oneof: [1, 2]}
  vars.depths.1: {$int: [1, 2]}
  vars.depths.2: {$int: [2, 4]}
set: {vars.size: 32, vars.widths: [8, 8, 16, 16], vars.depths: [1, 2, 2, 1], vars.classes: 4}
"""
WOVEN = """
kind: model
vars: {depth: {$int: [0, 3]}, wide: {$oneof: [8, 1, true]}, keep: {$oneof: [true, false]}}
inputs: {x: [B, 8], y: [B, 8]}
blocks:
  arm:
    params: {act: relu, out: 8}
    inputs: [a, side, more?]
    body:
      f: {op: linear, out: =out, from: side}
      act: {op: =act, if: =keep}
      sum: {op: add, from: [act, a, more], if: =depth > 1}
    outputs: {main: sum, other: f}
graph:
  first:
    op: arm
    from: {a: x, side: {$oneof: [x, y]}}
    act: {$oneof: [relu, gelu, {op: softmax, dim: {$oneof: [1, 9]}}]}
  loop:
    op: loop
    times: =depth + 1
    carry: [u]
    from: {u: first}
    body: {cell: {op: linear, out: 8, share: {$oneof: [null, first.f]}}}
    outputs: {u: cell}
  tower:
    repeat: =depth
    from: loop
    body:
      norm: {op: layer_norm, frozen: =t > 0.5}
      rest: {op: residual, body: {f: {op: linear, out: 8, initializers: {weight: {name: normal, std: =(t + 1) / 50}}}}}
  tied: {op: linear, out: =8 if keep else wide, share: {$oneof: [null, first.f]}}
  both: {op: add, from: [tied, y, first.other]}
outputs: {sum: both, early: first}
initializers: {layer_norm.weight: {name: constant, val: {$oneof: [1, 1.0]}}}
"""
SHARED = """
kind: model
vars: {depth: {$int: [1, 3]}}
inputs: {x: [B, 8]}
graph:
  block:
    repeat: =depth
    share: true
    body: {norm: layer_norm, ffn: {op: linear, out: 8}, act: {op: {$oneof: [relu, gelu]}}}
  pair:
    body:
      one: {op: linear, out: 8}
      two: {op: linear, out: 8, share: {$oneof: [null, one]}}
  join: {op: switch, from: {train: pair, eval: block.0}}
  last: {op: linear, out: {$int: [7, 8]}, share: {$oneof: [null, block.0.ffn]}}
"""
CHAIN = """
kind: model
vars:
  wide: {$oneof: [8, 16]}
  act: {$oneof: [relu, gelu, {op: softmax, dim: {$oneof: [1, -1]}}]}
  twice: =2 * wide
  depths: [{$int: [0, 2]}, {$int: [1, 2]}]
  rate: {$oneof: [0.1, 0.2]}
  side: {$oneof: [1, 1.0, true]}
inputs: {x: [B, 8]}
blocks:
  mlp: {params: {out: 8, p: 0}, body: {fc: {op: linear, out: =out}, act: {op: =act}, drop: {op: dropout, p: =p + rate}}}
  bare: {params: {out: 8, p: 0}, body: {f: {op: linear, out: =out, bias: "=depths[0] > 1"}, g: {op: dropout, p: =p}}}
graph:
  first: {op: linear, out: =twice}
  tower:
    for: {n: =depths, w: "=[8, wide]"}
    body:
      up: {op: linear, out: =w}
      more: {op: {$oneof: [mlp, bare]}, out: =w, p: =t / 2, repeat: =n}
      norm: layer_norm
    1: {norm: {op: {$oneof: [layer_norm, rms_norm]}}}
  last: {op: linear, out: {$int: [2, 3]}, bias: =side == 1}
outputs: {logits: last}
"""
WRITTEN = {
    "stages": STAGES,
    "woven": WOVEN,
    "loose": WOVEN.partition("initializers: {layer")[0],
    "shared": SHARED,
    "chain": CHAIN,
}
SHIPPED = ("nas_bench_201", "nas_bench_101", "deep_architect_cnn", "mobilenet_v3", "stage_mixers", "language_model")


def built(document: Document, choice: Choice) -> tuple[Graph | None, str]:
    """The graph of a choice, without anything remembered, or what is wrong with it."""
    try:
        graph = build(decide(document.model, choice), name=document.name)
        verify(graph)
        measured(graph)
        return graph, ""
    except AssemblerError as error:
        return None, str(error)


@pytest.mark.parametrize("name", [*WRITTEN, *SHIPPED])
def test_a_candidate_is_what_its_choice_builds(name: str) -> None:
    document = parse(WRITTEN[name]) if name in WRITTEN else load(name)
    candidates, rng, refused = Candidates(document.model, document.name), random.Random(1), 0
    drawn = [candidates.space.sample(rng) for _ in range(40 if name in WRITTEN else 4)]
    for choice in (candidates.space.first, *drawn):
        graph, wrong = built(document, choice)
        if graph is None:
            with pytest.raises(AssemblerError) as error:
                candidates.cost(choice)
            assert str(error.value) == wrong
            refused += 1
            continue
        found = candidates.graph(choice)
        assert (found, list(found.names.items()), found.name) == (graph, list(graph.names.items()), graph.name)
        assert [node.span for _, node in found] == [node.span for _, node in graph]
        assert [[type(v) for _, v in node.args] for _, node in found] == [
            [type(v) for _, v in node.args] for _, node in graph
        ]
        assert candidates.fingerprint(choice) == fingerprint(graph)
        cost = total(graph)
        assert candidates.cost(choice) == {"params": cost.params, "flops": cost.flops}
    assert (0 < refused < 40) is (name in ("woven", "loose", "shared"))


def test_pieces_that_candidates_have_in_common_are_the_same_objects() -> None:
    document = parse(STAGES)
    candidates = Candidates(document.model, "m")
    first = candidates.space.first
    one, other = candidates.graph(first), candidates.graph({**first, "stage.3.block.mixer": 1})
    same = [i for i, node in one if other.nodes.get(i) is node]
    assert {i for i in one.nodes if not i.startswith("stage.3.block")} <= set(same)
    assert "stage.3.block.0.mlp.ffn" in same
    assert one.nodes["stage.3.block.0.mix.token"] != other.nodes["stage.3.block.0.mix.token"]


def test_what_is_kept_is_bounded_and_what_comes_after_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    document = parse(STAGES)
    candidates, rng = Candidates(document.model, document.name), random.Random(0)
    monkeypatch.setattr(variants, "_MOST", 100)
    kept = Variants(document.model, candidates.space, document.name)
    for _ in range(12):
        choice = candidates.space.sample(rng)
        assert kept.variant(choice).graph == built(document, choice)[0]
        assert len(kept._unrolled.kept) < 300


@pytest.mark.parametrize("name", ["stages", "chain"])
def test_a_chain_of_pieces_that_were_all_met_is_put_together_without_laying_out(name: str) -> None:
    document = parse(WRITTEN[name])
    found = Variants(document.model, Candidates(document.model, name).space, document.name)
    rng, met, drawn = random.Random(2), 0, [found.space.first]
    for _ in range(150):
        choice = mutate(found.space, rng.choice(drawn[-12:]), rng)
        drawn.append(choice)
        quick = found._met(choice)
        met += quick is not None
        graph = found.variant(choice).graph if quick is None else quick.graph
        wanted = build(decide(document.model, choice), name=document.name)
        assert (graph, list(graph.names.items())) == (wanted, list(wanted.names.items()))
        assert repr([node.args for _, node in graph]) == repr([node.args for _, node in wanted])
    assert met > 20
