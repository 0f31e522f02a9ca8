import math

import pytest
import torch
from torch.nn.functional import normalize

from invgraph.rendering import environment, ggx, harmonics


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(
    ("direction", "uv"),
    [
        ((0, 0, -1), (0.0, 0.5)),
        ((1, 0, 0), (0.25, 0.5)),
        ((0, 0, 1), (0.5, 0.5)),
        ((-1, 0, 0), (0.75, 0.5)),
        ((0.6, 0.8, 0), (0.25, math.acos(0.8) / math.pi)),
    ],
)
def test_layout(direction, uv):
    found = environment.panorama_uv(torch.tensor(direction, dtype=torch.float32))
    assert found.tolist() == pytest.approx(list(uv), abs=1e-6)


def test_pixel_directions_invert_the_layout():
    directions, solid_angle = environment.panorama_directions(6, 8)
    uv = environment.panorama_uv(directions)
    torch.testing.assert_close(uv[0, :, 0], (torch.arange(8) + 0.5) / 8)
    torch.testing.assert_close(uv[:, 0, 1], (torch.arange(6) + 0.5) / 6)
    assert solid_angle.sum().item() == pytest.approx(4 * math.pi, rel=1e-6)


def test_look_up_hits_pixels_and_wraps(generator):
    radiance = torch.rand(6, 8, 3, generator=generator)
    directions, _ = environment.panorama_directions(6, 8)
    torch.testing.assert_close(environment.look_up(radiance, directions), radiance)
    seam = torch.tensor([0.0, math.cos(math.pi * 2.5 / 6), -math.sin(math.pi * 2.5 / 6)])
    expected = (radiance[2, 0] + radiance[2, 7]) / 2
    torch.testing.assert_close(environment.look_up(radiance, seam), expected)


def test_gradients_are_finite_at_the_poles():
    directions = torch.tensor([[0.0, 1, 0], [0, -1, 0], [0, 0, -1]], requires_grad=True)
    environment.look_up(torch.rand(4, 8, 3), directions).sum().backward()
    assert directions.grad is not None
    assert directions.grad.isfinite().all()


def test_harmonics_of_a_panorama_made_of_harmonics(generator):
    light = torch.randn(25, 3, generator=generator)
    directions, _ = environment.panorama_directions(64, 128)
    panorama = harmonics.evaluate(light, directions)
    found = environment.harmonic_coefficients(panorama)
    torch.testing.assert_close(found, light, atol=1e-2, rtol=0)


def test_blur_keeps_even_light_and_attenuates_harmonics(generator):
    even = environment.blur(torch.ones(32, 64, 1))
    torch.testing.assert_close(even, torch.ones_like(even), atol=1e-5, rtol=0)
    light = torch.randn(25, 3, generator=generator)
    directions, _ = environment.panorama_directions(64, 128)
    levels = environment.blur(harmonics.evaluate(light, directions))
    for level in (3, 5, 7):
        roughness = torch.tensor([(level + 1) / 8])
        factors = tuple(ggx.lobe_attenuation(roughness).tolist())
        expected = harmonics.evaluate(harmonics.scale_orders(light, factors), directions)
        torch.testing.assert_close(levels[level], expected, atol=0.02, rtol=0)


def test_reflected_is_sharp_for_mirrors_and_blurred_for_rough_surfaces(generator):
    radiance = torch.rand(64, 128, 3, generator=generator)
    levels = environment.blur(radiance)
    directions, _ = environment.panorama_directions(64, 128)
    mirror = environment.reflected(radiance, levels, directions, torch.zeros(1, 1, 1))
    torch.testing.assert_close(mirror, radiance, atol=1e-4, rtol=0)
    rough = environment.reflected(radiance, levels, directions, torch.ones(1, 1, 1))
    torch.testing.assert_close(rough, levels[7], atol=1e-4, rtol=0)


def test_gradients_reach_everything(generator):
    radiance = torch.rand(8, 16, 1, generator=generator).double().requires_grad_()
    axis = normalize(torch.randn(4, 3, generator=generator), dim=-1).double().requires_grad_()
    roughness = torch.tensor([[0.07], [0.3], [0.55], [0.9]]).double().requires_grad_()

    def look(radiance, axis, roughness):
        return environment.reflected(radiance, environment.blur(radiance), axis, roughness)

    inputs = (radiance, axis, roughness)
    assert torch.autograd.gradcheck(look, inputs, eps=1e-6, atol=1e-5, fast_mode=True)
