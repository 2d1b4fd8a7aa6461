"""What an op says to the shapes and arguments that it cannot take."""

from __future__ import annotations

import pytest

from assembler.graph.core import TensorType
from assembler.infer.shape import Refusal, step_type

MAPS, TOKENS, FLAT = (2, 8, 4, 4), (2, 15, 8), (2, 8)
CASES = [
    ("add", {}, [MAPS, TOKENS], "the inputs need equally many axes, got [2, 8, 4, 4] and [2, 15, 8]"),
    ("mul", {}, [MAPS, FLAT], "the inputs need equally many axes, got [2, 8, 4, 4] and [2, 8]"),
    ("sub", {}, [FLAT, TOKENS], "the inputs need equally many axes, got [2, 8] and [2, 15, 8]"),
    ("weighted_sum", {}, [FLAT, TOKENS], "the inputs need equally many axes, got [2, 8] and [2, 15, 8]"),
    ("concat", {"dim": 0}, [MAPS, MAPS], "dim is 0; inputs of 4 axes are joined along one of 1 to 3, or -1"),
    ("concat", {"dim": 4}, [MAPS, MAPS], "dim is 4; inputs of 4 axes are joined along one of 1 to 3, or -1"),
    (
        "concat",
        {},
        [MAPS, (2, 8, 2, 2)],
        "inputs joined along axis 1 need to agree in every other axis, got [2, 8, 4, 4] and [2, 8, 2, 2]",
    ),
    (
        "attention",
        {"num_heads": 3},
        [MAPS],
        "8 features do not split into 3 heads; num_heads may be 1, 2, 4, 8, or give head_dim",
    ),
    ("attention", {"num_heads": 0}, [MAPS], "8 features do not split into 0 heads"),
    ("attention", {"dropout": 1.5}, [MAPS], "dropout is 1.5, but it needs to be at least 0 and less than 1"),
    ("attention", {}, [FLAT], "attention needs tokens [B, N, D] or maps [B, C, H, W], got [2, 8]"),
    ("mlp", {"ratio": 0.01}, [TOKENS], "ratio 0.01 of 8 features leaves no hidden layer"),
    ("conv_mlp", {"ratio": -1.0}, [MAPS], "ratio -1.0 of 8 channels leaves no hidden layer"),
    ("pool", {"kernel_size": 2}, [MAPS], "kernel_size is 2, but only an odd kernel keeps the size"),
    ("pool", {}, [TOKENS], "15 tokens do not fill a grid of 3 x 3; give `grid: [height, width]`"),
    ("pool", {}, [FLAT], "pool needs tokens [B, N, D] or maps [B, C, H, W], got [2, 8]"),
    ("dwconv", {"grid": (4, 4)}, [TOKENS], "15 tokens do not fill a grid of 4 x 4; give `grid: [height, width]`"),
    ("token_mlp", {}, [FLAT], "token_mlp needs tokens [B, N, D] or maps [B, C, H, W], got [2, 8]"),
    (
        "patch_embed",
        {"patch_size": 3},
        [MAPS],
        "a map of 4 x 4 is no whole number of patches of 3; "
        "patch_size may be 1, 2, 4, or a smaller stride makes patches overlap",
    ),
    ("patch_embed", {"patch_size": 0}, [MAPS], "patch_size and stride are at least 1, got 0 and 0"),
    ("patch_embed", {}, [TOKENS], "patch_embed needs maps [B, C, H, W], got [2, 15, 8]"),
    ("map_to_tokens", {}, [TOKENS], "map_to_tokens needs maps [B, C, H, W], got [2, 15, 8]"),
    ("tokens_to_map", {}, [TOKENS], "15 tokens do not fill a grid of 3 x 3; give `grid: [height, width]`"),
    ("sincos_position", {}, [(2, 4, 7)], "7 features do not split into the 2 equal parts of sines and cosines"),
    ("sincos_position", {"grid": (4, 4)}, [TOKENS], "15 tokens do not fill a grid of 4 x 4"),
    ("token_pool", {}, [MAPS], "token_pool needs tokens [B, N, D], got [2, 8, 4, 4]"),
    ("drop_path", {"p": 1.0}, [MAPS], "p is 1.0, but it needs to be at least 0 and less than 1"),
    ("layer_scale", {"axis": 0}, [FLAT], "axis is 0, but the channels of [2, 8] are one of axes 1 to 1"),
    ("layer_scale", {"axis": 3}, [FLAT], "axis is 3, but the channels of [2, 8] are one of axes 1 to 1"),
    ("reshape", {"shape": (7, -1)}, [TOKENS], "samples of shape [15, 8], 120 elements, cannot take the shape [7, -1]"),
    ("reshape", {"shape": (-1, -1)}, [TOKENS], "cannot take the shape [-1, -1]"),
    ("reshape", {"shape": (0, -1)}, [TOKENS], "cannot take the shape [0, -1]"),
    ("reshape", {"shape": (60,)}, [TOKENS], "cannot take the shape [60]"),
    ("reshape", {"shape": (-2, -60)}, [TOKENS], "cannot take the shape [-2, -60]"),
    ("transpose", {"dim1": 3}, [TOKENS], "there is no axis 3 in [2, 15, 8]"),
    ("permute", {"dims": (0, 1)}, [TOKENS], "dims is [0, 1], but it needs each axis of [2, 15, 8] once: 0 to 2"),
    ("global_avg_pool", {}, [FLAT], "global_avg_pool needs tokens [B, N, D] or maps [B, C, H, W], got [2, 8]"),
    ("global_max_pool", {}, [FLAT], "global_max_pool needs tokens [B, N, D] or maps [B, C, H, W], got [2, 8]"),
    ("efficient_channel_attention", {"kernel_size": 4}, [MAPS], "kernel_size is 4, but a channel has as many neigh"),
    ("squeeze_excite", {"ratio": 0.1}, [MAPS], "ratio 0.1 of 8 channels leaves no hidden layer"),
]


@pytest.mark.parametrize(("name", "args", "shapes", "message"), CASES)
def test_refusal(name, args, shapes, message):
    ports = tuple(str(i) for i in range(len(shapes))) if len(shapes) > 1 and name != "sub" else ("x",)
    ports = ("a", "b") if name == "sub" else ports
    found = step_type("", name, tuple(args.items()), ports, tuple(TensorType(s) for s in shapes), ())
    assert isinstance(found, Refusal)
    assert message in found.why
