"""Every op of the package keeps the contract, in each of its layouts."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from assembler.compile.embed import Embedding
from assembler.infer.make import make
from assembler.registry import lookup, names
from assembler.testing import OpContract

MAPS = ((3, 8, 4, 6),)
TOKENS = ((3, 16, 8),)


class TestAdd(OpContract):
    name = "add"
    shapes = MAPS * 3


class TestMixture(OpContract):
    name = "mixture"
    shapes = MAPS * 3


class TestMul(OpContract):
    name = "mul"
    shapes = (*MAPS, (3, 8, 1, 1))


class TestSub(OpContract):
    name = "sub"
    shapes = MAPS * 2


class TestConcat(OpContract):
    name = "concat"
    shapes = (*MAPS, (3, 2, 4, 6))


class TestWeightedSum(OpContract):
    name = "weighted_sum"
    shapes = MAPS * 2


class TestAttention(OpContract):
    name = "attention"
    shapes = TOKENS


class TestSphericalKMeans(OpContract):
    name = "spherical_kmeans"
    args: ClassVar = {"clusters": 3}
    shapes = TOKENS

    def run(self, module: torch.nn.Module, *xs: torch.Tensor) -> torch.Tensor:
        scores, commitment, _ = module(*xs)  # the centroids are of no sample
        return torch.cat([scores.flatten(1), commitment[:, None]], 1)


class TestSphericalKMeansOfHeads(TestSphericalKMeans):
    args: ClassVar = {"clusters": 3, "decay": 0.9}
    shapes = ((3, 2, 5, 4),)


class TestCausalAttentionOfMaps(OpContract):
    name = "attention"
    args: ClassVar = {"num_heads": 3, "head_dim": 5, "causal": True, "qkv_bias": False, "out": 6, "dropout": 0.1}
    shapes = MAPS


class TestCrossAttention(OpContract):
    name = "attention"
    shapes = (*TOKENS, (3, 6, 3, 3))


class TestMlp(OpContract):
    name = "mlp"
    args: ClassVar = {"dropout": 0.1, "out": 6}
    shapes = TOKENS


class TestConvMlp(OpContract):
    name = "conv_mlp"
    args: ClassVar = {"activation": "tanh"}
    shapes = MAPS


class TestGatedMlp(OpContract):
    name = "gated_mlp"
    shapes = TOKENS


class TestPoolOfMaps(OpContract):
    name = "pool"
    shapes = MAPS


class TestPoolOfTokens(OpContract):
    name = "pool"
    args: ClassVar = {"grid": (2, 8), "kernel_size": 5}
    shapes = TOKENS


class TestDwconvOfMaps(OpContract):
    name = "dwconv"
    args: ClassVar = {"dilation": 2}
    shapes = MAPS


class TestDwconvOfTokens(OpContract):
    name = "dwconv"
    shapes = TOKENS


class TestTokenMlpOfTokens(OpContract):
    name = "token_mlp"
    shapes = TOKENS


class TestTokenMlpOfMaps(OpContract):
    name = "token_mlp"
    args: ClassVar = {"hidden": 5, "dropout": 0.1}
    shapes = MAPS


class TestLayerNorm2d(OpContract):
    name = "layer_norm2d"
    shapes = MAPS


class TestPatchEmbed(OpContract):
    name = "patch_embed"
    args: ClassVar = {"patch_size": 2}
    shapes = MAPS


class TestOverlappingPatchEmbed(OpContract):
    name = "patch_embed"
    args: ClassVar = {"patch_size": 3, "stride": 2, "out": 10}
    shapes = MAPS


class TestMapToTokens(OpContract):
    name = "map_to_tokens"
    shapes = MAPS


class TestTokensToMap(OpContract):
    name = "tokens_to_map"
    shapes = TOKENS


class TestLearnedPosition(OpContract):
    name = "learned_position"
    shapes = TOKENS


class TestSincosPositionOfSequence(OpContract):
    name = "sincos_position"
    shapes = TOKENS


class TestSincosPositionOfGrid(OpContract):
    name = "sincos_position"
    args: ClassVar = {"grid": (2, 8)}
    shapes = TOKENS


class TestSincosPositionOfMaps(OpContract):
    name = "sincos_position"
    shapes = MAPS


class TestClassToken(OpContract):
    name = "class_token"
    shapes = TOKENS


class TestTokenPool(OpContract):
    name = "token_pool"
    shapes = TOKENS


class TestTokenPoolFirst(OpContract):
    name = "token_pool"
    args: ClassVar = {"mode": "first"}
    shapes = TOKENS


class TestDropPath(OpContract):
    name = "drop_path"
    shapes = TOKENS


class TestLayerScaleOfMaps(OpContract):
    name = "layer_scale"
    shapes = MAPS


class TestLayerScaleOfTokens(OpContract):
    name = "layer_scale"
    shapes = TOKENS


class TestZero(OpContract):
    name = "zero"
    shapes = MAPS
    passes_gradient = False


class TestRearrange(OpContract):
    name = "rearrange"
    args: ClassVar = {"pattern": "b (h p) (w q) c -> b (h w) (p q c)", "sizes": {"p": 2, "q": 2}}
    shapes = ((3, 4, 6, 2),)


class TestReshape(OpContract):
    name = "reshape"
    args: ClassVar = {"shape": (2, 4, -1)}
    shapes = MAPS


class TestTranspose(OpContract):
    name = "transpose"
    shapes = TOKENS


class TestPermute(OpContract):
    name = "permute"
    args: ClassVar = {"dims": (0, 2, 3, 1)}
    shapes = MAPS


class TestGlobalAvgPool(OpContract):
    name = "global_avg_pool"
    shapes = MAPS


class TestGlobalMaxPool(OpContract):
    name = "global_max_pool"
    shapes = TOKENS


class TestConvBnAct(OpContract):
    name = "conv_bn_act"
    args: ClassVar = {"out": 6, "stride": 2}
    shapes = MAPS


class TestSeparableConv(OpContract):
    name = "separable_conv"
    args: ClassVar = {"kernel_size": 5, "activation": None}
    shapes = MAPS


class TestSqueezeExcite(OpContract):
    name = "squeeze_excite"
    shapes = MAPS


class TestEfficientChannelAttention(OpContract):
    name = "efficient_channel_attention"
    shapes = MAPS


class TestInvertedResidual(OpContract):
    name = "inverted_residual"
    shapes = MAPS


class TestConv2d(OpContract):
    """One of torch's own, under its op name and with `out`."""

    name = "conv2d"
    args: ClassVar = {"out": 6, "kernel_size": 3}
    shapes = MAPS


