from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from compile_graphs import chain, hybrid, node, plain
from torch import Tensor, nn

from assembler.compile.lower import lower
from assembler.errors import GraphError
from assembler.graph.core import Graph, Node, TensorType
from assembler.graph.reserved import RESERVED_STEPS
from assembler.registry import op


@op("compile_test_by_size")
def by_size(x: Tensor, limit: int = 0) -> Tensor:
    return x if x.shape[0] > limit else -x


@op("compile_test_cross")
class Cross(nn.Module):
    def forward(self, x: Tensor, bias: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        y = x if bias is None else x + bias
        return y if mask is None else y * mask


class Hand(nn.Module):
    """`chain(8)` as one would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.norm = nn.ModuleList(nn.GroupNorm(4, 16) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.conv, self.norm, strict=True):
            x = conv(x)
            x = torch.relu(norm(x)) + x
        return x


def images(batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_it_computes_what_the_same_model_by_hand_computes() -> None:
    module, hand = lower(chain(8)), Hand()
    state = {
        f"{kind}.{i}.{part}": module.state_dict()[f"stage.{i}.{kind}.{part}"]
        for i in range(2)
        for kind in ("conv", "norm")
        for part in ("weight", "bias")
    }
    hand.load_state_dict(state)
    x = torch.randn(3, 16, 8, 8)
    assert torch.equal(module(x), hand(x))


def test_the_code_is_a_straight_line_of_torch_calls_named_by_the_recipe() -> None:
    graph = lower(chain(4)).graph
    assert [(n.op, n.name) for n in graph.nodes] == [
        ("placeholder", "x"),
        ("call_module", "stage_0_conv"),
        ("call_module", "stage_0_norm"),
        ("call_module", "stage_0_act"),
        ("call_function", "stage_0_sum"),
        ("output", "output"),
    ]
    assert "assembler" not in lower(hybrid()).code


def test_state_dict_keys_are_recipe_paths_in_recipe_order() -> None:
    keys = list(lower(hybrid()).state_dict())
    assert keys[:2] == ["stem.weight", "stem.bias"]
    assert {"0.running_mean", "ctx.weight", "ctx.local.conv.weight", "stage.1.mix.token.qkv.weight"} <= set(keys)
    assert keys[-2:] == ["head.weight", "head.bias"]


def test_several_outputs_are_a_dict_and_the_batch_is_free() -> None:
    made = lower(hybrid()).eval()(images(5))
    assert {k: tuple(v.shape) for k, v in made.items()} == {"logits": (5, 10), "feature": (5, 40)}


def test_weights_depend_on_seed_and_path_alone() -> None:
    first = lower(chain(8)).state_dict()
    state = torch.random.get_rng_state()
    longer = lower(chain(12)).state_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(first[k], longer[k]) for k in first)
    assert not torch.equal(first["stage.0.conv.weight"], first["stage.1.conv.weight"])
    assert not torch.equal(first["stage.0.conv.weight"], lower(chain(8), seed=1).state_dict()["stage.0.conv.weight"])


def test_without_a_seed_torchs_own_generator_is_drawn_from() -> None:
    torch.manual_seed(3)
    first = lower(chain(4), seed=None)
    second = lower(chain(4), seed=None)
    torch.manual_seed(3)
    assert torch.equal(_weight(first), _weight(lower(chain(4), seed=None)))
    assert not torch.equal(_weight(first), _weight(second))


def _weight(module: nn.Module) -> Tensor:
    return module.state_dict()["stage.0.conv.weight"]


def test_on_meta_nothing_is_allocated() -> None:
    assert all(p.is_meta for p in lower(hybrid(), device="meta").parameters())


def test_a_function_that_looks_at_its_input_stays_a_call() -> None:
    module = lower(plain({"a": node("compile_test_by_size", "x", limit=3)}, 2, 3))
    assert [n.target for n in module.graph.nodes][1] is by_size
    assert torch.equal(module(torch.ones(4, 3)), torch.ones(4, 3))
    assert torch.equal(module(torch.ones(3, 3)), -torch.ones(3, 3))


def test_optional_inputs_are_wired_by_name() -> None:
    step = Node("compile_test_cross", (), (("x", "x"), ("mask", "m")))
    inputs = (("x", TensorType((2, 3))), ("m", TensorType((2, 3))))
    module = lower(Graph(inputs, {"a": step}, (("y", "a"),)))
    assert torch.equal(module(torch.ones(2, 3), torch.zeros(2, 3)), torch.zeros(2, 3))


def test_the_recipe_graph_stays_with_the_module() -> None:
    g = hybrid()
    assert lower(g).meta["graph"] == g
    assert copy.deepcopy(lower(g)).meta["graph"] == g


def test_a_copy_is_its_own_and_equal() -> None:
    module = lower(hybrid()).eval()
    twin = copy.deepcopy(module)
    assert torch.equal(twin(images())["logits"], module(images())["logits"])
    with torch.no_grad():
        twin.get_parameter("head.bias").add_(1)
    assert not torch.equal(twin(images())["logits"], module(images())["logits"])
    module.load_state_dict(twin.state_dict(), strict=True)
    assert torch.equal(twin(images())["logits"], module(images())["logits"])


def test_train_and_eval_reach_the_steps() -> None:
    module = lower(hybrid())
    torch.manual_seed(0)
    assert not torch.equal(module(images())["feature"], module(images())["feature"])  # drop_path
    module.eval()
    assert torch.equal(module(images())["feature"], module(images())["feature"])


def test_dynamo_takes_it_whole() -> None:
    module = lower(hybrid()).eval()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert torch.equal(compiled(images())["logits"], module(images())["logits"])


def test_a_name_that_modules_need_is_refused_by_name() -> None:
    with pytest.raises(GraphError) as caught:
        lower(plain({"stage.train": node("relu", "x"), "type.a": node("relu", "stage.train")}, 2, 3))
    assert [p.message for p in caught.value.problems] == [
        "a step cannot be named 'train': PyTorch modules have an attribute of that name",
        "a step cannot be named 'type': PyTorch modules have an attribute of that name",
    ]
    assert caught.value.problems[0].hint == "'train_step' is free"


@pytest.mark.parametrize("path", ["_a", "a..b", 'a"b', "é"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(GraphError, match="a step cannot be named"):
        lower(plain({path: node("relu", "x")}, 2, 3))


def test_an_input_needs_a_python_name() -> None:
    with pytest.raises(GraphError, match="'class' cannot name an input: it is no Python identifier"):
        lower(Graph((("class", TensorType((2, 3))),), {"a": node("relu", "class")}, (("y", "a"),)))


def test_steps_cannot_hide_inside_another_steps_weights() -> None:
    nodes = {"a": node("linear", "x", out=3), "a.weight": node("linear", "a", out=3)}
    with pytest.raises(GraphError, match=r"the weights of step 'a\.weight' cannot lie inside those of the step around"):
        lower(plain(nodes, 2, 3))


def test_reserved_names_are_the_public_ones_of_torch_modules() -> None:
    said = "from torch import fx, nn; print(*dir(nn.Module()), *dir(fx.GraphModule(nn.Module(), fx.Graph())))"
    made = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)  # others add to it
    assert {n for n in made.stdout.split() if not n.startswith("_")} == RESERVED_STEPS
