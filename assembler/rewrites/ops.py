"""What rewrites know about ops: layers with a weight matrix, norms, and steps that treat every channel alike."""

from __future__ import annotations

from assembler.graph.core import Arg, Node
from assembler.rewrites.view import argument, each

AXES = {"linear": 0, "conv1d": 1, "conv2d": 2, "conv3d": 3}
"""Layers by the number of axes that their kernel has; weight [out, in / groups, *kernel]."""
TRANSPOSED = {"conv_transpose1d": 1, "conv_transpose2d": 2, "conv_transpose3d": 3}
"""Their weight is [in, out / groups, *kernel]."""
BATCH_NORMS = ("batch_norm1d", "batch_norm2d", "batch_norm3d", "sync_batch_norm")
"""About axis 1."""
TOKEN_NORM = "token_batch_norm"
"""The one about the last axis."""
DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "drop_path")
ELEMENTWISE = (
    *("relu", "relu6", "gelu", "silu", "elu", "selu", "celu", "mish", "tanh", "sigmoid", "hardswish", "hardsigmoid"),
    *("hardtanh", "leaky_relu", "softplus", "softsign", "log_sigmoid", "tanhshrink", "identity", *DROPOUTS),
)
"""Every number by itself, or in training every channel."""
POOLS = (
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "lp_pool2d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d"),
    *("adaptive_max_pool2d", "adaptive_max_pool3d", "zero_pad2d", "reflection_pad2d", "upsample", "pool"),
)
"""Every channel, axis 1, by itself."""


def features(*readers: str, otherwise: int = -1) -> int:
    """The axis of the features of a value that these ops read: 1 or the last one."""
    if {"linear", "layer_norm", "aten.layer_norm", "rms_norm", TOKEN_NORM} & set(readers):
        return -1
    first = {*AXES, *TRANSPOSED, *BATCH_NORMS, *POOLS, "layer_norm2d", "group_norm"}
    return 1 if first & set(readers) else otherwise


def padding(node: Node) -> tuple[int, ...] | None:
    """Zeros that a convolution adds on both sides of every axis; None where the sides differ ("same", even kernels)."""
    n = AXES[node.op]
    said = argument(node, "padding")
    if said == "valid":
        return (0,) * n
    if said == "same":
        spread = [d * (k - 1) for k, d in zip(kernel(node), each(argument(node, "dilation"), n), strict=True)]
        return None if any(s % 2 for s in spread) else tuple(s // 2 for s in spread)
    return each(said, n)


def kernel(node: Node) -> tuple[int, ...]:
    """The kernel's size along every axis; () for a linear layer."""
    return each(argument(node, "kernel_size"), AXES[node.op]) if AXES[node.op] else ()


def is_dense(node: Node) -> bool:
    """Whether every output of a layer reads every input channel."""
    return node.op in AXES and argument(node, "groups") in (None, 1)


def has_bias(node: Node) -> bool:
    """Whether a layer adds a bias."""
    return bool(argument(node, "bias"))


def with_bias(node: Node) -> tuple[tuple[str, Arg], ...]:
    """The arguments of a layer, with a bias."""
    return tuple((name, value) for name, value in node.args if name != "bias")
