"""The vision recipes against their peers: the same weights give the same numbers, and the sizes are the papers'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import assembler as asm
from assembler.compile.mapping import mapped, unread
from assembler.recipe.document import load
from assembler.recipe.weights import weights_of

transformers = pytest.importorskip("transformers")

SIZES = {
    "resnet18": 11_689_512,  # torchvision
    "resnet18@r34": 21_797_672,
    "convnext_t": 28_589_128,
    "mobilenet_v2": 3_504_872,
    "vit_ti": 5_717_416,  # DeiT-Ti without its distillation token
    "vit_ti@b16": 86_567_656,
    "swin_t": 28_288_354,
    "mlp_mixer": 18_528_264,  # timm, mixer_s16_224
    "mlp_mixer@b16": 59_880_472,
    "poolformer": 11_915_176,
    "poolformer@s24": 21_388_968,
}


@pytest.mark.parametrize(("recipe", "parameters"), SIZES.items())
def test_has_as_many_parameters_as_its_paper_says(recipe: str, parameters: int) -> None:
    model = asm.build(recipe, device="meta")
    assert sum(p.numel() for p in model.parameters()) == parameters


def resnet() -> nn.Module:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24], depths=[2, 1, 2], layer_type="basic", num_labels=5
    )
    return transformers.ResNetForImageClassification(config)


def convnext() -> nn.Module:
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 16], depths=[1, 2], num_stages=2, layer_norm_eps=1e-6, layer_scale_init_value=0.5, num_labels=5
    )
    return transformers.ConvNextForImageClassification(config)


def mobilenet() -> nn.Module:
    config = transformers.MobileNetV2Config(
        depth_multiplier=0.25, tf_padding=False, layer_norm_eps=1e-5, finegrained_output=False, num_labels=5
    )
    return transformers.MobileNetV2ForImageClassification(config)


def vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, image_size=32, patch_size=8,
        layer_norm_eps=1e-6, num_labels=5,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def swin() -> nn.Module:
    config = transformers.SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[2, 2, 2], num_heads=[1, 2, 4], window_size=4, num_labels=5
    )
    return transformers.SwinForImageClassification(config)


def poolformer() -> nn.Module:
    config = transformers.PoolFormerConfig(
        hidden_sizes=[8, 16], depths=[1, 2], num_encoder_blocks=2, layer_scale_init_value=0.5, num_labels=5
    )
    return transformers.PoolFormerForImageClassification(config)


class Mixer(nn.Module):
    """MLP-Mixer as in the paper's appendix E, with its MLPs as pairs of linear layers."""

    def __init__(self, dim: int, depth: int, tokens: int, patches: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, dim, 8, 8)
        self.blocks = nn.ModuleList(self.block(dim, tokens, patches) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, 5)

    def block(self, dim: int, tokens: int, patches: int) -> nn.ModuleDict:
        pairs = {"tokens": (patches, tokens), "channels": (dim, 4 * dim)}
        mlps = {k: nn.ModuleDict({"fc1": nn.Linear(n, m), "fc2": nn.Linear(m, n)}) for k, (n, m) in pairs.items()}
        return nn.ModuleDict({"norm1": nn.LayerNorm(dim, eps=1e-6), "norm2": nn.LayerNorm(dim, eps=1e-6), **mlps})

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image).flatten(2).mT
        for block in self.blocks:
            x = x + self.mlp(block["tokens"], block["norm1"](x).mT).mT
            x = x + self.mlp(block["channels"], block["norm2"](x))
        return self.head(self.norm(x).mean(1))

    def mlp(self, pair: nn.ModuleDict, x: Tensor) -> Tensor:
        return pair["fc2"](nn.functional.gelu(pair["fc1"](x)))


def mixer() -> nn.Module:
    return Mixer(dim=12, depth=2, tokens=10, patches=16)


QUARTER = [8, 8, 8, 8, 8, 16, 16, 16, 16, 24, 24, 24, 40, 40, 40, 80]
CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "resnet18": (resnet, {"widths": [8, 16, 24], "depths": [2, 1, 2], "size": 64}),
    "convnext_t": (convnext, {"widths": [8, 16], "depths": [1, 2], "size": 32}),
    "mobilenet_v2": (mobilenet, {"stem": 8, "first": 8, "widths": QUARTER, "last": 320, "size": 64}),
    "vit_ti": (vit, {"dim": 24, "depth": 2, "heads": 3, "ratio": 2, "patch": 8, "size": 32}),
    "swin_t": (
        swin,
        {"dim": 8, "depths": [2, 2, 2], "heads": [1, 2, 4], "window": 4, "size": 64},
    ),
    "poolformer": (poolformer, {"widths": [8, 16], "depths": [1, 2], "size": 32}),
    "mlp_mixer": (mixer, {"dim": 12, "depth": 2, "tokens": 10, "patch": 8, "size": 32}),
}


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """The recipe's model, small and with the peer's weights, and the peer; every tensor of the peer is drawn."""
    make, variables = CASES[name]
    torch.manual_seed(0)
    peer = make().eval()
    for key, tensor in peer.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            spread = 4 if key.endswith("normalization.bias") else 0.1  # wide enough to reach the six of relu6
            tensor.add_(spread * torch.randn_like(tensor))
    document = load(name, ["vars.classes=5", *(f"vars.{k}={v}" for k, v in variables.items())])
    ours = asm.build(document).eval()
    rules = weights_of(document.tree).map
    ours.load_state_dict(mapped(rules, peer.state_dict(), ours.state_dict()))
    assert unread(rules, peer.state_dict(), ours.state_dict()) == []
    return ours, peer


@pytest.mark.parametrize("name", CASES)
def test_computes_what_its_peer_computes(name: str) -> None:
    ours, peer = pair(name)
    size = CASES[name][1]["size"]
    image = torch.randn(2, 3, size, size)
    with torch.no_grad():
        made, wanted = ours(image), peer(image)
    wanted = wanted if isinstance(wanted, Tensor) else wanted.logits
    assert wanted.std() > 1e-2, "the peer says nothing"
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-5 * max(1.0, wanted.abs().max().item()))
    assert count(ours) == count(peer)


FULL: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: transformers.ResNetForImageClassification(
        transformers.ResNetConfig(
            embedding_size=64,
            hidden_sizes=[64, 128, 256, 512],
            depths=[2, 2, 2, 2],
            layer_type="basic",
            num_labels=1000,
        )
    ),
    "convnext_t": lambda: transformers.ConvNextForImageClassification(
        transformers.ConvNextConfig(layer_norm_eps=1e-6, num_labels=1000)
    ),
    "vit_ti": lambda: transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=192, num_attention_heads=3, intermediate_size=768, layer_norm_eps=1e-6, num_labels=1000
        )
    ),
    "swin_t": lambda: transformers.SwinForImageClassification(transformers.SwinConfig(num_labels=1000)),
    "poolformer": lambda: transformers.PoolFormerForImageClassification(transformers.PoolFormerConfig(num_labels=1000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_computes_what_its_peer_computes_at_full_size(name: str) -> None:
    torch.manual_seed(0)
    peer, document = FULL[name]().eval(), load(name)
    ours = asm.build(document).eval()
    ours.load_state_dict(mapped(weights_of(document.tree).map, peer.state_dict(), ours.state_dict()))
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        made, wanted = ours(image), peer(image).logits
    assert wanted.std() > 1e-2, "the peer says nothing"
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-5 * max(1.0, wanted.abs().max().item()))


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
