import pytest
import torch

from invgraph.geometry.color import (
    bytes_from_unit,
    linear_from_srgb,
    srgb_bytes_from_linear,
    srgb_from_linear,
)


@pytest.mark.parametrize(
    ("srgb", "linear"),
    # 0.5: ((0.5 + 0.055) / 1.055) ** 2.4; 0.02: 0.02 / 12.92; 188 / 255 is the classic "half" grey.
    [
        (0.0, 0.0),
        (0.02, 0.00154799),
        (0.5, 0.21404114),
        (188 / 255, 0.50288646),
        (1.0, 1.0),
        (-0.5, -0.21404114),
    ],
)
def test_known_values(srgb, linear):
    assert linear_from_srgb(torch.tensor(srgb, dtype=torch.float64)).item() == pytest.approx(
        linear, abs=1e-7
    )
    assert srgb_from_linear(torch.tensor(linear, dtype=torch.float64)).item() == pytest.approx(
        srgb, abs=1e-6
    )


def test_round_trip_keeps_all_8_bit_values():
    codes = torch.arange(256)
    back = srgb_from_linear(linear_from_srgb(codes / 255))
    assert torch.equal((back * 255).round().long(), codes)


def test_unclamped_values_survive():
    values = torch.tensor([-0.7, 1.5, 40.0])
    assert torch.allclose(linear_from_srgb(srgb_from_linear(values)), values, rtol=1e-5)


@pytest.mark.parametrize("curve", [linear_from_srgb, srgb_from_linear])
def test_gradients(curve):
    values = torch.tensor(
        [-0.3, -0.001, 0.0, 0.001, 0.01, 0.3, 1.2], dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(curve, values)
    (slope,) = torch.autograd.grad(curve(values).sum(), values)
    assert (slope > 0).all()


def test_bytes_are_the_nearest_levels_and_clamped():
    linear = torch.tensor([-0.5, 0.0, 0.5, 1.0, 7.0], requires_grad=True)
    levels = srgb_bytes_from_linear(linear)
    assert levels.dtype == torch.uint8 and levels.tolist() == [0, 0, 188, 255, 255]
    assert bytes_from_unit(torch.tensor([-1.0, 0.1, 0.9, 2.0])).tolist() == [0, 26, 230, 255]


def test_every_byte_survives_linear_light():
    codes = torch.arange(256)
    assert torch.equal(srgb_bytes_from_linear(linear_from_srgb(codes / 255)).long(), codes)
