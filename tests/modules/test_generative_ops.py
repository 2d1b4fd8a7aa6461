"""Sampling, quantisers, diffusion and masks: what each computes, against the formula or the property written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import AssemblerError


def trained(op):
    """The op in training mode, its draws the same every time."""
    torch.manual_seed(0)
    return op.train()


# -- sampling --------------------------------------------------------------------------------------------------------


def test_gaussian_sample_has_the_mean_and_variance_it_is_told(built):
    mean, log_variance = torch.full((40000, 2), 1.5), torch.tensor([0.0, 2.0]).expand(40000, 2)
    drawn = trained(built("gaussian_sample", mean, log_variance))(mean, log_variance)
    torch.testing.assert_close(drawn.mean(0), torch.tensor([1.5, 1.5]), atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.var(0), torch.tensor([1.0, math.exp(2)]), atol=0, rtol=0.05)


def test_gaussian_kl_is_that_of_torch_distributions(run):
    mean, log_variance = torch.randn(2, 3, 4, 5).unbind(0)
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0))
    torch.testing.assert_close(run("gaussian_kl", mean, log_variance), wanted.sum((1, 2)))


def test_gaussian_log_prob_is_that_of_torch_distributions(run):
    x, mean, log_variance = torch.randn(3, 2, 3, 4).unbind()
    wanted = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(x)
    torch.testing.assert_close(run("gaussian_log_prob", x, mean, log_variance), wanted.sum((1, 2)))
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(x)
    torch.testing.assert_close(run("gaussian_log_prob", x), prior.sum((1, 2)))


def test_random_steps_are_in_range_and_all_there(built):
    drawn = trained(built("random_step", torch.zeros(500, 1), steps=7))(torch.zeros(500, 1))
    assert drawn.dtype == torch.int64
    assert drawn.unique().tolist() == list(range(7))


def test_a_random_choice_is_one_input_for_the_whole_batch_each_as_often_and_the_last_in_evaluation(built):
    given = [torch.full((4, 2), float(n)) for n in range(3)]
    op = built("random_choice", *given)
    assert torch.equal(op.eval()(*given), given[2])
    drawn = [op.train()(*given) for _ in range(300)]
    assert all(one.unique().numel() == 1 for one in drawn)
    assert torch.stack(drawn)[:, 0, 0].long().bincount().min() > 70


def test_normal_noise_is_standard_in_training_and_zero_in_evaluation(built):
    x = torch.full((200, 50), 9.0)
    noise = trained(built("normal_noise", x))(x)
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.05
    assert not built("normal_noise", x).eval()(x).any()


@pytest.mark.parametrize(
    ("op", "inputs", "options"),
    [
        ("normal_noise", 1, {}),
        ("gaussian_sample", 2, {}),
        ("random_replace", 1, {"p": 0.5}),
        ("random_mask", 1, {"ratio": 0.5}),
    ],
)
def test_what_is_drawn_does_not_depend_on_strides(built, op, inputs, options):
    turned = torch.randn(4, 6, 8).transpose(1, 2)
    found = []
    for x in (turned, turned.contiguous()):
        made = trained(built(op, *[x] * inputs, **options))(*[x] * inputs)
        found.append(made[0] if isinstance(made, tuple) else made)
    assert torch.equal(*found)


def test_hard_gumbel_softmax_is_one_hot_with_the_soft_gradient(built):
    x = torch.randn(4, 6, requires_grad=True)
    op = built("gumbel_softmax", x, hard=True, temperature=0.7)
    for made in (trained(op)(x), op.eval()(x)):
        assert sorted(made.flatten().tolist()) == pytest.approx([0.0] * 20 + [1.0] * 4, abs=1e-6)
    made[:, 0].sum().backward()
    wanted = torch.autograd.grad((x / 0.7).softmax(1)[:, 0].sum(), x)[0]
    torch.testing.assert_close(x.grad, wanted)


def test_gumbel_softmax_draws_classes_as_often_as_their_probability(built):
    x = torch.tensor([0.2, 0.3, 0.5]).log().expand(20000, 3)
    drawn = trained(built("gumbel_softmax", x, hard=True))(x)
    torch.testing.assert_close(drawn.mean(0), torch.tensor([0.2, 0.3, 0.5]), atol=0.02, rtol=0)


# -- quantisers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 6, 3, 4), (2, 5, 6), (4, 6)])
def test_vector_quantize_gives_the_nearest_rows_of_its_codebook(built, shape):
    x = torch.randn(shape, requires_grad=True)
    op = built("vector_quantize", x, num_codes=7)
    torch.nn.init.normal_(op.weight)
    quantized, codes, commitment, codebook = op(x)
    axis = 1 if len(shape) == 4 else -1
    rows, found = x.movedim(axis, -1), quantized.movedim(axis, -1)
    assert codes.shape == rows.shape[:-1]
    torch.testing.assert_close(found, op.weight[codes])
    assert torch.equal(codes, torch.cdist(rows.reshape(-1, 6), op.weight).argmin(1).reshape(codes.shape))
    wanted = (rows - op.weight[codes]).square().flatten(1).mean(1)
    torch.testing.assert_close(commitment, wanted)
    torch.testing.assert_close(codebook, wanted)


def test_vector_quantize_passes_gradients_straight_through(built):
    x = torch.randn(2, 5, 6, requires_grad=True)
    op = built("vector_quantize", x, num_codes=7)
    quantized, _, commitment, codebook = op(x)
    upstream = torch.randn_like(quantized)
    assert torch.equal(torch.autograd.grad(quantized, x, upstream, retain_graph=True)[0], upstream)
    assert torch.autograd.grad(commitment.sum(), (x, op.weight), retain_graph=True, allow_unused=True)[1] is None
    assert torch.autograd.grad(codebook.sum(), (x, op.weight), allow_unused=True)[0] is None


def test_ema_codebook_moves_to_the_means_of_its_rows_in_training_alone(built):
    x = torch.cat([torch.randn(1, 50, 2) * 0.1 + 3, torch.randn(1, 50, 2) * 0.1 - 3], 1)
    op = built("vector_quantize", x, num_codes=2, update="ema", decay=0.9)
    assert list(op.parameters()) == []
    op.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    op.sums.copy_(op.weight)
    before = op.weight.clone()
    op.eval()(x)
    assert torch.equal(op.weight, before)
    for _ in range(100):
        op.train()(x)
    torch.testing.assert_close(op.weight, torch.stack([x[0, :50].mean(0), x[0, 50:].mean(0)]), atol=1e-3, rtol=0)


def test_ema_codebook_moves_as_the_paper_says(built):
    """Equations 6 to 8: the running count and sum of each code's rows, and their quotient."""
    x = torch.tensor([[[1.0, 2.0], [3.0, 2.0], [-5.0, 1.0]]])
    op = trained(built("vector_quantize", x, num_codes=2, update="ema", decay=0.75))
    start = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    for buffer in (op.weight, op.sums):
        buffer.copy_(start)
    op(x)
    counts = torch.tensor([0.75 + 0.25 * 2, 0.75 + 0.25 * 1])
    sums = 0.75 * start + 0.25 * torch.tensor([[4.0, 4.0], [-5.0, 1.0]])
    torch.testing.assert_close(op.counts, counts)
    torch.testing.assert_close(op.sums, sums)
    torch.testing.assert_close(op.weight, sums / counts[:, None], atol=1e-4, rtol=0)


