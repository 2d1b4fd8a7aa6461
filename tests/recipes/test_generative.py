"""The generative and recurrent recipes: shapes, gradients, and the properties that their papers give them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import assembler as asm
from assembler.compile.mapping import mapped

IMAGES = ("vars.size=16",)
VAE = ("vars.widths=[4, 8]", "vars.latent=3", *IMAGES)
VQ = ("vars.width=8", "vars.hidden=4", "vars.dim=4", "vars.codes=6", *IMAGES)
DDPM = ("vars.width=8", "vars.groups=4", "vars.size=8", "vars.attend=4", "vars.widths=[1, 2]")
MOE = ("vars.dim=8", "vars.heads=2", "vars.experts=4", "vars.words=11", "vars.length=6")


def gradients_reach(model: nn.Module, loss: Tensor) -> list[str]:
    """The names of parameters that no gradient of `loss` reaches."""
    loss.backward()
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


# -- autoencoders ----------------------------------------------------------------------------------------------------


def test_vae_bounds_the_evidence_by_distortion_and_rate():
    model, image = asm.build("conv_vae", *VAE, "vars.beta=3.0").train(), torch.rand(2, 3, 16, 16)
    made = model(image)
    assert made["reconstruction"].shape == image.shape
    assert made["mean"].shape == made["log_variance"].shape == (2, 3)
    normal = torch.distributions.Normal(made["mean"], (made["log_variance"] / 2).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(made["kl"], kl)
    distortion = (made["reconstruction"] - image).square().mean()
    torch.testing.assert_close(made["loss"], distortion + 3 * 2 * kl.mean() / (3 * 16 * 16))
    assert gradients_reach(model, made["loss"]) == []


def test_vae_draws_in_training_and_takes_the_mean_in_evaluation():
    model, image = asm.build("conv_vae", *VAE), torch.rand(2, 3, 16, 16)
    first, again = (model.train()(image)["reconstruction"] for _ in range(2))
    assert not torch.equal(first, again)
    first, again = (model.eval()(image)["reconstruction"] for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_vq_autoencoder_decodes_rows_of_its_codebook(update):
    model, image = asm.build("vq_autoencoder", *VQ, f"vars.update={update}"), torch.rand(2, 3, 16, 16)
    codebook = model.get_submodule("quantize").weight
    with torch.no_grad():
        codebook.normal_()
    seen = []
    model.get_submodule("decoder.conv").register_forward_hook(lambda module, args, made: seen.append(args[0]))
    made = model.eval()(image)
    assert made["reconstruction"].shape == image.shape
    assert made["codes"].shape == (2, 4, 4)
    torch.testing.assert_close(seen[0].permute(0, 2, 3, 1), codebook[made["codes"]])
    distortion = F.mse_loss(made["reconstruction"], image)
    learned = made["codebook"] if update == "gradient" else 0
    torch.testing.assert_close(made["loss"], distortion + learned + 0.25 * made["commitment"])


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_vq_autoencoder_trains_encoder_codebook_and_decoder(update):
    model, image = asm.build("vq_autoencoder", *VQ, f"vars.update={update}").train(), torch.rand(2, 3, 16, 16)
    before = model.get_submodule("quantize").weight.detach().clone()
    assert gradients_reach(model, model(image)["loss"]) == []
    moved = not torch.equal(model.get_submodule("quantize").weight, before)
    assert moved == (update == "ema")
    assert ("quantize.weight" in dict(model.named_parameters())) == (update == "gradient")


def test_reconstruction_reaches_the_encoder_as_if_nothing_were_quantised():
    """The gradient of the reconstruction alone at the quantiser's input is that at its output."""
    model, image = asm.build("vq_autoencoder", *VQ), torch.rand(2, 3, 16, 16)
    held = {}
    for name, side in (("encoder.project", "made"), ("decoder.conv", "read")):

        def keep(module, args, made, side=side):
            held[side] = made if side == "made" else args[0]
            held[side].retain_grad()

        model.get_submodule(name).register_forward_hook(keep)
    F.mse_loss(model(image)["reconstruction"], image).backward()
    assert torch.equal(held["made"].grad, held["read"].grad)


# -- diffusion -------------------------------------------------------------------------------------------------------


def trained_unet() -> nn.Module:
    """A small U-Net whose last convolutions are no longer zero."""
    model = asm.build("ddpm_unet", *DDPM)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.05)
    return model


def test_ddpm_learns_the_noise_that_it_drew():
    model, image = trained_unet().train(), torch.rand(2, 3, 8, 8)
    made = model(image)
    assert made["noise"].shape == image.shape
    assert gradients_reach(model, made["loss"]) == []
    with torch.no_grad():
        model.get_submodule("denoise.unet.head").weight.zero_()
        model.get_submodule("denoise.unet.head").bias.zero_()
    losses = [float(model(image)["loss"].detach()) for _ in range(30)]
    assert abs(sum(losses) / 30 - 1) < 0.1  # nothing is told, so that it is the mean square of standard noise