class TestEmbedding(OpContract):
    """Whole numbers in."""

    name = "embedding"
    args: ClassVar = {"num_embeddings": 2, "out": 4}
    shapes = ((3, 7),)
    dtype = torch.int64


OURS = [name for name in names("op") if lookup("op", name).module.startswith("assembler.modules")]


def test_every_op_has_a_contract() -> None:
    texts = [file.read_text() for file in Path(__file__).parent.glob("test_*.py")]
    tested = {name for text in texts for name in re.findall(r'^    name = "(\w+)"', text, re.MULTILINE)}
    called_in_graphs = {"item", "switch", *(name for name in OURS if lookup("op", name).has_body)}  # tests/language
    assert set(OURS) - tested == called_in_graphs


@pytest.mark.parametrize("name", OURS)
def test_docstring_starts_with_a_sentence(name: str) -> None:
    first = lookup("op", name).doc.splitlines()[0]
    assert first[0].isupper()
    assert "." in first or ":" in first


@pytest.mark.parametrize("name", OURS)
def test_everything_is_annotated(name: str) -> None:
    entry = lookup("op", name)
    code = entry.load()
    for call in (code.__init__, code.forward) if inspect.isclass(code) else (code,):
        signature = inspect.signature(call)
        assert signature.return_annotation is not inspect.Signature.empty
        bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name != "self"]
        assert bare == []
    assert all(p.type.kind != "Any" for p in entry.params)


@pytest.mark.parametrize("contract", [c for c in OpContract.__subclasses__() if c.name in OURS])
def test_source_stands_alone(contract: type[OpContract]) -> None:
    """Its text and that of its helpers, with the imports of an exported model.py, do what the op does."""
    case = contract()
    entry = case.entry()
    collected = Embedding(())
    name = collected.add(entry.load())
    scope: dict[str, Any] = {}
    exec(
        "\n\n".join(["from __future__ import annotations", *collected.import_lines(), *collected.definitions.values()]),
        scope,
    )
    alone = make(replace(entry, live=scope[name]), case.args, case.shapes)
    packaged = case.build().eval()
    if isinstance(alone, torch.nn.Module):
        alone.eval().load_state_dict(packaged.state_dict())
    torch.testing.assert_close(alone(*case.inputs()), packaged(*case.inputs()), rtol=0, atol=0)