@settings(max_examples=20, deadline=None)
@given(levels=st.lists(st.integers(2, 9), min_size=1, max_size=4))
def test_fsq_has_a_grid_of_as_many_codes_as_the_product_of_its_levels(levels):
    from assembler.infer.make import make
    from assembler.registry import lookup

    x = torch.linspace(-4, 4, 60)[:, None, None].expand(60, 1, len(levels))
    shuffled = torch.stack([x[torch.randperm(60), 0, i] for i in range(len(levels))], 1)[:, None]
    op = make(lookup("op", "fsq"), {"levels": tuple(levels)}, [tuple(shuffled.shape)])
    quantized, codes = op(shuffled)
    for i, n in enumerate(levels):
        wanted = (torch.arange(n) - n // 2) / (n // 2)
        torch.testing.assert_close(quantized[..., i].unique(), wanted, atol=1e-6, rtol=0)
    assert int(codes.min()) >= 0 and int(codes.max()) < math.prod(levels)
    pairs = {
        tuple(round(v, 4) for v in q): c for q, c in zip(quantized[:, 0].tolist(), codes[:, 0].tolist(), strict=True)
    }
    assert len(set(pairs.values())) == len(pairs)


def test_binary_quantize_is_the_sign_and_its_bits(built):
    x = torch.tensor([[[0.5, -2.0, 3.0]], [[-1.0, -1.0, 0.0]]], requires_grad=True)
    quantized, codes = built("binary_quantize", x)(x)
    assert quantized.tolist() == [[[1, -1, 1]], [[-1, -1, -1]]]
    assert codes.tolist() == [[5], [0]]
    quantized.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


# -- diffusion -------------------------------------------------------------------------------------------------------


def test_linear_schedule_is_the_product_of_one_less_beta(built):
    t = torch.tensor([-1, 0, 1, 999])
    alpha, sigma = built("noise_schedule", t)(t)
    betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    kept = [1.0, *(math.prod(1 - b for b in betas[: n + 1]) for n in (0, 1, 999))]
    torch.testing.assert_close(alpha.square(), torch.tensor(kept), rtol=1e-5, atol=0)
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones(4))
    assert sigma[0] == 0


