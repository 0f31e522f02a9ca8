"""Losses against answers worked out by hand, and their gradients."""

import pytest
import torch

from invgraph.geometry.color import linear_from_srgb, srgb_from_linear
from invgraph.photometric import losses


def test_photometric_by_hand():
    photo = torch.tensor([[[0.5, 0.5, 0.5], [0.1, 0.2, 0.3]]])
    color = linear_from_srgb(torch.tensor([[[0.7, 0.5, 0.47], [9.0, 9.0, 9.0]]]))
    weight = torch.tensor([[2.0, 0.0]])
    value = losses.photometric(color, photo, weight)
    far, near = 0.2 - 0.06 / 2, 0.03**2 / (2 * 0.06)
    assert float(value) == pytest.approx((far + 0.0 + near) / 3, abs=1e-6)


def test_compiled_and_plain_photometric_agree_also_below_zero_and_above_one():
    generator = torch.Generator().manual_seed(0)
    color = torch.randn(2, 70, 9, 3, generator=generator) * 0.7
    photo = torch.rand(2, 70, 9, 3, generator=generator)
    weight = (torch.rand(2, 70, 9, generator=generator) > 0.4).float()
    fast, slow = color.clone().requires_grad_(), color.double().requires_grad_()
    compiled = losses.photometric(fast, photo, weight)
    plain = losses.photometric(slow, photo.double(), weight.double())
    assert float(compiled.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    (3 * compiled).backward()
    (3 * plain).backward()
    assert fast.grad is not None and slow.grad is not None
    torch.testing.assert_close(fast.grad.double(), slow.grad, rtol=1e-4, atol=1e-8)
    assert float(fast.grad.abs().sum()) > 0


def test_photometric_gradient_matches_finite_differences():
    generator = torch.Generator().manual_seed(1)
    color = torch.rand(3, 4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    photo = srgb_from_linear(torch.rand(3, 4, 3, generator=generator, dtype=torch.float64))
    weight = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda c: losses.photometric(c, photo, weight), color)


def test_photometric_without_any_weight_is_zero():
    color = torch.rand(1, 2, 3).requires_grad_()
    value = losses.photometric(color, torch.rand(1, 2, 3), torch.zeros(1, 2))
    value.backward()
    assert color.grad is not None
    assert float(value.detach()) == 0 and float(color.grad.abs().sum()) == 0


def test_silhouette_by_hand_and_its_sign():
    alpha = torch.tensor([[0.25, 1.0, 0.0]]).requires_grad_()
    mask = torch.tensor([[1.0, 0.0, 0.0]])
    value = losses.silhouette(alpha, mask, torch.tensor([[1.0, 1.0, 2.0]]))
    value.backward()
    assert float(value.detach()) == pytest.approx((0.75 + 1.0) / 4)
    torch.testing.assert_close(alpha.grad, torch.tensor([[-0.25, 0.25, 0.0]]))
