"""What the benches measure is what they say: peers compute the same, recipes have the sizes, ratios are paired."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from assembler import registry
from assembler.recipe.document import parse
from assembler.wiring.build import build
from benchmarks import hotloop, parity, scale
from benchmarks.__main__ import NAMES, RESULTS
from benchmarks.measure import Figure, line, ratios


@pytest.mark.parametrize("case", parity.CASES, ids=lambda case: case.name)
def test_a_peer_with_the_same_weights_computes_the_same(case: parity.Case) -> None:
    ours, peer, inputs = parity.built(case)
    assert parity.difference(ours, peer, inputs) == 0.0
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())
    assert ours.training and peer.training


def test_another_weight_makes_a_difference() -> None:
    ours, peer, inputs = parity.built(parity.CASES[0])
    with torch.no_grad():
        next(peer.parameters()).mul_(2)
    assert parity.difference(ours, peer, inputs) > 0


def test_the_scaled_recipe_has_as_many_steps_as_it_says_and_is_new_each_time() -> None:
    graphs = [build(parse(scale.recipe(1000, width)).model) for width in (16, 17)]
    assert [len(g) for g in graphs] == [1000, 1000]
    assert graphs[0].fingerprint != graphs[1].fingerprint


def test_ratios_are_of_pairs_that_take_turns_at_going_first() -> None:
    log: list[str] = []

    def timed(name: str, seconds: list[float]) -> float:
        log.append(name)
        return seconds.pop(0)

    ours, peer = [2.0, 3.0, 8.0], [1.0, 1.0, 2.0]
    assert ratios(lambda: timed("a", ours), lambda: timed("b", peer), 3) == [2.0, 3.0, 4.0]
    assert log == ["a", "b", "b", "a", "a", "b"]


def test_a_line_has_the_keys_of_every_bench() -> None:
    figure = Figure("a / b", 1.0, "<= 1.2", True, "b", 0.1)
    found = json.loads(line("fast", [figure]))
    assert list(found) == ["bench", "figures", "versions", "threads"]
    assert list(found["figures"][0]) == ["name", "value", "goal", "holds", "peer", "spread"]


def test_results_are_kept_of_benches_that_there_are() -> None:
    kept = json.loads(RESULTS.read_text())
    assert set(kept) <= set(NAMES)
    assert all(found["bench"] == name for name, found in kept.items())
    assert all((Path(parity.__file__).parent / f"{name}.py").is_file() for name in NAMES)


@pytest.mark.slow
def test_a_break_in_the_graph_is_told(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "from assembler.registry import op\n"
        "import torch\nfrom torch import Tensor, nn\n\n\n"
        "@op('bench_breaks')\n"
        "class Breaks(nn.Module):\n"
        "    def forward(self, x: Tensor) -> Tensor:\n"
        "        torch._dynamo.graph_break()\n"
        "        return x * 2\n"
    )
    registry.add_plugin(plugin)
    recipe = tmp_path / "broken.yaml"
    recipe.write_text("kind: model\ninputs: {x: [B, 4]}\ngraph: {a: bench_breaks}\n")
    assert parity.breaks(str(recipe))
    recipe.write_text("kind: model\ninputs: {x: [B, 4]}\ngraph: {a: {op: linear, out: 3}}\n")
    assert parity.breaks(str(recipe)) == ""


def test_both_hot_loops_choose_in_the_space_that_the_bench_says() -> None:
    document = parse(hotloop.SPACE)
    assert document.space.size == (3 * 3 * 7 * 3) * (4 * 3) ** 4
    ours, theirs = hotloop.ours(document), hotloop.theirs(document)
    assert all(one() > 0 for one in (ours, theirs) for _ in range(2))
