"""The light of images in closed form, against lights that are known and a plain least squares."""

import math

import pytest
import torch
from torch import Tensor

from invgraph.geometry.transforms import exp_so3
from invgraph.photometric.light import solve_light
from invgraph.rendering import harmonics


def surfaces(count: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Albedo, normals, weights and a light per image."""
    generator = torch.Generator().manual_seed(0)
    albedo = 0.1 + 0.8 * torch.rand(count, 11, 13, 3, generator=generator)
    normal = torch.nn.functional.normalize(torch.randn(albedo.shape, generator=generator), dim=-1)
    weight = torch.rand(count, 11, 13, generator=generator)
    light = 0.3 * torch.randn(count, 9, 3, generator=generator)
    light[:, 0] += 2.5
    return albedo, normal, weight, light


def shown(albedo: Tensor, normal: Tensor, light: Tensor) -> Tensor:
    received = harmonics.evaluate(harmonics.irradiance_coefficients(light), normal.flatten(1, 2))
    return albedo * received.unflatten(1, albedo.shape[1:3]) / math.pi


def noise(albedo: Tensor) -> Tensor:
    return torch.randn(albedo.shape, generator=torch.Generator().manual_seed(1))


def test_the_light_of_each_image_is_found():
    albedo, normal, weight, light = surfaces()
    found = solve_light(shown(albedo, normal, light), albedo, normal, weight, ridge=1e-8)
    torch.testing.assert_close(found, light, rtol=1e-3, atol=1e-3)


def test_a_white_furnace_by_hand():
    """Radiance 1 from everywhere makes every matt surface as bright as its albedo."""
    albedo, normal, weight, _ = surfaces(1)
    [found] = solve_light(albedo.clone(), albedo, normal, weight)
    expected = torch.zeros(9, 3)
    expected[0] = math.sqrt(4 * math.pi)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_noise_is_met_by_least_squares_with_a_ridge():
    albedo, normal, weight, light = surfaces()
    image = shown(albedo, normal, light) + 0.3 * noise(albedo)
    ridge = 0.02
    found = solve_light(image, albedo, normal, weight, ridge)
    unit = harmonics.basis(normal.double(), 2)
    factors = [math.pi] + 3 * [2 * math.pi / 3] + 5 * [math.pi / 4]
    unit = unit * unit.new_tensor(factors) / math.pi
    for item in range(3):
        for channel in range(3):
            design = (albedo[item, ..., channel, None] * unit[item]).flatten(0, 1)
            w = weight[item].double().flatten()
            normal_matrix = design.mT @ (w[:, None] * design)
            held = torch.ones(9, dtype=torch.float64)
            held[0] = 1e-6
            held *= ridge * (w * albedo[item, ..., channel].double().flatten().square()).sum()
            right = design.mT @ (w * image[item, ..., channel].double().flatten())
            expected = torch.linalg.solve(normal_matrix + torch.diag(held), right)
            torch.testing.assert_close(
                found[item, :, channel].double(), expected, rtol=1e-3, atol=1e-4
            )


def test_pixels_without_weight_are_not_looked_at():
    albedo, normal, weight, light = surfaces()
    image = shown(albedo, normal, light)
    weight[:, 4:] = 0
    expected = solve_light(image[:, :4], albedo[:, :4], normal[:, :4], weight[:, :4])
    for tensor in (image, albedo, normal):
        tensor[:, 4:] = math.nan
    torch.testing.assert_close(solve_light(image, albedo, normal, weight), expected)


def test_the_light_turns_with_the_normals_and_grows_with_the_image():
    albedo, normal, weight, light = surfaces()
    image = shown(albedo, normal, light) + 0.1 * noise(albedo)
    a_from_b = exp_so3(torch.tensor([0.4, -1.1, 0.7]))
    found = solve_light(image, albedo, normal, weight)
    turned = solve_light(image, albedo, normal @ a_from_b, weight)  # normals in frame b
    torch.testing.assert_close(turned, harmonics.rotate(found, a_from_b), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(solve_light(3 * image, albedo, normal, weight), 3 * found)


@pytest.mark.parametrize("count", [0, 2])
def test_nothing_to_see_is_dark(count):
    albedo, normal, weight, light = (tensor[:count] for tensor in surfaces())
    found = solve_light(albedo, albedo, normal, 0 * weight)
    assert torch.equal(found, torch.zeros(count, 9, 3)) and light.shape == found.shape
