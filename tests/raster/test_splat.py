"""Flat Gaussians: weights and order by hand, gradients against finite differences."""

import math

import pytest
import torch
from torch import Tensor

from invgraph.raster.splat import splat

NONE = torch.zeros(1, 5, 5, dtype=torch.float64)


def gaussians(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random ones in front of a 5 x 5 image: centres, covariances, depth, opacity, values."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(1, count, *shape, generator=generator, dtype=torch.float64)

    root = random(2, 2) + torch.eye(2)
    return 5 * random(2), root @ root.mT, 1 + random(), 0.2 + 0.6 * random(), random(3)


def test_one_gaussian_by_hand():
    """Centre on a pixel's, variance 4 across and 1 down."""
    covariance = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))[None, None]
    centre = torch.tensor([[[2.5, 2.5]]], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    value = torch.tensor([[[10.0]]], dtype=torch.float64)
    out, through = splat(centre, covariance, 2 * one, 0.8 * one, value, NONE)
    assert out[0, 2, 2] == pytest.approx(8.0)
    assert out[0, 2, 4] == pytest.approx(8 * math.exp(-0.5))  # two pixels across: 2 ** 2 / 4 / 2
    assert out[0, 4, 2] == pytest.approx(8 * math.exp(-2.0))
    torch.testing.assert_close(through, 1 - out[..., 0] / 10)


def test_the_nearer_one_is_over_the_other_whatever_their_order():
    covariance = 4 * torch.eye(2, dtype=torch.float64).expand(1, 2, 2, 2)
    centre = torch.full((1, 2, 2), 2.5, dtype=torch.float64)
    depth = torch.tensor([[3.0, 2.0]], dtype=torch.float64)
    opacity = torch.tensor([[0.5, 0.4]], dtype=torch.float64)
    values = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    out, through = splat(centre, covariance, depth, opacity, values, NONE)
    assert out[0, 2, 2].tolist() == pytest.approx([0.6 * 0.5, 0.4])
    assert through[0, 2, 2] == pytest.approx(0.6 * 0.5)
    swapped = splat(centre, covariance, depth.flip(1), opacity.flip(1), values.flip(1), NONE)
    torch.testing.assert_close(swapped[0], out)


def test_what_is_behind_a_surface_or_the_camera_is_not_seen():
    many = gaussians(1)
    limit = torch.where(torch.arange(5) < 2, many[2].item() - 0.1, 0.0)  # the left two columns
    out, through = splat(*many, limit.expand(1, 5, 5).double())
    assert (out[:, :, :2] == 0).all() and (through[:, :, :2] == 1).all()
    assert (out[:, :, 2:] > 0).any()
    hidden = splat(many[0], many[1], -many[2], many[3], many[4], NONE)
    assert (hidden[0] == 0).all() and (hidden[1] == 1).all()


def test_more_than_a_chunk_is_blended_as_one_after_the_other():
    centres, covariances, depth, opacity, values = gaussians(150)
    out, through = splat(centres, covariances, depth, opacity, values, NONE)
    expected, left = torch.zeros(1, 5, 5, 3).double(), torch.ones(1, 5, 5).double()
    for k in depth[0].argsort().tolist():
        one = (part[:, k : k + 1] for part in (centres, covariances, depth, opacity, values))
        own, behind = splat(*one, NONE)  # type: ignore[call-arg]
        expected, left = expected + left[..., None] * own, left * behind
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(through, left)


def test_nothing_is_clear():
    nothing = (part[:, :0] for part in gaussians(1))
    out, through = splat(*nothing, NONE)  # type: ignore[call-arg]
    assert (out == 0).all() and (through == 1).all()


def test_gradients_match_finite_differences():
    centres, covariances, depth, opacity, values = gaussians(4)
    # Far from the edge of their reach, where weights jump by less than a level.
    covariances = 30 * covariances
    inputs = tuple(x.requires_grad_() for x in (centres, covariances, opacity, values))

    def drawn(centres, covariances, opacity, values):
        symmetric = (covariances + covariances.mT) / 2
        return splat(centres, symmetric, depth, opacity, values, NONE)

    assert torch.autograd.gradcheck(drawn, inputs)