def test_cosine_schedule_is_its_own_closed_form(built):
    t = torch.arange(0, 900, 100)
    alpha, _ = built("noise_schedule", t, kind="cosine")(t)
    f = torch.cos(((t + 1) / 1000 + 0.008) / 1.008 * math.pi / 2).square()
    torch.testing.assert_close(alpha.square(), f / math.cos(0.008 / 1.008 * math.pi / 2) ** 2, rtol=1e-4, atol=0)


def test_add_noise_has_the_closed_form_mean_and_variance(built, run):
    t = torch.full((20000,), 300)
    alpha, sigma = built("noise_schedule", t)(t)
    torch.manual_seed(0)
    noisy = run("add_noise", torch.full((20000, 1), 2.0), torch.randn(20000, 1), alpha, sigma)
    torch.testing.assert_close(noisy.mean(), 2 * alpha[0], atol=0.02, rtol=0)
    torch.testing.assert_close(noisy.var(), sigma[0] ** 2, atol=0, rtol=0.03)


@settings(max_examples=20, deadline=None)
@given(now=st.integers(0, 700), kind=st.sampled_from(["linear", "cosine"]))
def test_a_ddim_step_with_the_true_noise_is_exact(now, kind):
    """To the clean sample in one step, and to any step between: the sample noised by as much less."""
    from assembler.infer.make import make
    from assembler.registry import lookup

    def call(name, *xs, **args):
        return make(lookup("op", name), args, [tuple(x.shape) for x in xs])(*xs)

    x, noise = torch.randn(2, 3, 1, 4, 4).unbind(0)
    rates = [call("noise_schedule", torch.full((3,), t), kind=kind) for t in (now, now // 2, -1)]
    for after in rates[1:]:
        noisy = make(lookup("op", "add_noise"), {}, [tuple(x.shape)] * 2)(x, noise, *rates[0])
        step = make(lookup("op", "ddim_step"), {}, [tuple(x.shape)] * 2)
        made = step(noisy, noise, *rates[0], *after)
        wanted = after[0].reshape(-1, 1, 1, 1) * x + after[1].reshape(-1, 1, 1, 1) * noise
        torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)


def test_sampling_steps_go_down_to_the_clean_sample(run):
    x = torch.zeros(2, 1)
    pairs = [run("sampling_step", x, torch.tensor(i), count=4, steps=1000) for i in range(4)]
    assert [now.tolist() for now, _ in pairs] == [[999] * 2, [749] * 2, [499] * 2, [249] * 2]
    assert [after.tolist() for _, after in pairs] == [[749] * 2, [499] * 2, [249] * 2, [-1] * 2]


def test_sinusoidal_embedding_is_that_of_ddpm_and_of_dit(run):
    t = torch.tensor([0, 5, 999])
    for endpoint, cosines_first, wave in ((True, False, math.sin), (False, True, math.cos)):
        made = run("sinusoidal_embedding", t, out=8, endpoint=endpoint, cosines_first=cosines_first)
        wanted = [[wave(n * 10000 ** (-i / (4 - endpoint))) for i in range(4)] for n in t.tolist()]
        torch.testing.assert_close(made[:, :4], torch.tensor(wanted), atol=1e-4, rtol=0)


def test_modulate_is_one_scale_and_shift_a_feature(run):
    tokens, maps, shift, scale = torch.randn(2, 5, 3), torch.randn(2, 3, 4, 4), torch.randn(2, 3), torch.randn(2, 3)
    wanted = tokens * (1 + scale[:, None]) + shift[:, None]
    torch.testing.assert_close(run("modulate", tokens, shift, scale), wanted)
    wanted = maps * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(run("modulate", maps, shift, scale), wanted)


def test_modulate_may_be_one_scale_and_shift_a_place(run):
    tokens, shift, scale = (torch.randn(2, 6, 4) for _ in range(3))
    torch.testing.assert_close(run("modulate", tokens, shift, scale), tokens * (1 + scale) + shift)
    row, far = torch.randn(2, 1, 4), torch.randn(2, 1, 4)
    torch.testing.assert_close(run("modulate", tokens, row, far), run("modulate", tokens, row[:, 0], far[:, 0]))


# -- masks -----------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 20), ratio=st.sampled_from([0.0, 0.25, 0.5]), training=st.booleans())
def test_unmask_puts_the_kept_tokens_back(count, ratio, training):
    from assembler.infer.make import make
    from assembler.registry import lookup

    x = torch.randn(3, count * 4, 5)
    kept, indices, mask = make(lookup("op", "random_mask"), {"ratio": ratio}, [tuple(x.shape)]).train(training)(x)
    assert kept.shape[1] == round(count * 4 * (1 - ratio))
    assert torch.equal(mask.sum(1), torch.full((3,), float(x.shape[1] - kept.shape[1])))
    shapes = [tuple(kept.shape), tuple(indices.shape), (1, 1, 5)]
    whole = make(lookup("op", "unmask"), {"length": x.shape[1]}, shapes)
    back = whole(tokens=kept, indices=indices, fill=torch.full((1, 1, 5), 9.0))
    assert torch.equal(back, torch.where(mask[..., None] == 1, 9.0, x))


def test_random_mask_keeps_the_tokens_of_least_noise(built):
    x, noise = torch.randn(2, 8, 3), torch.rand(2, 8)
    kept, indices, _ = built("random_mask", x, noise, ratio=0.5)(x, noise)
    for b in range(2):
        assert set(indices[b].tolist()) == set(noise[b].argsort()[:4].tolist())
        assert torch.equal(kept[b], x[b, noise[b].argsort()[:4].sort().values])


def test_gradients_of_masked_tokens_reach_what_was_kept_and_the_filler(built, run):
    x, fill = torch.randn(2, 8, 3, requires_grad=True), torch.zeros(3, requires_grad=True)
    kept, indices, mask = built("random_mask", x)(x)
    run("unmask", kept, indices, fill, length=8).sum().backward()
    assert torch.equal(x.grad[..., 0], 1 - mask)
    assert torch.equal(fill.grad, torch.full((3,), float(mask.sum())))


REFUSALS = [
    ("gaussian_sample", [(2, 3), (2, 4)], {}, r"mean and log variance need one shape, got \[2, 3\] and \[2, 4\]"),
    ("random_step", [(2, 3)], {"steps": 0}, "steps is 0, but it needs to be at least 1"),
    ("gumbel_softmax", [(2, 3)], {"temperature": 0.0}, "temperature is 0.0, but it needs to be more than 0"),
    ("vector_quantize", [(2,)], {}, r"vector_quantize needs \[B, D\], \[B, N, D\] or \[B, C, H, W\], got \[2\]"),
    (
        "vector_quantize",
        [(2, 3)],
        {"num_codes": 0},
        "num_codes is at least 1 and decay from 0 to below 1, got 0 and 0.99",
    ),
    ("fsq", [(2, 3)], {"levels": (8, 5)}, r"the input \[2, 3\] has 3 channels and levels is \[8, 5\]"),
    ("fsq", [(2, 2)], {"levels": (8, 1)}, r"all at least 2"),
    ("binary_quantize", [(2, 63)], {}, "63 channels make codes of more than 62 bits"),
    ("sinusoidal_embedding", [(2,)], {"out": 7}, "out is 7, but halves of sines and cosines need an even number"),
    ("noise_schedule", [(2,)], {"last": 1.0}, "betas lie between 0 and 1, got 1000, 0.0001 and 1.0"),
    ("random_mask", [(2, 8)], {}, r"random_mask needs tokens \[B, N, D\], got \[2, 8\]"),
    ("random_mask", [(2, 8, 3)], {"ratio": 0.99}, "ratio is 0.99, which keeps none or more than all of 8 tokens"),
]


@pytest.mark.parametrize(("name", "shapes", "args", "message"), REFUSALS)
def test_refusals(built, name, shapes, args, message):
    with pytest.raises(AssemblerError, match=message):
        built(name, *(torch.zeros(s) for s in shapes), **args)


def test_noise_is_there_in_evaluation_where_it_is_asked_for(run) -> None:
    x = torch.zeros(4, 8)
    assert not run("normal_noise", x).any()
    assert run("normal_noise", x, always=True).std() > 0.3
