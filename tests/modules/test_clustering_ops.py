"""Clusters that follow what they are given."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from assembler.errors import AssemblerError


def test_spherical_kmeans_tells_cosines_and_the_distance_from_the_nearest(built):
    x = torch.randn(2, 3, 5, 4)
    op = built("spherical_kmeans", x, clusters=6).eval()
    scores, commitment, centroids = op(x)
    unit = F.normalize(x, dim=-1)
    assert centroids.shape == (3, 6, 4) and list(op.parameters()) == []
    torch.testing.assert_close(centroids.norm(dim=-1), torch.ones(3, 6))
    torch.testing.assert_close(scores, unit @ centroids.mT)
    nearest = (unit[..., None, :] - centroids[:, None]).square().sum(-1).amin(-1)
    torch.testing.assert_close(commitment, nearest.flatten(1).mean(1))
    assert built("spherical_kmeans", x[:, 0], clusters=6)(x[:, 0])[0].shape == (2, 5, 6)


def test_centroids_go_to_their_vectors_in_training_alone_and_one_without_any_stays(built):
    ends = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x = F.normalize(ends.repeat_interleave(20, 0) + 0.05 * torch.randn(40, 2), dim=-1)[None] * 3
    op = built("spherical_kmeans", x, clusters=3, decay=0.5)
    begun = torch.tensor([[[1.0, 0.2], [0.3, 1.0], [-1.0, 0.0]]])
    op.centroids.copy_(F.normalize(begun, dim=-1))
    op.eval()(x)
    assert torch.equal(op.centroids, F.normalize(begun, dim=-1))
    scores = op.train()(x)[0]
    torch.testing.assert_close(scores, F.normalize(x, dim=-1) @ F.normalize(begun, dim=-1)[0].T)  # before they move
    mean = F.normalize(F.normalize(x, dim=-1)[0, :20].mean(0), dim=-1)
    torch.testing.assert_close(op.centroids[0, 0], F.normalize(mean + F.normalize(begun[0, 0], dim=-1), dim=-1))
    for _ in range(30):
        op(x)
    torch.testing.assert_close(op.centroids[0, :2], ends, atol=0.05, rtol=0)
    torch.testing.assert_close(op.centroids[0, 2], torch.tensor([-1.0, 0.0]))


def test_gradients_reach_the_vectors_by_the_nearest_centroid(built):
    x = torch.randn(1, 4, 3, requires_grad=True)
    op = built("spherical_kmeans", x.detach(), clusters=2).train()
    op(x)[1].sum().backward()
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("shape", "args", "said"),
    [
        ((2, 3), {}, r"spherical_kmeans needs \[B, N, D\] or \[B, heads, N, D\], got \[2, 3\]"),
        ((2, 3, 4), {"clusters": 0}, "clusters is at least 1 and decay from 0 to 1, got 0 and 0.999"),
    ],
)
def test_refusals(built, shape, args, said):
    with pytest.raises(AssemblerError, match=said):
        built("spherical_kmeans", torch.zeros(shape), **args)
