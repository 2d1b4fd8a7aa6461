"""Dead hidden units drawn anew, by what the model does on data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from assembler.errors import GraphError
from assembler.graph.text import from_text
from assembler.infer.shape import shapes
from assembler.rewrites.drive import rewritten
from assembler.rewrites.resample import Resample

GRAPH = from_text(
    'graph "m" (%x: float32[2, 4]) {\n  %up = linear(input=%x) {out = 6}\n  %act = relu(input=%up)\n'
    "  %down = linear(input=%act) {bias = false, out = 4}\n  return y = %down\n}"
)
X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


def state() -> dict[str, Tensor]:
    """Weights with which units 2 and 5 never fire."""
    torch.manual_seed(1)
    bias = torch.tensor([0.1, 0.2, -90.0, 0.1, 0.1, -90.0])
    return {"up.weight": torch.randn(6, 4), "up.bias": bias, "down.weight": torch.randn(4, 6)}


def informed(given: dict[str, Tensor], **options: object) -> Resample:
    """The rewrite with the model's values on `X`."""
    fired = (X @ given["up.weight"].T + given["up.bias"]).relu()
    values = {"x": X, "act": fired, "down": fired @ given["down.weight"].T}
    return Resample(**options).informed(lambda path, axis=-1: values[path])  # type: ignore[arg-type]


def test_dead_units_begin_as_rows_of_what_enters() -> None:
    before = state()
    graph, after = rewritten(GRAPH, informed(before), before)
    assert graph == GRAPH and after is not None
    living = [0, 1, 3, 4]
    assert torch.equal(after["up.weight"][living], before["up.weight"][living])
    assert torch.equal(after["down.weight"][:, living], before["down.weight"][:, living])
    rows = torch.nn.functional.normalize(X, dim=1)
    for unit in (2, 5):
        out = after["down.weight"][:, unit]
        assert torch.isclose(out.norm(), torch.tensor(1.0)) and (rows - out).norm(dim=1).min() < 1e-5
        wanted = out * 0.2 * before["up.weight"][living].norm(dim=1).mean()
        assert torch.allclose(after["up.weight"][unit], wanted, atol=1e-6) and after["up.bias"][unit] == 0
        assert (X @ after["up.weight"][unit] > 0).any()


def test_elsewhere_they_begin_afresh_and_add_nothing() -> None:
    before = state()
    _, after = rewritten(GRAPH, informed(before, by="fresh"), before)
    assert after is not None and not after["down.weight"][:, [2, 5]].any()
    assert not torch.equal(after["up.weight"][[2, 5]], before["up.weight"][[2, 5]])


def test_a_model_without_dead_units_stays_as_it_is() -> None:
    before = state() | {"up.bias": torch.ones(6)}
    _, after = rewritten(GRAPH, informed(before), before)
    assert after is not None and all(torch.equal(after[key], tensor) for key, tensor in before.items())


def test_it_needs_data_and_by_errors_an_autoencoder() -> None:
    with pytest.raises(GraphError, match="resample needs data"):
        rewritten(GRAPH, Resample(), state())
    other = GRAPH.replace("down", out=3)
    assert Resample().sites(other, shapes(other)) == () and Resample(by="fresh").sites(other, shapes(other)) == ("up",)