def test_ddpm_tells_the_noise_in_evaluation():
    model, noisy = trained_unet().eval(), torch.randn(2, 3, 8, 8)
    made = model(noisy, torch.tensor([3, 900]))
    found = made["noise"] if isinstance(made, dict) else made
    assert found.shape == noisy.shape
    other = model(noisy, torch.tensor([3, 400]))
    other = other["noise"] if isinstance(other, dict) else other
    assert torch.equal(found[0], other[0])
    assert not torch.equal(found[1], other[1])


def test_the_sampler_is_a_loop_of_ddim_steps_around_the_unet():
    unet, x = trained_unet().eval(), torch.randn(2, 3, 8, 8)
    sampler = asm.build("ddpm_sampler", *DDPM, "vars.count=4").eval()
    sampler.load_state_dict(unet.state_dict())
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float()
    wanted = x
    with torch.no_grad():
        for now, after in ((999, 749), (749, 499), (499, 249), (249, -1)):
            made = unet(wanted, torch.full((2,), now))
            noise = made["noise"] if isinstance(made, dict) else made
            clean = (wanted - (1 - kept[now]).sqrt() * noise) / kept[now].sqrt()
            signal = kept[after] if after >= 0 else torch.tensor(1.0)
            wanted = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        torch.testing.assert_close(sampler(x), wanted, atol=1e-5, rtol=1e-5)


# -- recurrence and experts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 7])
def test_the_written_out_cell_is_torchs_lstm(length):
    torch.manual_seed(0)
    theirs = nn.LSTM(5, 6, batch_first=True)
    ours = asm.build("rnn", "vars.features=5", "vars.hidden=6", f"vars.length={length}")
    names = {"scan.seen.*": "*_ih_l0", "scan.kept.*": "*_hh_l0"}
    ours.load_state_dict(mapped(names, theirs.state_dict(), ours.state_dict()))
    x, h, c = torch.randn(3, length, 5), torch.randn(3, 6), torch.randn(3, 6)
    sequence, (last, cell) = theirs(x, (h[None], c[None]))
    made = ours(x, {"h": h, "c": c})
    torch.testing.assert_close(made["sequence"], sequence, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made["state"]["h"], last[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made["state"]["c"], cell[0], atol=1e-5, rtol=1e-5)
    assert gradients_reach(ours, made["sequence"].sum() + made["state"]["c"].sum()) == []
    sequence.sum().backward(retain_graph=True)


def test_a_mixture_of_all_experts_is_their_weighted_sum():
    model, tokens = asm.build("moe", *MOE, "vars.k=4").eval(), torch.randint(0, 11, (2, 6))
    held = {}

    def keep(module, args, kwargs, made):
        held["x"], held["logits"] = [*args, *kwargs.values()]
        held["made"] = made[0]

    mixture = model.get_submodule("layer1.experts")
    mixture.register_forward_hook(keep, with_kwargs=True)
    model(tokens)
    share = held["logits"].softmax(-1)
    wanted = torch.zeros_like(held["made"])
    for e, expert in enumerate(mixture.expert):
        fc1, fc2 = (expert.get_submodule(n) for n in ("fc1", "fc2"))
        wanted = wanted + share[..., e : e + 1] * fc2(F.gelu(fc1(held["x"])))
    torch.testing.assert_close(held["made"], wanted, atol=1e-5, rtol=1e-5)


def test_balance_is_one_for_a_router_that_prefers_nobody_and_the_number_of_experts_at_worst():
    tokens = torch.randint(0, 11, (2, 6))
    for weight, wanted in ((0.0, 1.0), (1e6, 4.0)):
        model = asm.build("moe", *MOE, "vars.k=1").eval()
        for layer in ("layer1", "layer2"):
            router, norm = (model.get_submodule(f"{layer}.{n}") for n in ("router", "norm"))
            with torch.no_grad():
                router.weight.zero_()[0] = weight
                norm.weight.zero_()
                norm.bias.fill_(1.0)
        assert model(tokens)["balance"].item() == pytest.approx(wanted, abs=1e-4)


def test_moe_trains_router_and_chosen_experts():
    model, tokens = asm.build("moe", *MOE).train(), torch.randint(0, 11, (4, 6))
    made = model(tokens)
    assert made["logits"].shape == (4, 6, 11)
    loss = F.cross_entropy(made["logits"].flatten(0, 1), tokens.flatten()) + 0.01 * made["balance"]
    assert gradients_reach(model, loss) == []
