"""U-Net and DiT against the papers' models written in plain torch: the same weights give the same numbers."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import assembler as asm
from assembler.compile.mapping import mapped, unread
from assembler.recipe.document import load
from assembler.recipe.weights import weights_of

SIZES = {
    "unet": 31_030_658,  # the padded U-Net with one channel in and two classes out
    "ddpm_unet": 35_746_307,  # google/ddpm-cifar10-32; 35.7M in the paper
    "dit": 32_963_360 - 256 * 384,  # the released DiT-S/2 holds its fixed positions as a parameter; 33M in the paper
    "dit@xl": 675_129_632 - 256 * 1152,  # 675M in the paper
}


@pytest.mark.parametrize(("recipe", "parameters"), SIZES.items())
def test_has_as_many_parameters_as_its_paper_says(recipe, parameters):
    assert sum(p.numel() for p in asm.build(recipe, device="meta").parameters()) == parameters


def drawn(module: nn.Module) -> nn.Module:
    """The module in evaluation with every parameter drawn at random, those that begin at zero too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * (0.3 / math.sqrt(max(1, p[0].numel()))))
    return module.eval()


class UNet(nn.Module):
    """Ronneberger et al. 2015, figure 1, with padding."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(depth + 1)]
        self.down = nn.ModuleList(self.convs(a, b) for a, b in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.join = nn.ModuleList(self.convs(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(width, 2, 1)

    @staticmethod
    def convs(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for i, convs in enumerate(self.down):
            x = convs(F.max_pool2d(x, 2) if i else x)
            kept.append(x)
        kept.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([kept.pop(), up(x)], 1))
        return self.head(x)


def unet_names(depth: int) -> dict[str, str]:
    """Our names by theirs: a level inside a level."""
    names = {"head": "head"}
    for i in range(depth + 1):
        level = "unet" + ".inner" * i
        down = f"{level}.convs" if i == depth else f"{level}.down"
        names |= {f"{down}.conv.{j}.conv": f"down.{i}.{2 * j}" for j in range(2)}
        if i < depth:
            names[f"{level}.up"] = f"up.{depth - 1 - i}"
            names |= {f"{level}.join.conv.{j}.conv": f"join.{depth - 1 - i}.{2 * j}" for j in range(2)}
    return {f"{ours}.*": f"{theirs}.*" for ours, theirs in names.items()}


@pytest.mark.parametrize("depth", [1, 3])
def test_unet_is_the_papers(depth):
    theirs = drawn(UNet(4, depth))
    ours = asm.build("unet", "vars.width=4", f"vars.depth={depth}", "vars.size=16").eval()
    ours.load_state_dict(mapped(unet_names(depth), theirs.state_dict(), ours.state_dict()))
    x = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_unet_learns_a_mask():
    """A square in noise, told by its pixels: the loss falls by far."""
    torch.manual_seed(0)
    model = asm.build("unet", "vars.width=4", "vars.depth=2", "vars.size=16")
    mask = torch.zeros(4, 16, 16, dtype=torch.int64)
    for i in range(4):
        mask[i, 2 * i : 2 * i + 8, 3 : 3 + 2 * i + 2] = 1
    image = mask[:, None].float() + 0.3 * torch.randn(4, 1, 16, 16)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(model(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


class DiTBlock(nn.Module):
    """Peebles and Xie 2023, figure 3: adaLN-Zero."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))

    def attend(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.attn["qkv"](x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)).softmax(-1)
        return self.attn["proj"]((weights @ v).transpose(1, 2).reshape(b, n, d))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c)[:, None].chunk(6, -1)
        x = x + gate1 * self.attend(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale1) + shift1)
        h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale2) + shift2
        return x + gate2 * self.mlp["fc2"](F.gelu(self.mlp["fc1"](h), approximate="tanh"))


class DiT(nn.Module):
    """The released code's names and order of sums, without training's dropout of labels."""

    def __init__(self, dim: int, depth: int, heads: int, size: int, classes: int) -> None:
        super().__init__()
        self.grid = size // 2
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(4, dim, 2, 2)})
        self.t_embedder = nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(256, dim), nn.SiLU(), nn.Linear(dim, dim))})
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(classes + 1, dim)})
        self.blocks = nn.ModuleList(DiTBlock(dim, heads) for _ in range(depth))
        ada = nn.Sequential(nn.SiLU(), nn.Linear(dim, 2 * dim))
        self.final_layer = nn.ModuleDict({"adaLN_modulation": ada, "linear": nn.Linear(dim, 2 * 2 * 8)})
        column, row = torch.arange(self.grid).repeat(self.grid), torch.arange(self.grid).repeat_interleave(self.grid)
        self.pos = torch.cat([self.waves(column, dim // 2), self.waves(row, dim // 2)], 1)

    @staticmethod
    def waves(places: Tensor, dim: int) -> Tensor:
        angles = places[:, None] / 10000 ** (torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
        return torch.cat([angles.sin(), angles.cos()], 1).float()

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        x = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.pos
        angles = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(128) / 128)
        c = self.t_embedder["mlp"](torch.cat([angles.cos(), angles.sin()], 1)) + self.y_embedder["embedding_table"](y)
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.final_layer["adaLN_modulation"](c)[:, None].chunk(2, -1)
        x = self.final_layer["linear"](F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)
        x = x.reshape(len(x), self.grid, self.grid, 2, 2, 8)
        return torch.einsum("nhwpqc->nchpwq", x).reshape(len(x), 8, 2 * self.grid, 2 * self.grid)


SMALL_DIT = ("vars.dim=16", "vars.depth=2", "vars.heads=2", "vars.size=8", "vars.classes=5")


def test_dit_is_the_papers_under_the_names_of_its_release():
    theirs = drawn(DiT(16, 2, 2, 8, 5))
    ours = asm.build("dit", *SMALL_DIT).eval()
    names = weights_of(load("dit").model)
    assert names is not None and names.map is not None
    assert unread(names.map, theirs.state_dict(), ours.state_dict()) == []
    ours.load_state_dict(mapped(names.map, theirs.state_dict(), ours.state_dict()))
    x, t, y = torch.randn(3, 4, 8, 8), torch.tensor([0, 500, 999]), torch.tensor([0, 5, 2])
    made = ours(x, t, y)
    torch.testing.assert_close(torch.cat([made["noise"], made["variance"]], 1), theirs(x, t, y), atol=1e-5, rtol=1e-5)


def test_dit_begins_as_zero_and_every_layer_as_the_identity():
    """adaLN-Zero: the head gives zero, and with it opened, the layers still give what enters them."""
    ours = asm.build("dit", *SMALL_DIT).eval()
    x, t, y = torch.randn(2, 4, 8, 8), torch.tensor([0, 500]), torch.tensor([0, 1])
    assert not ours(x, t, y)["noise"].any()
    seen: list[Tensor] = []
    for layer in ("0", "1"):
        norm = ours.get_submodule(f"layer.{layer}.block.mix.norm.norm")
        norm.register_forward_hook(lambda module, args, made: seen.append(args[0]))
    ours(x, t, y)
    assert torch.equal(seen[0], seen[1])


def test_dit_forgets_labels_in_training_alone():
    ours = drawn(asm.build("dit", *SMALL_DIT, "vars.forget=1.0"))
    x, t, y = torch.randn(2, 4, 8, 8), torch.tensor([0, 500]), torch.tensor([0, 1])
    none = ours(x, t, torch.tensor([5, 5]))["noise"]
    assert not torch.equal(ours(x, t, y)["noise"], none)
    torch.testing.assert_close(ours.train()(x, t, y)["noise"], none)
