"""Models that lint finds no fault with and building would refuse: `plan` says why and where, and so does build.

`tests/golden/planned/NAME.yaml` is the recipe, `NAME.txt` the message.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import assembler
from assembler.errors import AssemblerError
from assembler.recipe.document import load

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "planned"
NAMES = sorted(file.stem for file in GOLDEN.glob("*.yaml"))
MODELS = [name for name in NAMES if load(GOLDEN / f"{name}.yaml", strict=False).kind == "model"]


@pytest.fixture(autouse=True)
def _there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)


@pytest.mark.parametrize("name", NAMES)
def test_plan_says_what_is_wrong(name: str) -> None:
    with pytest.raises(AssemblerError) as caught:
        assembler.plan(f"{name}.yaml")
    assert str(caught.value) + "\n" == (GOLDEN / f"{name}.txt").read_text()
    assert all(problem.span for problem in caught.value.problems)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", MODELS)
def test_build_says_the_same_of_the_first(name: str) -> None:
    with pytest.raises(AssemblerError) as caught:
        assembler.build(f"{name}.yaml")
    assert (GOLDEN / f"{name}.txt").read_text().startswith(str(caught.value))


SOUND = {
    "tokens": "{shape: [B, 8], dtype: int64}|a: {op: embedding, num_embeddings: 9, out: 4}",
    "mask": "{shape: [B, 8], dtype: bool}|a: {op: cast, dtype: float32}",
    "integers": "{shape: [B, 8], dtype: int64}|a: {op: sum, dim: 1}",
    "doubles": "{shape: [B, 8], dtype: float64}|a: {op: softmax, dim: -2}",
    "transposed": "[B, 3, 8, 8]|a: {op: conv_transpose2d, out: 4, kernel_size: 3, stride: 2, output_padding: 1}",
}


@pytest.mark.parametrize("name", SOUND)
def test_what_builds_is_planned(name: str, tmp_path: Path) -> None:
    given, step = SOUND[name].split("|")
    file = tmp_path / "m.yaml"
    file.write_text(f"kind: model\ninputs: {{x: {given}}}\ngraph:\n  {step}\n")
    assert assembler.plan(file).rows
    assembler.build(file)


def test_a_plan_draws_no_random_numbers(tmp_path: Path) -> None:
    import torch

    file = tmp_path / "m.yaml"
    file.write_text(
        "kind: model\ninputs: {x: {shape: [B, 8], dtype: int64}}\ngraph: {a: {op: aten.bernoulli.p, p: 0.5}}\n"
    )
    before = torch.get_rng_state()
    assembler.plan(file)
    assert torch.equal(before, torch.get_rng_state())


def test_weights_that_find_no_memory_are_named_with_their_size(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("kind: model\ninputs: {x: [B, 9]}\ngraph:\n  a: {op: linear, out: 1000000000000}\n")
    with pytest.raises(AssemblerError) as caught:
        assembler.build(file)
    assert str(caught.value) == (
        f"{file}:4:6: error: there is no memory for the weights of 'a' (linear), 40,000,000,000,000 bytes\n"
        "      a: {op: linear, out: 1000000000000}\n"
        "         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "    hint: it reads float32[2, 9]"
    )
