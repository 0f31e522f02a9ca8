import math

import pytest
import torch
from torch.nn.functional import normalize

from invgraph.geometry import transforms
from invgraph.rendering import environment, harmonics


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


def _sphere(height=64, width=128):
    directions, weights = environment.panorama_directions(height, width)
    return directions.reshape(-1, 3), weights.reshape(-1)


def test_basis_is_orthonormal():
    directions, weights = _sphere()
    values = harmonics.basis(directions, 4)
    gram = (values * weights[:, None]).T @ values
    torch.testing.assert_close(gram, torch.eye(25), atol=3e-3, rtol=0)


def test_order_one_points_along_y_z_x():
    values = harmonics.basis(torch.tensor([1.0, 2.0, 3.0]), 1)
    expected = math.sqrt(3 / (4 * math.pi)) * torch.tensor([2.0, 3.0, 1.0])
    torch.testing.assert_close(values[1:], expected)


def test_even_light_gives_irradiance_pi():
    light = torch.zeros(25, 1)
    light[0] = math.sqrt(4 * math.pi)
    irradiance = harmonics.evaluate(harmonics.irradiance_coefficients(light), torch.eye(3))
    torch.testing.assert_close(irradiance, torch.full((3, 1), math.pi))


def test_irradiance_is_the_cosine_integral(generator):
    light = torch.randn(25, 3, generator=generator)
    normals = normalize(torch.randn(20, 3, generator=generator), dim=-1)
    directions, weights = _sphere()
    cosine = (normals @ directions.T).clamp_min(0) * weights
    expected = cosine @ harmonics.evaluate(light, directions)
    found = harmonics.evaluate(harmonics.irradiance_coefficients(light), normals)
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


def test_projection_inverts_evaluation(generator):
    light = torch.randn(25, 3, generator=generator)
    directions, weights = _sphere()
    found = harmonics.project(harmonics.evaluate(light, directions), directions, weights)
    torch.testing.assert_close(found, light, atol=1e-2, rtol=0)


@pytest.mark.parametrize("order", range(5))
def test_rotated_coefficients_are_the_rotated_function(order, generator):
    light = torch.randn((order + 1) ** 2, 3, generator=generator)
    a_from_b = transforms.exp_so3(torch.randn(2, 3, generator=generator))
    directions = normalize(torch.randn(10, 3, generator=generator), dim=-1)
    found = harmonics.evaluate(harmonics.rotate(light, a_from_b), directions)
    expected = harmonics.evaluate(light, directions @ a_from_b.mT)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_gradients(generator):
    light = torch.randn(25, 2, generator=generator).double().requires_grad_()
    directions = torch.randn(3, 3, generator=generator).double().requires_grad_()
    assert torch.autograd.gradcheck(harmonics.evaluate, (light, directions))


def test_fibonacci_sphere_integrates_harmonics():
    directions = harmonics.fibonacci_sphere(128)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(128))
    means = harmonics.basis(directions, 4)[:, 1:].mean(0)
    assert means.abs().max() < 0.01


def test_errors():
    with pytest.raises(ValueError, match=r"1, 4, 9, 16 or 25 .* got 5; pad"):
        harmonics.order_of(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="order should be 0 to 4 but is 5"):
        harmonics.basis(torch.eye(3), 5)
    with pytest.raises(ValueError, match="should be positive but is 0"):
        harmonics.fibonacci_sphere(0)
