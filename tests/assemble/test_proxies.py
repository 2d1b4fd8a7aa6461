"""Zero-cost proxies against what they come to by hand, and how they order models."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from assembler.assemble.proxies import Untrained, score
from assembler.compile.lower import lower
from assembler.errors import AssemblerError, InputError, RecipeError
from assembler.graph.core import Graph
from assembler.recipe.document import parse
from assembler.registry import names
from assembler.train.objective import Objective
from assembler.wiring.build import build

LOSS = [{"loss": "cross_entropy", "value": "logits", "target": "label"}]
NET = """
kind: model
inputs: {image: [B, 3]}
graph:
  first: {op: linear, out: WIDTH, bias: false}
  act: ACT
  head: {op: linear, out: 2, bias: false}
outputs: {logits: head}
"""


def net(width: int = 4, act: str = "relu") -> Graph:
    return build(parse(NET.replace("WIDTH", str(width)).replace("ACT", act)).model)


def model(graph: Graph, samples: int = 5) -> Untrained:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(samples, 3, generator=generator)
    return Untrained(graph, {"image": image, "label": torch.arange(samples) % 2}, Objective.from_spec(LOSS))


def weights(graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
    state = lower(graph, seed=0).state_dict()
    return state["first.weight"], state["head.weight"]


def test_synflow_is_the_flow_through_absolute_weights_once_a_layer() -> None:
    first, head = (w.double().abs() for w in weights(net()))
    flow = float((head @ first @ torch.ones(3, dtype=torch.float64)).sum())
    assert score("synflow", model(net())) == pytest.approx(2 * flow)  # each of two layers carries all of it


def test_naswot_is_the_determinant_of_agreements() -> None:
    told = model(net(), samples=3)
    codes = (told.batch["image"] @ weights(net())[0].T > 0).int()
    agreements = [[float((a == b).sum()) for b in codes] for a in codes]
    wanted = float(torch.tensor(agreements).double().logdet())
    assert score("naswot", told) == pytest.approx(wanted)
    assert score("naswot", model(net(act="gelu"), samples=3)) == pytest.approx(wanted)


def test_naswot_of_samples_that_switch_alike_is_minus_infinity_and_of_no_activation_an_error() -> None:
    twice = model(net(), samples=2)
    same = Untrained(net(), {n: t[:1].repeat(2, *[1] * (t.ndim - 1)) for n, t in twice.batch.items()}, twice.objective)
    assert score("naswot", same) == -math.inf
    with pytest.raises(RecipeError, match="naswot looks at activations, and model has none"):
        score("naswot", model(net(act="identity")))


def test_grad_norm_and_snip_are_of_the_first_gradient() -> None:
    told = model(net())
    first, head = (w.clone().requires_grad_() for w in weights(net()))
    loss = F.cross_entropy(F.relu(told.batch["image"] @ first.T) @ head.T, told.batch["label"])
    one, two = torch.autograd.grad(loss, (first, head))
    assert score("grad_norm", told) == pytest.approx(float(one.norm() + two.norm()), rel=1e-5)
    assert score("snip", told) == pytest.approx(
        float(((one * first).abs().sum() + (two * head).abs().sum()).detach()), rel=1e-5
    )


def test_params_and_flops_are_counted() -> None:
    assert score("params", model(net())) == 3 * 4 + 4 * 2
    assert score("flops", model(net())) == 2 * (3 * 4 + 4 * 2)


@pytest.mark.parametrize("name", ["synflow", "params", "flops"])
def test_wider_models_rank_higher_where_only_the_width_differs(name: str) -> None:
    found = [score(name, model(net(width))) for width in (2, 8, 32, 128)]
    assert found == sorted(found) and len(set(found)) == 4


@pytest.mark.parametrize("name", names("proxy"))
def test_a_score_is_the_same_every_time_and_leaves_torch_alone(name: str) -> None:
    told = model(net())
    before = torch.random.get_rng_state()
    assert score(name, told) == score({"name": name}, told)
    assert torch.equal(before, torch.random.get_rng_state())


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(AssemblerError, match="unknown proxy 'sinflow'") as caught:
        score("sinflow", model(net()))
    assert "did you mean 'synflow'?" in str(caught.value)
    with pytest.raises(InputError, match="proxy 'snip' has no option 'eps'"):
        score({"name": "snip", "eps": 1}, model(net()))
