from __future__ import annotations

from dataclasses import replace

import torch
from infer_graphs import chain, graph, node
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from assembler.compile.lower import lower
from assembler.graph.core import Graph, Node, TensorType
from assembler.infer.backward import stepwise
from assembler.infer.cost import Cost, costs, counting, total, train_flops, uncounted
from assembler.infer.shape import shapes
from assembler.registry import op


@torch.library.custom_op("infer_test::square", mutates_args=())
def square(x: Tensor) -> Tensor:
    return x * x


@square.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@op("infer_test_square")
def squared(x: Tensor) -> Tensor:
    return square(x)


@op("infer_test_still")
def still(x: Tensor) -> Tensor:
    return x.detach() * 1.0


def mlp() -> Graph:
    nodes = {
        "a": node("linear", "x", out=20),
        "act": node("relu", "a"),
        "body.b": node("linear", "act", out=30),
        "c": node("linear", "body.b", out=5),
    }
    return graph(nodes, x=(2, 10))


def test_a_linear_layer_costs_what_arithmetic_says() -> None:
    assert costs(mlp())["a"] == Cost(params=10 * 20 + 20, flops=2 * 10 * 20, bytes=4 * 220)
    assert costs(mlp())["act"] == Cost()


def test_a_total_is_the_sum_of_the_steps_and_that_of_the_module() -> None:
    g = chain(16)
    module = lower(g)
    with FlopCounterMode(display=False) as counter:
        module(torch.randn(2, 16, 8, 8))
    assert total(g) == sum(costs(g).values(), Cost())
    assert total(g).params == sum(p.numel() for p in module.parameters())
    assert total(g).flops == counter.get_total_flops() // 2
    assert total(g).bytes == 4 * total(g).params


def test_flops_are_for_one_sample_whatever_the_batch() -> None:
    g = mlp()
    assert total(Graph((("x", g.inputs[0][1].__class__((6, 10))),), g.nodes, g.outputs)) == total(g)


def test_attention_counts_its_products() -> None:
    nodes = {"a": Node("attention", (("num_heads", 2),), (("x", "x"),))}
    tokens, width = 7, 8
    linear = 2 * tokens * width * width * 4  # q, k, v and the projection
    assert total(graph(nodes, x=(2, tokens, width))).flops == linear + 2 * 2 * tokens * tokens * width


def test_training_costs_are_those_of_a_real_backward_pass() -> None:
    g = mlp()
    forward = total(g).flops
    last, middle, first = 2 * 30 * 5, 2 * 20 * 30, 2 * 10 * 20
    assert train_flops(g, []) == forward
    assert train_flops(g, ["c"]) == forward + last  # the weight's gradient alone
    assert train_flops(g, ["body"]) == forward + middle + last  # through the frozen last step
    assert train_flops(g, ["a"]) == forward + first + middle + last
    assert train_flops(g, None) == forward + first + 2 * middle + 2 * last
    assert train_flops(g) == _measured(g)


def test_a_prefix_means_whole_path_parts() -> None:
    nodes = {"ab": node("linear", "x", out=3), "a": node("linear", "ab", out=3)}
    g = graph(nodes, x=(2, 3))
    assert train_flops(g, ["a"]) < train_flops(g, ["ab"])


def _measured(g: Graph) -> int:
    module: nn.Module = lower(g)
    with FlopCounterMode(display=False) as counter:
        module(torch.randn(2, 10)).sum().backward()
    return counter.get_total_flops() // 2


def test_what_nobody_counts_is_named() -> None:
    nodes = {"a": node("infer_test_square", "x", port="x"), "b": node("relu", "a")}
    assert uncounted(graph(nodes, x=(2, 3))) == ("infer_test.square",)
    assert uncounted(chain(8)) == ()


def test_training_a_depthwise_convolution_costs_three_forward_passes() -> None:
    nodes = {
        "first": Node("conv2d", (("kernel_size", 1), ("out", 32)), (("input", "x"),)),
        "deep": Node("conv2d", (("groups", 32), ("kernel_size", 3), ("out", 32)), (("input", "first"),)),
    }
    graph = Graph((("x", TensorType((2, 32, 8, 8))),), nodes, (("y", "deep"),))
    forward = costs(graph)
    assert train_flops(graph) == 2 * forward["first"].flops + 3 * forward["deep"].flops


def test_steps_one_by_one_take_what_the_whole_takes() -> None:
    nodes = {
        "a": node("linear", "x", out=6),
        "still": node("infer_test_still", "a"),
        "b": node("linear", "still", out=6),
        "twice": node("add", "b", "b"),
        "c": node("linear", "twice", out=5),
        "unread": node("linear", "b", out=9),
    }
    g = graph(nodes, x=(2, 4))
    g = Graph(g.inputs, g.nodes, (("y", "c"),))
    for trained in (set(nodes), {"a"}, {"b"}, {"c"}, set()):
        found = stepwise(g, shapes(g), trained.__contains__, counting)
        module = lower(g).train()
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in trained)
        with FlopCounterMode(display=False) as counter:
            y = module(torch.randn(2, 4))
            if y.requires_grad:
                y.sum().backward()
        unread = 2 * 2 * 6 * 9  # which the module computes, and nobody needs
        assert found == counter.get_total_flops() - unread, trained


def test_what_needs_its_surroundings_is_not_counted_by_steps() -> None:
    g = mlp()
    owned = Node("linear", (("out", 30),), (("input", "act"),), share=(("", "body.b"),))
    tied = Graph(g.inputs, {**g.nodes, "d": owned}, (("y", "c"), ("z", "d")))
    assert stepwise(tied, shapes(tied), lambda i: True, counting) is None
    assert train_flops(tied) > train_flops(g)


def test_a_shared_copy_whose_step_has_no_weights_keeps_its_own_arguments_in_training_too() -> None:
    pool, conv = node("adaptive_avg_pool2d", "x", output_size=4), node("conv2d", "pool2", out=4, kernel_size=1)
    made = graph(
        {
            "pool": node("adaptive_avg_pool2d", "x", output_size=2),
            "conv": node("conv2d", "pool", out=4, kernel_size=1),
            "pool2": replace(pool, share=(("", "pool"),)),
            "conv2": replace(conv, share=(("", "conv"),)),
            "up": node("upsample", "conv", scale_factor=2),
            "add": node("add", "up", "conv2"),
        },
        x=(2, 3, 8, 8),
    )
    forward = total(made).flops
    assert forward == 2 * 3 * 4 * (2 * 2 + 4 * 4)
    assert train_flops(made) == 2 * forward  # no gradient reaches the input
